//! Arguments of the operator's container, as far as checks depend on them. The operator itself refuses what is malformed;
//! here it counts as absent.

use k8s_openapi::api::core::v1::Container;
use std::collections::BTreeMap;

/// Namespace of the trust bundle, if neither flag nor variable names one.
const BUNDLE_NAMESPACE: &str = "zero-trust-workload-identity-manager";

/// Arguments and variables of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    words: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// Where the operator takes the trust bundle from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BundleSource {
    /// A key of a ConfigMap.
    ConfigMap { namespace: String, name: String, key: String },
    /// A `ClusterTrustBundle`, by its name.
    ClusterTrustBundle(String),
    /// The Workload API of its node.
    WorkloadApi,
}

impl Arguments {
    /// Arguments and variables of a container. Variables with a value from elsewhere are not known.
    pub(super) fn of(container: &Container) -> Self {
        let words = container.command.iter().chain(&container.args).flatten().cloned().collect();
        let variables = container.env.iter().flatten();
        let variables = variables
            .filter_map(|one| Some((one.name.clone(), one.value.clone().filter(|v| !v.is_empty())?)));
        Self { words, variables: variables.collect() }
    }

    /// Value of a flag in Go's syntax; the last one counts, and one without a value is `true`.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        let mut words = self.words.iter().map(String::as_str).peekable();
        let mut found = None;
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
            match flag.split_once('=') {
                Some((flag, value)) if flag == name => found = Some(value),
                None if flag == name => {
                    let next = words.peek().copied();
                    found = Some(next.filter(|next| !next.starts_with('-')).unwrap_or("true"));
                }
                _ => {}
            }
        }
        found
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.flag(name).filter(|value| !value.is_empty())
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(self.flag(name), Some("true" | "1" | "t" | "T" | "TRUE" | "True"))
    }

    /// True if verdicts are shown and close nothing, by the same rule as in the operator.
    pub(super) fn is_audit(&self) -> bool {
        let enforces = self.is_on("enforce-network-policies");
        let is_off = self.is_on("signature-audit-mode")
            || (self.flag("enforce-network-policies").is_some() && !enforces);
        let mode = self.flag("mode");
        is_off || (mode.unwrap_or("audit") == "audit" && (mode.is_some() || !enforces))
    }

    /// True if replicas elect a leader.
    pub(super) fn elects_leader(&self) -> bool {
        self.is_on("leader-elect")
    }

    /// Trust domain of the agents.
    pub(super) fn trust_domain(&self) -> Option<&str> {
        self.text("spire-trust-domain")
            .or_else(|| self.variables.get("KAGENTI_SPIRE_TRUST_DOMAIN").map(String::as_str))
    }

    /// Source of the trust bundle.
    pub(super) fn bundle(&self) -> BundleSource {
        match self.text("trust-bundle-source") {
            Some("cluster-trust-bundle") => BundleSource::ClusterTrustBundle(
                self.text("cluster-trust-bundle").unwrap_or_default().to_owned(),
            ),
            Some("workload-api") => BundleSource::WorkloadApi,
            _ => {
                let variable = || self.variables.get("KAGENTI_SPIRE_NAMESPACE").map(String::as_str);
                let namespace = self.text("spire-trust-bundle-configmap-namespace").or_else(variable);
                let or = |name, default: &str| self.text(name).unwrap_or(default).to_owned();
                BundleSource::ConfigMap {
                    namespace: namespace.unwrap_or(BUNDLE_NAMESPACE).to_owned(),
                    name: or("spire-trust-bundle-configmap", "spire-bundle"),
                    key: or("spire-trust-bundle-configmap-key", "bundle.spiffe"),
                }
            }
        }
    }

    /// Image of the sidecar, if one is injected.
    pub(super) fn sidecar_image(&self) -> Option<&str> {
        self.text("sidecar-image")
    }

    /// Folder of nodes with SPIRE's socket.
    pub(super) fn spire_host_path(&self) -> Option<&str> {
        self.text("sidecar-spire-host-path")
    }

    /// True if the operator serves the admission webhook.
    pub(super) fn serves_webhook(&self) -> bool {
        self.flag("webhook-bind-address") != Some("0")
            && self.variables.get("ENABLE_WEBHOOKS").map(String::as_str) != Some("false")
    }

    /// Webhook configuration that the operator keeps.
    pub(super) fn webhook_configuration(&self) -> Option<&str> {
        self.text("webhook-configuration")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arguments(words: &[&str]) -> Arguments {
        let env = json!([{ "name": "KAGENTI_SPIRE_NAMESPACE", "value": "spire" }, { "name": "EMPTY", "value": "" },
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]);
        let container = json!({ "name": "manager", "command": ["/manager"], "args": words, "env": env });
        Arguments::of(&serde_json::from_value(container).unwrap())
    }

    #[test]
    fn flags_are_read_in_the_syntax_of_go_and_the_last_one_counts() {
        let given = arguments(&["--a=1", "-a", "2", "--b", "--c=", "d", "-e=x=y", "--f", "g"]);
        let found = ["a", "b", "c", "d", "e", "f", "g"].map(|name| given.flag(name));
        assert_eq!(found, [Some("2"), Some("true"), Some(""), None, Some("x=y"), Some("g"), None]);
    }

    #[test]
    fn the_mode_is_that_of_the_operator() {
        for (words, audit) in [
            (&[][..], true),
            (&["--mode=enforce"], false),
            (&["--mode=audit"], true),
            (&["--enforce-network-policies"], false),
            (&["--enforce-network-policies=true"], false),
            (&["--enforce-network-policies=false", "--mode=enforce"], true),
            (&["--enforce-network-policies=true", "--mode=audit"], true),
            (&["--mode=enforce", "--signature-audit-mode"], true),
        ] {
            assert_eq!(arguments(words).is_audit(), audit, "{words:?}");
        }
    }

    #[test]
    fn the_bundle_is_where_flags_variables_and_defaults_say() {
        let map = |namespace: &str, name: &str, key: &str| BundleSource::ConfigMap {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
        };
        assert_eq!(Arguments::default().bundle(), map(BUNDLE_NAMESPACE, "spire-bundle", "bundle.spiffe"));
        assert_eq!(arguments(&[]).bundle(), map("spire", "spire-bundle", "bundle.spiffe"));
        let named = [
            "--spire-trust-bundle-configmap-namespace=a",
            "--spire-trust-bundle-configmap=b",
            "--spire-trust-bundle-configmap-key=c",
        ];
        assert_eq!(arguments(&named).bundle(), map("a", "b", "c"));
        let cluster = ["--trust-bundle-source=cluster-trust-bundle", "--cluster-trust-bundle=x"];
        assert_eq!(arguments(&cluster).bundle(), BundleSource::ClusterTrustBundle("x".to_owned()));
        assert_eq!(arguments(&["--trust-bundle-source=workload-api"]).bundle(), BundleSource::WorkloadApi);
    }

    #[test]
    fn the_webhook_is_served_unless_it_is_turned_off() {
        assert!(arguments(&[]).serves_webhook());
        assert!(!arguments(&["--webhook-bind-address=0"]).serves_webhook());
        assert_eq!(arguments(&["--webhook-configuration", "x"]).webhook_configuration(), Some("x"));
        assert_eq!(arguments(&["--sidecar-image="]).sidecar_image(), None);
    }
}
