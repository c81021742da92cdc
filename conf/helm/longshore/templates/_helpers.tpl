{{- define "longshore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/*
The name of the release's objects. A CronJob's name may have at most 52
characters, and a Job's name gets a suffix here.
*/}}
{{- define "longshore.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "longshore.selectorLabels" -}}
app.kubernetes.io/name: {{ include "longshore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "longshore.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "longshore.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The labels of the Pods that run the command, and of no others. */}}
{{- define "longshore.commandLabels" -}}
{{ include "longshore.selectorLabels" . }}
app.kubernetes.io/component: command
{{- end }}

{{- define "longshore.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "longshore.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/*
A value of `kubernetes`, else of `cortex.kubernetes`. Takes the root context and
the value's name.
*/}}
{{- define "longshore.kubernetes" -}}
{{- $root := index . 0 -}}
{{- $key := index . 1 -}}
{{- $own := get $root.Values.kubernetes $key -}}
{{- $cortex := get (get ($root.Values.cortex | default dict) "kubernetes" | default dict) $key -}}
{{- if and $own $cortex (ne $own $cortex) -}}
{{- fail (printf "kubernetes.%s is %s, but cortex.kubernetes.%s is %s: set only one of them" $key $own $key $cortex) -}}
{{- end -}}
{{- $own | default $cortex | default "" -}}
{{- end }}

{{- define "longshore.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}

{{/* The job as a job file. */}}
{{- define "longshore.job" -}}
{{- $image := required "set job.image: the image of the job to run" .Values.job.image -}}
{{- $container := dict "image" $image -}}
{{- range $key := list "command" "args" "workingDir" "init" -}}
{{- $value := get $.Values.job $key -}}
{{- if or $value (kindIs "bool" $value) }}{{ $_ := set $container $key $value }}{{ end -}}
{{- end -}}
{{- $rest := omit .Values.job "image" "command" "args" "workingDir" "init" -}}
{{- toYaml (set $rest "container" $container) }}
{{- end }}

{{/*
The configuration, in which the Jobs and Pods of jobs have the release's labels.
*/}}
{{- define "longshore.config" -}}
{{- $labels := dict "app.kubernetes.io/instance" .Release.Name "app.kubernetes.io/component" "job" -}}
{{- $ours := dict "job" (dict "kubernetes" (dict "labels" $labels)) -}}
{{- toYaml (mergeOverwrite $ours (deepCopy .Values.config)) }}
{{- end }}

{{/* The files that Longshore reads. */}}
{{- define "longshore.files" -}}
job.yaml: |
  {{- include "longshore.job" . | nindent 2 }}
longshore.yaml: |
  {{- include "longshore.config" . | nindent 2 }}
{{- end }}

{{/*
Whether the command's Pod owns its job: `true` or nothing. A Pod can own only what
is in its namespace, in the same cluster.
*/}}
{{- define "longshore.owned" -}}
{{- $kubernetes := dig "job" "kubernetes" dict .Values.config | default dict -}}
{{- $namespace := $kubernetes.namespace | default .Release.Namespace -}}
{{- $elsewhere := or $kubernetes.kubeconfig $kubernetes.context (ne $namespace .Release.Namespace) -}}
{{- if and .Values.kubernetes.ownerReferences (not $elsewhere) -}}
true
{{- end }}
{{- end }}

{{/*
The identity that the release's commands share, so that one removes what another
has left. Only the Kubernetes runner can tell their jobs apart.
*/}}
{{- define "longshore.installation" -}}
{{- $only := eq (dig "job" "runners" list .Values.config | toJson) (list "kubernetes" | toJson) -}}
{{- if and $only (include "longshore.owned" .) -}}
{{- $hash := printf "%s/%s" .Release.Namespace .Release.Name | sha256sum | trunc 8 -}}
{{- printf "%s-%s" (.Release.Name | replace "." "-" | trunc 30 | trimSuffix "-") $hash -}}
{{- end }}
{{- end }}

{{/*
Whether jobs may need a Secret of their own: `true` or nothing. Further variables and
volumes may hold a login.
*/}}
{{- define "longshore.needsSecrets" -}}
{{- if kindIs "bool" .Values.rbac.secrets -}}
{{ if .Values.rbac.secrets }}true{{ end }}
{{- else -}}
{{- $login := or (dig "job" "registries" list .Values.config) (dig "docker" "registry" dict .Values.config) -}}
{{- if or $login .Values.job.secretEnv .Values.extraEnv .Values.extraVolumes }}true{{ end -}}
{{- end -}}
{{- end }}
