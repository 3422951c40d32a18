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

{{/* Labels of a component's pods. Call with (list $ "nsqd"). */}}
{{- define "brokerd.podLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end -}}

{{/* What pods of a component are found by: their labels, as in NSQ's chart from 0.0.11 on. What is there stays as it is, since Kubernetes lets nobody
change it: up to 0.0.10 there was no instance. Call with (list $ "nsqd"). */}}
{{- define "brokerd.selector" -}}
{{- $root := index . 0 -}}
{{- with lookup "apps/v1" (ternary "Deployment" "StatefulSet" (eq "nsqadmin" (index . 1))) $root.Release.Namespace (include "brokerd.name" .) -}}
{{- toYaml .spec.selector.matchLabels -}}
{{- else -}}
{{- include "brokerd.podLabels" . -}}
{{- end -}}
{{- end -}}

{{/* Fails, before anything changes, when the chart would change of a set that is there what Kubernetes lets nobody change, and says what to do.
Call with (list $ "nsqd"). */}}
{{- define "brokerd.fixed" -}}
{{- $root := index . 0 -}}{{- $part := index . 1 -}}
{{- $name := include "brokerd.name" . -}}
{{- $values := index $root.Values $part -}}
{{- with lookup "apps/v1" "StatefulSet" $root.Release.Namespace $name -}}
{{- $or := printf "or have the set made anew, which leaves its pods and volumes as they are: kubectl delete statefulset %s --cascade=orphan, then upgrade again" $name -}}
{{- $text := "StatefulSet %s has %s %v, the chart would make it %v, and Kubernetes lets nobody change that. Nothing was changed. Set %s=%v, %s" -}}
{{- $policy := .spec.podManagementPolicy | default "OrderedReady" -}}
{{- if ne $policy $values.podManagementPolicy -}}
{{- fail (printf $text $name "podManagementPolicy" $policy $values.podManagementPolicy (printf "%s.podManagementPolicy" $part) $policy $or) -}}
{{- end -}}
{{- if eq $part "nsqd" -}}
{{- $claims := .spec.volumeClaimTemplates | default list -}}
{{- $kept := gt (len $claims) 0 -}}
{{- if ne $kept $values.persistence.enabled -}}
{{- fail (printf $text $name "a volume for each pod:" $kept $values.persistence.enabled "nsqd.persistence.enabled" $kept $or) -}}
{{- end -}}
{{- if $kept -}}
{{- $claim := (first $claims).spec -}}
{{- $size := $claim.resources.requests.storage -}}
{{- if ne $size (toString $values.persistence.size) -}}
{{- fail (printf $text $name "volumes of" $size $values.persistence.size "nsqd.persistence.size" $size (printf "%s. Volumes that are there are grown by their claims: kubectl patch pvc data-%s-0" $or $name)) -}}
{{- end -}}
{{- $class := $claim.storageClassName | default "-" -}}
{{- if ne $class ($values.persistence.storageClass | default "-") -}}
{{- fail (printf $text $name "volumes of class" $class $values.persistence.storageClass "nsqd.persistence.storageClass" $class $or) -}}
{{- end -}}
{{- if ne (toJson $claim.accessModes) (toJson $values.persistence.accessModes) -}}
{{- fail (printf $text $name "volumes with accessModes" (toJson $claim.accessModes) (toJson $values.persistence.accessModes) "nsqd.persistence.accessModes" (join "," $claim.accessModes | printf "{%s}") $or) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Fails when brokers would begin anew beside the queues that they have. */}}
{{- define "brokerd.sameFolder" -}}
{{- $name := include "brokerd.name" (list . "nsqd") -}}
{{- range .Values.nsqd.extraArgs -}}
{{- if regexMatch "^--?data-path\\b" . -}}
{{- fail (printf "nsqd.extraArgs has %s: queues are in /data, where the volume is, and stay there" .) -}}
{{- end -}}
{{- end -}}
{{- range (lookup "apps/v1" "StatefulSet" .Release.Namespace "").items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- if and (eq "nsqd" (index .spec.selector.matchLabels "app.kubernetes.io/component" | default "")) (eq $.Release.Name (index $labels "helm.sh/release" | default "")) (ne .metadata.name $name) -}}
{{- fail (printf "release %s has its queues on the volumes of StatefulSet %s, and %s would begin with none. Nothing was changed. Set nsqd.fullnameOverride=%s" $.Release.Name .metadata.name $name .metadata.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Fails when brokers of a cluster could wait for each other for ever, or lose their majority to maintenance. */}}
{{- define "brokerd.cluster" -}}
{{- with .Values.nsqd -}}
{{- if not .cluster.secretName -}}
{{- fail "nsqd.cluster.secretName must name a Secret whose key \"secret\" has 16 bytes or more: brokers prove with it who they are" -}}
{{- end -}}
{{- if lt (int .replicaCount) 3 -}}
{{- fail (printf "nsqd.replicaCount is %d: a cluster has 3 brokers at least" (int .replicaCount)) -}}
{{- end -}}
{{- if ne "Parallel" .podManagementPolicy -}}
{{- fail (printf "nsqd.podManagementPolicy is %s: it must be Parallel in a cluster, or after a stop of all the first pod waits for ever for a second one, which is never started" .podManagementPolicy) -}}
{{- end -}}
{{- if not .persistence.enabled -}}
{{- fail "nsqd.persistence.enabled must be true in a cluster: a broker whose disk was emptied is another one, and has to be let in" -}}
{{- end -}}
{{- if not (or (kindIs "invalid" .maxUnavailable) (has (toString .maxUnavailable) (list "0" "1"))) -}}
{{- fail (printf "nsqd.maxUnavailable is %v: it must be 1, or 0, in a cluster, as two of three brokers that are away are no majority" (toString .maxUnavailable)) -}}
{{- end -}}
{{- end -}}
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
