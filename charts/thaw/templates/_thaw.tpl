{{/*
What several templates need. Object names are fixed (thaw-operator, thaw-activator): one Thaw per cluster,
so a name that holds the release's name would only be harder to find.
Templates that need the component take (dict "root" $ "component" "operator").
*/}}

{{/* Labels a selector may use: they never change in the life of a release. */}}
{{- define "thaw.selector" -}}
app.kubernetes.io/name: thaw
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of pods: no version in them, so that a chart upgrade that changes no pod rolls none. */}}
{{- define "thaw.podLabels" -}}
{{ include "thaw.selector" . }}
app.kubernetes.io/part-of: thaw
{{- end }}

{{/* The same, as an argument: key=value with commas between them. */}}
{{- define "thaw.podLabelsArgument" -}}
{{- $pairs := list -}}
{{- range $key, $value := include "thaw.podLabels" . | fromYaml -}}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end }}

{{/* Labels of every other object. */}}
{{- define "thaw.labels" -}}
{{ include "thaw.podLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{- define "thaw.image" -}}
{{ .root.Values.image.registry }}/thaw-{{ .component }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Prometheus finds pods by these. The metrics port is on no Service: it would hide all replicas but one. */}}
{{- define "thaw.podAnnotations" -}}
{{- $own := dict "prometheus.io/scrape" "true" "prometheus.io/port" "9090" "prometheus.io/path" "/metrics" -}}
{{ toYaml (mergeOverwrite $own ((index .root.Values .component).podAnnotations | default dict)) }}
{{- end }}

{{/* The pod fields that both components share. */}}
{{- define "thaw.pod" -}}
{{- $own := index .root.Values .component -}}
serviceAccountName: thaw-{{ .component }}
automountServiceAccountToken: true # its work is with the API server
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClass }}
priorityClassName: {{ .name | quote }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* The container fields that both components share. */}}
{{- define "thaw.container" -}}
image: {{ include "thaw.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
env:
  - name: POD_NAMESPACE
    valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
  - name: POD_NAME
    valueFrom: { fieldRef: { fieldPath: metadata.name } }
resources: {{- toYaml (index .root.Values .component).resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}

{{/* What thaw-operator writes Ingresses for custom hosts with. */}}
{{- define "thaw.customIngress" -}}
{{- $tls := .Values.hosts.tls -}}
{{- $own := dict "className" (.Values.ingress.className | default "") -}}
{{- $annotations := deepCopy (.Values.ingress.annotations | default dict) -}}
{{- if kindIs "map" $tls -}}
{{- $annotations = mergeOverwrite $annotations ($tls.annotations | default dict) -}}
{{- $own = set $own "tls" (dict "secretName" ($tls.secretName | default "")) -}}
{{- end -}}
{{- toJson (set $own "annotations" $annotations) -}}
{{- end }}

{{/* Whole seconds of a duration like 1m30s, rounded up. The schema has checked its form. */}}
{{- define "thaw.seconds" -}}
{{- $millis := 0 -}}
{{- $unit := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
{{- $millis = add $millis (mul (regexFind "^[0-9]+" . | atoi) (get $unit (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- div (add $millis 999) 1000 -}}
{{- end }}
