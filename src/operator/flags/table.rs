//! Table of all flags with kind, default, effect and help text.
//! Flags of the existing operator stay, so that its charts and manifests start this operator unchanged.

use std::fmt::Write;

/// Syntax of the values of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagKind {
    Bool,
    Duration,
    Number,
    Text,
    Repeated,
}

/// Effect of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Takes effect.
    Yes,
    /// Takes effect, and is superseded by the named flag.
    Deprecated(&'static str),
    /// Has no effect, for the given reason.
    None(&'static str),
}

/// Entry of one flag.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: FlagKind,
    pub(super) default: &'static str,
    pub(super) effect: Effect,
    pub(super) help: &'static str,
}

const fn flag(name: &'static str, kind: FlagKind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Yes, help }
}

const fn unused(name: &'static str, kind: FlagKind, default: &'static str, why: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::None(why), help: "" }
}

const fn deprecated(
    name: &'static str,
    default: &'static str,
    instead: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind: FlagKind::Bool, default, effect: Effect::Deprecated(instead), help }
}

const NO_INJECTION: &str = "this operator injects no sidecar";
const NO_KEYCLOAK: &str = "this operator does not manage Keycloak clients";
const NO_MLFLOW: &str = "this operator does not manage MLflow and OpenTelemetry collectors";
const NO_SIGSTORE: &str = "this operator does not verify Sigstore bundles";
const NO_RUNTIME: &str = "this operator does not manage AgentRuntimes";
const FIXED_LOG: &str = "lines have one form, and times are RFC 3339 in UTC";
const NO_STACK: &str = "errors are written without a stack";
const NO_DEVELOPMENT: &str = "use --zap-log-level=debug and --zap-encoder=console";

