{{- define "ckgate.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ckgate.selector" -}}
app.kubernetes.io/name: ckgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ckgate.labels" -}}
{{ include "ckgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
