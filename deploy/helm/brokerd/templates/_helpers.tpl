{{/* The name of a component: of what the release is called, and NSQ's name of it. Call with (list $ "nsqd"). */}}
{{- define "brokerd.name" -}}
{{- $root := index . 0 -}}{{- $part := index . 1 -}}
{{- $values := index $root.Values $part -}}
{{- $values.fullnameOverride | default (printf "%s-%s" $root.Release.Name $part) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of everything. */}}
{{- define "brokerd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
helm.sh/release: {{ .Release.Name }}
app.kubernetes.io/name: {{ .Values.fullnameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What pods of a component are found by; a set's cannot be changed, so they are those of NSQ's chart. Call with (list $ "nsqd"). */}}
{{- define "brokerd.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end -}}

{{- define "brokerd.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* What the pods of all components have in common. Call with (list $ "nsqd"). */}}
{{- define "brokerd.pod" -}}
{{- $root := index . 0 -}}{{- $part := index . 1 -}}
{{- $values := index $root.Values $part -}}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
{{- if $values.podSecurityContext }}
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- else }}
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What all containers have in common. Call with (list $ "nsqd"). */}}
{{- define "brokerd.container" -}}
{{- $root := index . 0 -}}{{- $part := index . 1 -}}
image: {{ include "brokerd.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- with (index $root.Values $part).resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A flag for each lookup. Call with (list $ "--lookupd-tcp-address" 4160). */}}
{{- define "brokerd.lookups" -}}
{{- $root := index . 0 -}}{{- $flag := index . 1 -}}{{- $port := index . 2 -}}
{{- if $root.Values.nsqlookupd.enabled -}}
{{- $name := include "brokerd.name" (list $root "nsqlookupd") -}}
{{- range $i := until (int $root.Values.nsqlookupd.replicaCount) }}
- {{ $flag }}={{ $name }}-{{ $i }}.{{ $name }}:{{ $port }}
{{- end }}
{{- end }}
{{- end -}}