/// All flags, in the order of the help text.
pub(super) const FLAGS: &[Flag] = &[
    // Trust.
    flag("spire-trust-domain", FlagKind::Text, "", "Trust domain of the agents [KAGENTI_SPIRE_TRUST_DOMAIN]"),
    flag(
        "spiffe-id-template",
        FlagKind::Text,
        "spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}",
        "Identity that a workload must sign with",
    ),
    flag(
        "allow-trust-domain",
        FlagKind::Repeated,
        "",
        "NAMESPACE:TRUST_DOMAIN that AgentCards there may name besides the own one; * for all; may be repeated",
    ),
    flag(
        "binding-scope",
        FlagKind::Text,
        "workload",
        "Who may sign a card: the workload itself, or anybody in the trust-domain (compatibility only)",
    ),
    flag(
        "ingress-host-suffix",
        FlagKind::Repeated,
        "",
        "[NAMESPACE:]DOMAIN under which an Ingress may name hosts of agents, as endpoints of their cards; may be repeated",
    ),
    flag(
        "accept-profile",
        FlagKind::Repeated,
        "",
        "Canonical form to accept besides the default ones; may be repeated",
    ),
    flag(
        "policy-file",
        FlagKind::Text,
        "",
        "File with the acceptance policy of each trust domain; read again when it changes, and before these flags",
    ),
    flag(
        "freshness",
        FlagKind::Text,
        "live",
        "When a card is fresh: live needs a valid certificate, witnessed also takes one seen while it was valid",
    ),
    flag(
        "max-witness-age",
        FlagKind::Duration,
        "24h",
        "How long witnessed takes content after it was last verified under a valid certificate",
    ),
    flag(
        "trust-bundle-source",
        FlagKind::Text,
        "configmap",
        "Where trust bundles come from: the configmap, the cluster-trust-bundle, or the workload-api at \
         --verified-fetch-spiffe-socket",
    ),
    flag("cluster-trust-bundle", FlagKind::Text, "", "Name of the ClusterTrustBundle with the trust bundle"),
    flag("spire-trust-bundle-configmap", FlagKind::Text, "spire-bundle", "ConfigMap with the trust bundle"),
    flag(
        "spire-trust-bundle-configmap-namespace",
        FlagKind::Text,
        "",
        "Its namespace [KAGENTI_SPIRE_NAMESPACE, else zero-trust-workload-identity-manager]",
    ),
    flag("spire-trust-bundle-configmap-key", FlagKind::Text, "bundle.spiffe", "Its key"),
    flag(
        "spire-trust-bundle-refresh-interval",
        FlagKind::Duration,
        "5m",
        "How often the bundle is read again, besides being watched; at least every 10m, and thrice in its maximum age",
    ),
    flag(
        "trust-bundle-max-age",
        FlagKind::Duration,
        "24h",
        "How long a bundle counts after it was last read",
    ),
    // Enforcement.
    flag("mode", FlagKind::Text, "audit", "enforce writes NetworkPolicies; audit only shows verdicts"),
    flag(
        "egress",
        FlagKind::Text,
        "anywhere",
        "Where verified agents may go: anywhere, or only to agents, DNS and the API server",
    ),
    flag(
        "caller",
        FlagKind::Repeated,
        "",
        "Pods that may call verified agents besides agents, as NAMESPACE or NAMESPACE:key=value,…; may be repeated",
    ),
    flag(
        "dns-selector",
        FlagKind::Text,
        "kube-system:k8s-app=kube-dns",
        "Pods that resolve names, as NAMESPACE:key=value,…",
    ),
    flag(
        "dns-address",
        FlagKind::Repeated,
        "",
        "Address of a resolver outside the Pod network, such as a node-local cache; may be repeated",
    ),
    flag("dns-port", FlagKind::Repeated, "", "Port on which DNS Pods listen, besides 53; may be repeated"),
    flag(
        "agent-namespace",
        FlagKind::Repeated,
        "",
        "Namespace whose verified agents may call verified agents of all namespaces, and not of their own alone; with \
         --egress=agents name the called namespaces too; may be repeated",
    ),
    flag(
        "enforce-network-policies",
        FlagKind::Bool,
        "false",
        "Write NetworkPolicies: the same as --mode=enforce, and =false as --mode=audit",
    ),
    // Injection of sidecars.
    flag(
        "sidecar-image",
        FlagKind::Text,
        "",
        "Image of AuthBridge, the sidecar of enrolled workloads in namespaces with the label kagenti-enabled; empty injects none",
    ),
    flag(
        "sidecar-spire-host-path",
        FlagKind::Text,
        "",
        "Folder of nodes with the socket of SPIRE's agent, for clusters without the CSI driver csi.spiffe.io",
    ),
    // Surroundings of enrolled workloads.
    flag(
        "istio-mesh-labels",
        FlagKind::Bool,
        "false",
        "Label namespaces with an AgentRuntime for the ambient mode of Istio's mesh",
    ),
    flag(
        "scc-binding",
        FlagKind::Bool,
        "false",
        "Bind service accounts of workloads with a sidecar to OpenShift's security context constraint kagenti-authbridge",
    ),
    // Fetching of cards.
    flag(
        "concurrency",
        FlagKind::Number,
        "16",
        "How many cards are fetched and judged, and how many objects written, at once",
    ),
    flag(
        "min-sync-period",
        FlagKind::Duration,
        "5s",
        "Shortest time between two fetches of one card, whatever its spec.syncPeriod says; a few may follow a change",
    ),
    flag("fetch-timeout", FlagKind::Duration, "5s", "How long an agent may take to serve its card"),
    flag(
        "enable-verified-fetch",
        FlagKind::Bool,
        "true",
        "Fetch over SPIFFE mTLS where the Service offers it",
    ),
    flag(
        "verified-fetch-spiffe-socket",
        FlagKind::Text,
        "unix:///spiffe-workload-api/spire-agent.sock",
        "Workload API that gives the operator its own identity",
    ),
    // Process.
    flag(
        "leader-elect",
        FlagKind::Bool,
        "false",
        "Work only while holding the lease, for more than one replica",
    ),
    flag(
        "health-probe-bind-address",
        FlagKind::Text,
        ":8081",
        "Where /healthz and /readyz are served; 0 turns them off",
    ),
    flag("metrics-bind-address", FlagKind::Text, "0", "Where /metrics is served; 0 turns it off"),
    flag(
        "metrics-secure",
        FlagKind::Bool,
        "true",
        "Serve metrics over TLS to callers that the API server authorizes",
    ),
    flag(
        "metrics-cert-path",
        FlagKind::Text,
        "",
        "Directory of the metrics server's certificate; empty makes a self-signed one",
    ),
    flag("metrics-cert-name", FlagKind::Text, "tls.crt", "File name of the certificate"),
    flag("metrics-cert-key", FlagKind::Text, "tls.key", "File name of its key"),
    flag(
        "webhook-bind-address",
        FlagKind::Text,
        ":9443",
        "Where the admission webhook is served over TLS; 0 turns it off, as ENABLE_WEBHOOKS=false does",
    ),
    flag(
        "webhook-cert-path",
        FlagKind::Text,
        "",
        "Directory of the webhook's certificate, read again every minute; empty keeps one in a Secret of the operator",
    ),
    flag("webhook-cert-name", FlagKind::Text, "tls.crt", "File name of the certificate"),
    flag("webhook-cert-key", FlagKind::Text, "tls.key", "File name of its key"),
    flag(
        "webhook-service",
        FlagKind::Text,
        "kagenti-operator-webhook-service",
        "Service at which the API server calls the webhook, for the names in the operator's own certificate",
    ),
    flag(
        "webhook-configuration",
        FlagKind::Text,
        "",
        "MutatingWebhookConfiguration whose caBundle follows the operator's own certificate; empty for none",
    ),
    flag(
        "otlp-endpoint",
        FlagKind::Text,
        "",
        "Where traces are sent by OTLP over HTTP, for example http://collector:4318; empty sends none",
    ),
    flag(
        "kubeconfig",
        FlagKind::Text,
        "",
        "Kubeconfig file; empty uses the Pod's own service account, or the usual files outside a cluster",
    ),
    flag(
        "zap-log-level",
        FlagKind::Text,
        "info",
        "Least level of log lines: debug, info, error, panic (as error) or a number, where 1 is debug and more is trace; \
         RUST_LOG sets it for single modules, if this flag is absent [RUST_LOG]",
    ),
    flag(
        "zap-encoder",
        FlagKind::Text,
        "json",
        "Form of log lines: json, one object each, or console, for people",
    ),
    // Deprecated flags of the existing operator.
    deprecated("signature-audit-mode", "false", "--mode=audit", "The same as --mode=audit"),
    // Flags of the existing operator without effect.
    unused("require-a2a-signature", FlagKind::Bool, "false", "signatures are always required"),
    unused(
        "svid-expiry-grace-period",
        FlagKind::Duration,
        "30m",
        "workloads are never restarted; sign in a sidecar with `countersign sign --watch`",
    ),
    unused("enable-card-discovery", FlagKind::Bool, "true", NO_RUNTIME),
    unused("enable-http2", FlagKind::Bool, "false", "metrics are served over HTTP/1.1"),
    unused("config-path", FlagKind::Text, "/etc/kagenti/config.yaml", NO_INJECTION),
    unused(
        "feature-gates-path",
        FlagKind::Text,
        "/etc/kagenti/feature-gates/feature-gates.yaml",
        NO_INJECTION,
    ),
    unused("enable-client-registration", FlagKind::Bool, "true", NO_KEYCLOAK),
    unused("enable-authbridge-config", FlagKind::Bool, "true", NO_KEYCLOAK),
    unused("keycloak-admin-secret-namespace", FlagKind::Text, "keycloak", NO_KEYCLOAK),
    unused("keycloak-realm", FlagKind::Text, "kagenti", NO_KEYCLOAK),
    unused("client-auth-type", FlagKind::Text, "client-secret", NO_KEYCLOAK),
    unused("spiffe-idp-alias", FlagKind::Text, "spire-spiffe", NO_KEYCLOAK),
    unused("credential-wait-timeout", FlagKind::Text, "120s", NO_KEYCLOAK),
    unused("enable-kuadrant", FlagKind::Bool, "false", NO_KEYCLOAK),
    unused("enable-mlflow", FlagKind::Bool, "false", NO_MLFLOW),
    unused("enable-otel-bootstrap", FlagKind::Bool, "false", NO_MLFLOW),
    unused("mlflow-workspace", FlagKind::Text, "", NO_MLFLOW),
    unused("mlflow-experiment-name", FlagKind::Text, "kagenti-traces", NO_MLFLOW),
    unused("mlflow-ca-file", FlagKind::Text, "", NO_MLFLOW),
    unused("enable-sigstore-verification", FlagKind::Bool, "false", NO_SIGSTORE),
    unused("sigstore-audit-mode", FlagKind::Bool, "false", NO_SIGSTORE),
    unused("sigstore-certificate-identity", FlagKind::Text, "", NO_SIGSTORE),
    unused("sigstore-certificate-oidc-issuer", FlagKind::Text, "", NO_SIGSTORE),
    unused("sigstore-trusted-root-configmap", FlagKind::Text, "", NO_SIGSTORE),
    unused("sigstore-trusted-root-configmap-namespace", FlagKind::Text, "", NO_SIGSTORE),
    unused("sigstore-trusted-root-configmap-key", FlagKind::Text, "trusted-root.json", NO_SIGSTORE),
    unused("sigstore-staging", FlagKind::Bool, "false", NO_SIGSTORE),
    unused("zap-devel", FlagKind::Bool, "false", NO_DEVELOPMENT),
    unused("zap-stacktrace-level", FlagKind::Text, "error", NO_STACK),
    unused("zap-time-encoding", FlagKind::Text, "rfc3339", FIXED_LOG),
];

