{{- define "cambio.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cambio.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cambio.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "cambio.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "cambio.image" -}}
{{- $repository := required "image.repository: write where your image is" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "cambio.trustConfigMap" -}}
{{- default (printf "%s-trust" (include "cambio.fullname" .)) .Values.trust.existingConfigMap -}}
{{- end -}}

{{- /* cambio.yaml: what the values say, and over it what the pod decides. */ -}}
{{- define "cambio.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if not $config.issuer -}}
{{- fail "config.issuer: write the name that the world sees, such as https://id.acme.example" -}}
{{- end -}}
{{- if and (gt (int .Values.replicaCount) 1) (not $config.redis) -}}
{{- fail "replicaCount: more than one replica needs config.redis: without it each would take a token once" -}}
{{- end -}}
{{- $_ := set $config "listen" "0.0.0.0:8443" -}}
{{- $_ := set $config "admin_listen" "0.0.0.0:8081" -}}
{{- $_ := set $config "trust" "/etc/cambio/trust" -}}
{{- $_ := set $config "state" "/var/lib/cambio/state" -}}
{{- $_ := set $config "keys" "/etc/cambio/keys" -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $config "tls" (dict "cert" "/etc/cambio/tls/tls.crt" "key" "/etc/cambio/tls/tls.key") -}}
{{- else if .Values.tls.terminatedBy -}}
{{- $_ := set $config "tls" (dict "terminated_by" .Values.tls.terminatedBy) -}}
{{- else -}}
{{- fail "tls: name existingSecret, or the ranges of the proxies that end TLS in terminatedBy" -}}
{{- end -}}
{{- if .Values.redis.existingSecret -}}
{{- $_ := set $config.redis "password" "${file:/etc/cambio/redis/password}" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
