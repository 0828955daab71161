{{/*
What the components may do with Functions and what belongs to them: in the whole cluster, or in the namespaces that they watch.
What they may do in their own namespace stands beside their ServiceAccounts.
*/}}

{{- define "thaw.rules.operator" -}}
- apiGroups: [thaw.dev]
  resources: [functions]
  verbs: [get, list, watch]
- apiGroups: [thaw.dev]
  resources: [functions/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# {function}.{namespace}.svc, which goes with its Function.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .root.Values.configRolls }}
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch]
{{- else if kindIs "map" .root.Values.imageSize }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- if and (kindIs "map" .root.Values.imageSize) (not .root.Values.watchNamespaces) }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list]
{{- end }}
{{- end }}

{{- define "thaw.rules.activator" -}}
- apiGroups: [thaw.dev]
  resources: [functions]
  verbs: [list, watch]
- apiGroups: [thaw.dev]
  resources: [functions/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "thaw.rights" -}}
{{- $labels := include "thaw.labels" . }}
{{- $rules := include (printf "thaw.rules.%s" .component) . }}
{{- range $namespace := .root.Values.watchNamespaces | default (list "") }}
{{- $name := printf "thaw-%s%s" $.component (ternary "-functions" "" (ne $namespace "")) }}
{{- $kind := ternary "Role" "ClusterRole" (ne $namespace "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- $labels | nindent 4 }}
rules: {{- $rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: thaw-{{ $.component }}
    namespace: {{ $.root.Release.Namespace }}
{{- end }}
{{- end }}
