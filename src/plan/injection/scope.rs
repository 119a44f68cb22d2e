//! Namespaces about whose Pods the API server asks the webhook: what the chart's `namespaceSelector` says.

use countersign_api::keys::Family;
use std::collections::BTreeMap;

/// Value of the label of namespaces with which it asks.
pub const ENABLED: &str = "true";
/// Namespaces of the cluster itself, about which it never asks.
const SYSTEM: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// True if the labels of a namespace ask for sidecars in its Pods.
pub fn is_enabled(labels: &BTreeMap<String, String>) -> bool {
    let asks = |family: &Family| labels.get(family.namespace_label()).is_some_and(|value| value == ENABLED);
    Family::ALL.iter().any(asks)
}

/// True for namespaces in which nothing is ever injected, whatever their labels say.
pub fn is_exempt(namespace: &str, operator_namespace: &str) -> bool {
    SYSTEM.contains(&namespace) || namespace == operator_namespace
}

/// Why the API server does not ask the webhook about Pods of a namespace, so that they stay as they are; `None` if it does.
pub fn unasked(
    namespace: &str,
    labels: &BTreeMap<String, String>,
    operator_namespace: &str,
) -> Option<String> {
    if SYSTEM.contains(&namespace) {
        return Some("it is in a namespace of the cluster itself, where nothing is injected".to_owned());
    }
    if namespace == operator_namespace {
        return Some("it is in the operator's own namespace, where nothing is injected".to_owned());
    }
    if !is_enabled(labels) {
        let label = Family::Kagenti.namespace_label();
        return Some(format!("its namespace does not have the label {label}: \"{ENABLED}\""));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_either_family_asks_and_three_namespaces_and_the_operators_own_never_do() {
        let labels = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let enabled = labels("kagenti-enabled", "true");
        for (namespace, labels, why) in [
            ("team", &enabled, None),
            ("team", &labels("rossoctl-enabled", "true"), None),
            ("team", &labels("kagenti-enabled", "True"), Some("kagenti-enabled")),
            ("team", &BTreeMap::new(), Some("kagenti-enabled")),
            ("kube-system", &enabled, Some("of the cluster itself")),
            ("system", &enabled, Some("operator's own")),
        ] {
            let found = unasked(namespace, labels, "system");
            assert_eq!(found.is_some(), why.is_some(), "{namespace} {labels:?}");
            assert_eq!(is_exempt(namespace, "system"), namespace.ends_with("system"));
            assert!(found.unwrap_or_default().contains(why.unwrap_or_default()), "{namespace} {labels:?}");
        }
    }
}
