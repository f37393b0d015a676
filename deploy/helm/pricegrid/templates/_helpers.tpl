{{- define "pricegrid.name" -}}
{{- printf "%s-pricegrid" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "pricegrid.selector" -}}
app.kubernetes.io/name: pricegrid
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pricegrid.labels" -}}
{{ include "pricegrid.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "pricegrid.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "pricegrid.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "pricegrid.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* What no server could make sense of is refused before it is installed. */ -}}
{{- define "pricegrid.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.redis.url) -}}
{{- fail "replicas: more than one shares live state through a Redis: set redis.url" -}}
{{- end -}}
{{- if contains "@" .Values.redis.url -}}
{{- fail "redis.url: put the password into a Secret and name it in redis.secretName" -}}
{{- end -}}
{{- if and .Values.auth.files (not (hasKey .Values.auth.files "auth.toml")) -}}
{{- fail "auth.files: needs auth.toml" -}}
{{- end -}}
{{- if not (or .Values.auth.files .Values.allowRemote) -}}
{{- fail "auth.files: say who may call, or set allowRemote if a proxy or mesh knows its callers" -}}
{{- end -}}
{{- if not (or .Values.tls.secretName .Values.allowRemote) -}}
{{- fail "tls.secretName: name a certificate, or set allowRemote if a proxy or mesh ends TLS" -}}
{{- end -}}
{{- if and .Values.tls.secretName (not .Values.auth.files) -}}
{{- fail "tls.secretName: the certificate is named in [tls] of auth.toml, so auth.files needs one" -}}
{{- end -}}
{{- if and .Values.metrics.enabled (not (and .Values.allowRemote .Values.networkPolicy.enabled)) -}}
{{- fail "metrics.enabled: nobody is asked who reads them, so it takes allowRemote and networkPolicy.enabled" -}}
{{- end -}}
{{- end -}}

{{- define "pricegrid.redisUrl" -}}
{{- $separator := contains "?" .Values.redis.url | ternary "&" "?" -}}
{{ .Values.redis.url }}{{ if .Values.redis.secretName }}{{ $separator }}password_file=/etc/pricegrid/redis/password{{ end }}
{{- end -}}
