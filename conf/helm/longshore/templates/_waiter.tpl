{{/* A Job whose Pod starts once no Pod of the command is left. */}}
{{- define "longshore.waiterSpec" -}}
backoffLimit: 0
template:
  metadata:
    labels:
      {{- include "longshore.selectorLabels" . | nindent 6 }}
      app.kubernetes.io/component: waiter
  spec:
    serviceAccountName: {{ include "longshore.serviceAccountName" . }}
    automountServiceAccountToken: false
    {{- with .Values.image.pullSecrets }}
    imagePullSecrets:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    enableServiceLinks: false
    restartPolicy: Never
    {{- with .Values.podSecurityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.nodeSelector }}
    nodeSelector:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.tolerations }}
    tolerations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    affinity:
      podAntiAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          - labelSelector:
              matchLabels:
                {{- include "longshore.commandLabels" . | nindent 16 }}
            # All nodes that can run the command share this label, so the rule
            # applies to the whole cluster.
            topologyKey: kubernetes.io/os
    containers:
      - name: longshore
        image: {{ include "longshore.image" . | quote }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        # The container only needs to start; it has nothing to do.
        args: [--version]
        {{- with .Values.securityContext }}
        securityContext:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with .Values.resources }}
        resources:
          {{- toYaml . | nindent 10 }}
        {{- end }}
{{- end }}
