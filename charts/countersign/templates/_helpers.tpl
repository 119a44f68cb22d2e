{{- define "countersign.selectorLabels" -}}
app.kubernetes.io/name: countersign
app.kubernetes.io/instance: {{ .Release.Name }}
control-plane: controller-manager
{{- end }}

{{- define "countersign.labels" -}}
app.kubernetes.io/name: countersign
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "countersign.image" -}}
{{- with .Values.controllerManager.container.image -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "countersign.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.controllerManager.serviceAccountName }}
{{- end }}

{{- define "countersign.trustDomain" -}}
{{- .Values.signatureVerification.spireTrustDomain | default (get .Values.controllerManager.container.env "KAGENTI_SPIRE_TRUST_DOMAIN") -}}
{{- end }}

{{- /* Not empty if the webhook is served. The existing operator reads the variable, too. */ -}}
{{- define "countersign.webhook" -}}
{{- if and (.Values.webhook).enable (ne (get .Values.controllerManager.container.env "ENABLE_WEBHOOKS" | toString) "false") -}}
true
{{- end -}}
{{- end }}

{{- /* Not empty if cert-manager keeps the webhook's certificate. */ -}}
{{- define "countersign.certmanager" -}}
{{- if and (include "countersign.webhook" .) (.Values.certmanager).enable -}}
true
{{- end -}}
{{- end }}

{{- /* The image of the sidecar; empty if none is injected. */ -}}
{{- define "countersign.sidecarImage" -}}
{{- if dig "image" "repository" "" (.Values.sidecar | default dict) -}}
{{- if .Values.sidecar.image.digest -}}
{{- printf "%s@%s" .Values.sidecar.image.repository .Values.sidecar.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.sidecar.image.repository (.Values.sidecar.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /*
The readiness probe. Where new Pods wait for the webhook, an outage of SPIRE or of one watch must not take the webhook out
of its Service: it needs neither.
*/ -}}
{{- define "countersign.readinessProbe" -}}
{{- $probe := deepCopy .Values.controllerManager.container.readinessProbe -}}
{{- if and (include "countersign.sidecarImage" .) (eq (dig "httpGet" "path" "" $probe) "/readyz") -}}
{{- $_ := set $probe.httpGet "path" "/readyz?exclude=bundle&exclude=watches" -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end }}

{{- /*
Images of sidecars besides the release's own that are accepted, as JSON: those of the values, and the one that the operator
which this release replaces injects until its last Pod is gone.
*/ -}}
{{- define "countersign.formerSidecarImages" -}}
{{- $images := dig "formerImages" list (.Values.sidecar | default dict) -}}
{{- $running := lookup "apps/v1" "Deployment" .Release.Namespace "kagenti-controller-manager" -}}
{{- range dig "spec" "template" "spec" "containers" list ($running | default dict) -}}
{{- range .args -}}
{{- if hasPrefix "--sidecar-image=" . -}}{{- $images = append $images (trimPrefix "--sidecar-image=" .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- without $images "" (include "countersign.sidecarImage" $) | uniq | toRawJson -}}
{{- end }}

{{- /* The folder of the webhook's certificate by cert-manager inside the container, as in the existing chart. */ -}}
{{- define "countersign.webhookFolder" -}}
/tmp/k8s-webhook-server/serving-certs
{{- end }}

{{- /* The folder of the Workload API's socket inside the container. */ -}}
{{- define "countersign.socketFolder" -}}
{{- dir (trimPrefix "unix://" .Values.verifiedFetch.spiffeEndpointSocket) -}}
{{- end }}

{{- /*
Fails when a connected API server does not serve an API that a switch needs. `helm template` is not connected and
renders everything. Takes (list . "group/version/Kind" "switch").
*/ -}}
{{- define "countersign.needsApi" -}}
{{- $root := index . 0 -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
{{- if not ($root.Capabilities.APIVersions.Has (index . 1)) -}}
{{- fail (printf "%s is on and this cluster does not serve %s: install what brings it, or switch %s off" (index . 2) (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* What a value file can get wrong, before anything is applied. */ -}}
{{- define "countersign.check" -}}
{{- with .Values.controllerManager.container.image.repository -}}
{{- /* In the registry of the existing project or in a mirror of it. */ -}}
{{- if regexMatch "(^|/)(kagenti|rossoctl)/(.*/)?((kagenti|rossoctl)-)?operator$" . -}}
{{- fail (printf "controllerManager.container.image.repository is %s, the image of the existing operator, which this chart would start in place of Countersign: take controllerManager.container.image.repository and controllerManager.container.image.tag out of your values, or set both to the image of Countersign that you built and pushed (docker build -t REGISTRY/countersign:TAG .)" .) -}}
{{- end -}}
{{- end -}}
{{- if include "countersign.sidecarImage" . -}}
{{- if not (include "countersign.webhook" .) -}}
{{- fail "sidecar.image.repository is set and no webhook injects it, so new Pods of enrolled workloads would be refused: set webhook.enable (`helm upgrade --reuse-values` drops it; take --reset-then-reuse-values), take ENABLE_WEBHOOKS out of controllerManager.container.env, or empty sidecar.image.repository" -}}
{{- end -}}
{{- end -}}
{{- range .Values.controllerManager.container.args -}}
{{- if hasPrefix "sidecar-image=" (. | trimPrefix "-" | trimPrefix "-") -}}
{{- fail (printf "controllerManager.container.args has %s, and the admission policies accept the image of sidecar.image alone: set sidecar.image.repository and sidecar.image.tag instead" .) -}}
{{- end -}}
{{- end -}}
{{- with .Values.signatureVerification -}}
{{- if .enabled -}}
{{- if not (or .spireTrustBundle.configMapNamespace .spireTrustBundle.clusterTrustBundle) -}}
{{- fail "signatureVerification.enabled is true and signatureVerification.spireTrustBundle.configMapNamespace is empty: set it to the namespace in which SPIRE publishes its bundle, or name a clusterTrustBundle" -}}
{{- end -}}
{{- if not (include "countersign.trustDomain" $) -}}
{{- fail "signatureVerification.enabled is true and signatureVerification.spireTrustDomain is empty: set it to the trust domain of this cluster, it is never guessed" -}}
{{- end -}}
{{- end -}}
{{- if and (not .enabled) (not $.Values.verifiedFetch.enabled) (or .enforceNetworkPolicies $.Values.enforceNetworkPolicies) -}}
{{- fail "enforceNetworkPolicies is true and nothing verifies agents, so all would stay closed: set signatureVerification.enabled or verifiedFetch.enabled as well" -}}
{{- end -}}
{{- end -}}
{{- with .Values.verifiedFetch -}}
{{- if .enabled -}}
{{- if not (include "countersign.trustDomain" $) -}}
{{- fail "verifiedFetch.enabled is true and signatureVerification.spireTrustDomain is empty: set it to the trust domain of this cluster, it is never guessed" -}}
{{- end -}}
{{- if and (not .hostPath) (lookup "v1" "Namespace" "" "kube-system") (not (lookup "storage.k8s.io/v1" "CSIDriver" "" "csi.spiffe.io")) -}}
{{- fail "verifiedFetch.enabled is true and this cluster has no CSI driver csi.spiffe.io, so the operator's Pod would never start: install the SPIFFE CSI driver, or set verifiedFetch.hostPath" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /*
The arguments of the operator as a YAML list: the chart's, each replaced by a user's argument of the same name, then the
user's others.
*/ -}}
{{- define "countersign.args" -}}
{{- $v := .Values -}}
{{- $sv := $v.signatureVerification -}}
{{- $args := list "--leader-elect" "--health-probe-bind-address=:8081" -}}
{{- if $v.metrics.enable -}}
{{- $args = concat $args (list "--metrics-bind-address=:8443" (printf "--metrics-secure=%t" $v.metrics.secure)) -}}
{{- else -}}
{{- $args = append $args "--metrics-bind-address=0" -}}
{{- end -}}
{{- if not (include "countersign.webhook" .) -}}
{{- $args = append $args "--webhook-bind-address=0" -}}
{{- else if include "countersign.certmanager" . -}}
{{- $args = append $args (printf "--webhook-cert-path=%s" (include "countersign.webhookFolder" .)) -}}
{{- else -}}
{{- $args = append $args "--webhook-configuration=kagenti-operator-mutating-webhook-configuration" -}}
{{- end -}}
{{- with include "countersign.trustDomain" . -}}{{- $args = append $args (printf "--spire-trust-domain=%s" .) -}}{{- end -}}
{{- with $sv.spireTrustBundle -}}
{{- if .clusterTrustBundle -}}
{{- $args = concat $args (list "--trust-bundle-source=cluster-trust-bundle" (printf "--cluster-trust-bundle=%s" .clusterTrustBundle)) -}}
{{- else if .configMapNamespace -}}
{{- $args = concat $args (list
  (printf "--spire-trust-bundle-configmap=%s" .configMapName)
  (printf "--spire-trust-bundle-configmap-namespace=%s" .configMapNamespace)
  (printf "--spire-trust-bundle-configmap-key=%s" .configMapKey)) -}}
{{- end -}}
{{- if or .clusterTrustBundle .configMapNamespace -}}
{{- $args = append $args (printf "--spire-trust-bundle-refresh-interval=%s" .refreshInterval) -}}
{{- with .maxAge -}}{{- $args = append $args (printf "--trust-bundle-max-age=%s" .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- with $sv.spiffeIdTemplate -}}{{- $args = append $args (printf "--spiffe-id-template=%s" .) -}}{{- end -}}
{{- $args = concat $args (list (printf "--binding-scope=%s" $sv.bindingScope) (printf "--freshness=%s" $sv.freshness)) -}}
{{- with $sv.maxWitnessAge -}}{{- $args = append $args (printf "--max-witness-age=%s" .) -}}{{- end -}}
{{- range $sv.allowedTrustDomains -}}{{- $args = append $args (printf "--allow-trust-domain=%s" .) -}}{{- end -}}
{{- range $sv.ingressHostSuffixes -}}{{- $args = append $args (printf "--ingress-host-suffix=%s" .) -}}{{- end -}}
{{- if $sv.policy -}}{{- $args = append $args "--policy-file=/etc/countersign/policy/policy.yaml" -}}{{- end -}}
{{- range $sv.acceptProfiles -}}{{- $args = append $args (printf "--accept-profile=%s" .) -}}{{- end -}}
{{- $args = append $args (printf "--mode=%s" (ternary "audit" "enforce" $sv.auditMode)) -}}
{{- $args = append $args (printf "--enforce-network-policies=%t" (or $v.enforceNetworkPolicies $sv.enforceNetworkPolicies)) -}}
{{- $args = append $args (printf "--enable-verified-fetch=%t" $v.verifiedFetch.enabled) -}}
{{- if $v.verifiedFetch.enabled -}}
{{- $args = append $args (printf "--verified-fetch-spiffe-socket=%s" $v.verifiedFetch.spiffeEndpointSocket) -}}
{{- end -}}
{{- with $v.sidecar -}}
{{- with include "countersign.sidecarImage" $ -}}{{- $args = append $args (printf "--sidecar-image=%s" .) -}}{{- end -}}
{{- with .spireHostPath -}}{{- $args = append $args (printf "--sidecar-spire-host-path=%s" .) -}}{{- end -}}
{{- end -}}
{{- if ($v.istio).meshLabels -}}{{- $args = append $args "--istio-mesh-labels" -}}{{- end -}}
{{- if ($v.openshift).sccBinding -}}{{- $args = append $args "--scc-binding" -}}{{- end -}}
{{- with $v.operator -}}
{{- $args = concat $args (list (printf "--concurrency=%d" (int .concurrency)) (printf "--min-sync-period=%s" (.minSyncPeriod | default "5s")) (printf "--fetch-timeout=%s" .fetchTimeout) (printf "--egress=%s" .egress)) -}}
{{- range .callers -}}{{- $args = append $args (printf "--caller=%s" .) -}}{{- end -}}
{{- range .agentNamespaces -}}{{- $args = append $args (printf "--agent-namespace=%s" .) -}}{{- end -}}
{{- with .dns.selector -}}{{- $args = append $args (printf "--dns-selector=%s" .) -}}{{- end -}}
{{- range .dns.ports -}}{{- $args = append $args (printf "--dns-port=%d" (int .)) -}}{{- end -}}
{{- range .dns.addresses -}}{{- $args = append $args (printf "--dns-address=%s" .) -}}{{- end -}}
{{- with .otlpEndpoint -}}{{- $args = append $args (printf "--otlp-endpoint=%s" .) -}}{{- end -}}
{{- end -}}
{{- /* The existing chart's own argument, in a value file that was copied from it, names a folder that is not mounted. */ -}}
{{- $given := $v.controllerManager.container.args -}}
{{- if not (include "countersign.certmanager" .) -}}
{{- $given = without $given (printf "--webhook-cert-path=%s" (include "countersign.webhookFolder" .)) -}}
{{- end -}}
{{- $own := dict -}}
{{- range $given -}}
{{- $_ := set $own (. | trimPrefix "-" | trimPrefix "-" | splitList "=" | first) true -}}
{{- end -}}
{{- $result := list -}}
{{- range $args -}}
{{- if not (hasKey $own (trimPrefix "--" . | splitList "=" | first)) -}}{{- $result = append $result . -}}{{- end -}}
{{- end -}}
{{- concat $result $given | toYaml -}}
{{- end }}

{{- /* Names of values that are accepted and have no effect, one a line. */ -}}
{{- define "countersign.unused" -}}
{{- $values := .Values -}}
{{- range list "authbridgeConfig" "defaults" "featureGates" "keycloak" "kuadrant" "mlflow" "otelBootstrap" "sigstore" "spiffe" "vap" -}}
{{- if hasKey $values . }}{{ . }}
{{ end -}}
{{- end -}}
{{- range list "spireClusterName" "svidExpiryGracePeriod" -}}
{{- if hasKey $values.signatureVerification . }}signatureVerification.{{ . }}
{{ end -}}
{{- end -}}
{{- end }}

{{- /* Whether verdicts stop traffic where a namespace does not say otherwise: true or false. */ -}}
{{- define "countersign.enforces" -}}
{{- $sv := .Values.signatureVerification -}}
{{- and (or .Values.enforceNetworkPolicies $sv.enforceNetworkPolicies) (not $sv.auditMode) | ternary "true" "false" -}}
{{- end }}
