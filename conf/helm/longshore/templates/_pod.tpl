{{/* The spec of a Job, shared by Job and CronJob. */}}
{{- define "longshore.jobSpec" -}}
# A second Pod would start the job a second time.
backoffLimit: 0
{{- with include "longshore.ttl" . }}
ttlSecondsAfterFinished: {{ . }}
{{- end }}
template:
  metadata:
    labels:
      {{- include "longshore.commandLabels" . | nindent 6 }}
      {{- with .Values.podLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    annotations:
      checksum/config: {{ include "longshore.files" . | sha256sum }}
      {{- with .Values.podAnnotations }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  spec:
    {{- include "longshore.podSpec" (list . "run") | nindent 4 }}
{{- end }}

{{/* The spec of a Pod. Takes the root context and what the Pod does: run or gc. */}}
{{- define "longshore.podSpec" -}}
{{- $does := index . 1 -}}
{{- with index . 0 -}}
{{- $claim := include "longshore.kubernetes" (list . "persistentVolumeClaimName") -}}
serviceAccountName: {{ include "longshore.serviceAccountName" . }}
automountServiceAccountToken: true
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
enableServiceLinks: false
restartPolicy: Never
terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "longshore.affinity" (list . $does) }}
affinity:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
containers:
  - name: longshore
    image: {{ include "longshore.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      - {{ $does }}
      - --config
      - /etc/longshore/longshore.yaml
      {{- if eq $does "run" }}
      - --file
      - /etc/longshore/job.yaml
      {{- end }}
    env:
      {{- include "longshore.env" . | nindent 6 }}
      {{- if and (eq $does "run") (include "longshore.owned" .) }}
      {{- include "longshore.ownerEnv" . | trim | nindent 6 }}
      {{- end }}
    # The Pod's status then holds the summary of a job that failed.
    terminationMessagePolicy: FallbackToLogsOnError
    {{- with .Values.securityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: config
        mountPath: /etc/longshore
        readOnly: true
      - name: state
        mountPath: {{ .Values.state.directory | quote }}
      {{- if $claim }}
      - name: jobs
        mountPath: {{ .Values.kubernetes.directory | quote }}
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "longshore.fullname" . }}
  - name: state
    emptyDir:
      sizeLimit: {{ .Values.state.sizeLimit | quote }}
  {{- if $claim }}
  - name: jobs
    persistentVolumeClaim:
      claimName: {{ $claim | quote }}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* When Kubernetes removes a finished Job. A Job that an upgrade leaves must not stay for ever. */}}
{{- define "longshore.ttl" -}}
{{- with .Values.ttlSecondsAfterFinished -}}
{{ int . }}
{{- else -}}
{{- if include "longshore.beside" . }}86400{{ end -}}
{{- end -}}
{{- end }}

{{/* Whether an upgrade leaves the Job with the running command: `true` or nothing. */}}
{{- define "longshore.beside" -}}
{{- if and (not .Values.schedule) (eq .Values.upgrade.runningJob "beside") }}true{{ end -}}
{{- end }}

{{/*
The affinity of a Pod. Takes the root context and what the Pod does. The command of
an upgrade cannot be scheduled before the previous one has cancelled its job: all
nodes share the topology's label, so the rule applies to the whole cluster.
*/}}
{{- define "longshore.affinity" -}}
{{- $does := index . 1 -}}
{{- with index . 0 -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if and (eq $does "run") (not .Values.schedule) (not (include "longshore.beside" .)) -}}
{{- $others := dict "matchLabels" (include "longshore.commandLabels" . | fromYaml) -}}
{{- $term := dict "labelSelector" $others "topologyKey" "kubernetes.io/os" -}}
{{- $key := "requiredDuringSchedulingIgnoredDuringExecution" -}}
{{- $anti := get $affinity "podAntiAffinity" | default dict -}}
{{- $_ := set $anti $key (append (get $anti $key | default list) $term) -}}
{{- $_ := set $affinity "podAntiAffinity" $anti -}}
{{- end -}}
{{- if $affinity }}{{ toYaml $affinity }}{{ end -}}
{{- end -}}
{{- end }}

{{/* Longshore's environment. An unset value sets no variable. */}}
{{- define "longshore.env" -}}
- name: JOB_STATEDIRECTORY
  value: {{ .Values.state.directory | quote }}
{{- with include "longshore.installation" . }}
- name: JOB_INSTALLATION
  value: {{ . | quote }}
{{- end }}
{{- with include "longshore.kubernetes" (list . "imagePullPolicy") }}
- name: JOB_KUBERNETES_IMAGEPULLPOLICY
  value: {{ . | quote }}
{{- end }}
{{- with include "longshore.kubernetes" (list . "persistentVolumeClaimName") }}
- name: JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME
  value: {{ . | quote }}
- name: JOB_DIRECTORY
  value: {{ $.Values.kubernetes.directory | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The command's own Pod, which owns its job. */}}
{{- define "longshore.ownerEnv" -}}
{{- range $key := list "namespace" "name" "uid" }}
- name: JOB_KUBERNETES_OWNERPOD_{{ upper $key }}
  valueFrom:
    fieldRef:
      fieldPath: metadata.{{ $key }}
{{- end }}
{{- end }}

{{/*
The name of the Job or CronJob. Kubernetes refuses to change the Pod of a Job,
so a Job's name depends on its content: an upgrade that changes something creates
a new Job and removes the previous one; one that changes nothing runs nothing.
*/}}
{{- define "longshore.workload" -}}
{{- if .Values.schedule -}}
{{ include "longshore.fullname" . }}
{{- else -}}
{{ printf "%s-%s" (include "longshore.fullname" .) (include "longshore.jobSpec" . | sha256sum | trunc 8) }}
{{- end }}
{{- end }}