/// Default of a flag as text; empty for an unknown name.
pub(super) fn default_of(name: &str) -> &'static str {
    FLAGS.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default)
}

/// Help text of the operator command.
pub fn help() -> String {
    let mut text = String::from(
        "Usage: countersign operator [--flag=value …]\n\n\
         Verifies the AgentCards of a cluster and keeps the NetworkPolicies that follow. Flags have Go's syntax: one\n\
         dash or two, --flag=value or --flag value, booleans alone or as --flag=false. Those of the existing operator\n\
         are accepted. docs/operator.md says more.\n\n\
         --mode=enforce needs --spire-trust-domain.\n\n\
         Environment in brackets; POD_NAMESPACE is the operator's own namespace, NAMESPACES2WATCH limits the\n\
         namespaces that are watched (separated by commas).\n\nFlags:\n",
    );
    for flag in FLAGS.iter().filter(|flag| !matches!(flag.effect, Effect::None(_))) {
        let default =
            if flag.default.is_empty() { String::new() } else { format!(" (default {})", flag.default) };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  --{}\n        {}{default}", flag.name, flag.help);
    }
    text.push_str("\nAccepted for compatibility, without an effect:\n");
    for flag in FLAGS {
        if let Effect::None(why) = flag.effect {
            let _ = writeln!(text, "  --{:<44} {why}", flag.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_flag_is_in_the_help_once() {
        let names: BTreeSet<&str> = FLAGS.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), FLAGS.len());
        let help = help();
        for name in names {
            let shown =
                help.lines().filter(|line| line.split_whitespace().next() == Some(&format!("--{name}")));
            assert_eq!(shown.count(), 1, "{name}");
        }
    }
}
