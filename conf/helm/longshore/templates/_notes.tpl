{{/* The pull policy of the job's image, and which value sets it. The last one wins. */}}
{{- define "longshore.policyNote" -}}
{{- $set := list -}}
{{- $config := get .Values.config "job" | default dict -}}
{{- with $config.imagePullPolicy }}{{ $set = append $set (list . "config.job.imagePullPolicy") }}{{ end -}}
{{- with dig "kubernetes" "imagePullPolicy" "" $config }}
{{- $set = append $set (list . "config.job.kubernetes.imagePullPolicy") }}
{{- end -}}
{{- with dig "kubernetes" "imagePullPolicy" "" (.Values.cortex | default dict) }}
{{- $set = append $set (list . "cortex.kubernetes.imagePullPolicy") }}
{{- end -}}
{{- with .Values.kubernetes.imagePullPolicy }}
{{- $set = append $set (list . "kubernetes.imagePullPolicy") }}
{{- end -}}
{{- range .Values.extraEnv }}
{{- if has .name (list "JOB_KUBERNETES_IMAGEPULLPOLICY" "LONGSHORE_JOB_KUBERNETES_IMAGEPULLPOLICY") }}
{{- $set = append $set (list (.value | default "not known here") (printf "extraEnv, %s" .name)) }}
{{- end -}}
{{- end -}}
{{- with .Values.job.imagePullPolicy }}{{ $set = append $set (list . "job.imagePullPolicy") }}{{ end -}}
{{- $in := list "IfNotPresent" "the default" }}{{ with last $set }}{{ $in = . }}{{ end -}}
{{- $policies := first $in }}{{ if kindIs "slice" $policies }}{{ $policies = join ", then " $policies }}{{ end -}}
The pull policy of {{ .Values.job.image }} is {{ $policies }} (from {{ last $in }}).
{{- if not .Values.job.imagePullPolicy }}
{{- range $config.imagePullPolicyRules }}
{{- $policies := .imagePullPolicy }}{{ if kindIs "slice" $policies }}{{ $policies = join ", then " $policies }}{{ end }}
If {{ .image }} matches the image, it is {{ $policies }} (from config.job.imagePullPolicyRules; the first match counts).
{{- end -}}
{{- end -}}
{{- end }}

{{/* What an upgrade does to a job that runs. */}}
{{- define "longshore.upgradeNote" -}}
{{- $does := dict
  "cancel" "that changes something cancels a job that runs, and starts the new one once the old one is gone"
  "wait" "that changes something first waits for a job that runs, for as long as helm's --timeout"
  "beside" "that changes something starts the new job beside one that runs, and both run to their ends" -}}
{{- if .Values.schedule }}
{{- $_ := set $does "cancel" "leaves a run that has begun alone, and applies to the next one" }}
{{- $_ := set $does "wait" "first waits for a run that has begun, for as long as helm's --timeout" }}
{{- $_ := set $does "beside" (get $does "cancel") }}
{{- end -}}
An upgrade {{ get $does .Values.upgrade.runningJob }} (upgrade.runningJob: {{ .Values.upgrade.runningJob }}).
{{- end }}

{{/* What becomes of a job whose command is killed while its Pod stays. */}}
{{- define "longshore.lostNote" -}}
If the command is killed and its Pod stays, as when it is out of memory, the job runs on.
{{- if .Values.gc.schedule }} The CronJob of gc.schedule removes it.
{{- else if not (include "longshore.installation" .) }} Kubernetes removes it a day after its end (config.job.kubernetes.ttlSecondsAfterFinished).
{{- else if .Values.schedule }} The next run removes it; gc.schedule can do it sooner.
{{- else }} The next upgrade removes it; gc.schedule can do it sooner.
{{- end }}
{{- end }}
