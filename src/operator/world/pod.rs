//! Pods of agents, cut down to what decides whether they are marked as peers.
//! Only Pods with the label that enrols them are watched; another Pod never gets a mark.

use crate::api::keys::PEER_MARK_LABEL;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use std::collections::BTreeMap;

/// What is known of a Pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pod {
    /// Its UID.
    pub(crate) uid: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The UID of the object that controls it.
    pub(crate) controller: Option<String>,
    /// Whether it uses the network of its node.
    pub(crate) host_network: bool,
}

impl Pod {
    /// Reads a Pod.
    pub(crate) fn of(object: ApiPod) -> Option<Self> {
        Some(Self {
            uid: object.metadata.uid?,
            labels: object.metadata.labels.unwrap_or_default(),
            controller: controller(object.metadata.owner_references.as_deref()),
            host_network: object.spec.and_then(|spec| spec.host_network).unwrap_or_default(),
        })
    }

    /// The mark that it carries.
    pub(crate) fn mark(&self) -> Option<&str> {
        self.labels.get(PEER_MARK_LABEL).map(String::as_str)
    }
}

/// The UID of the one owner that controls an object.
pub(crate) fn controller(owners: Option<&[OwnerReference]>) -> Option<String> {
    owners
        .unwrap_or_default()
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.clone())
}

/// True if the selector selects these labels. An operator that is not known selects nothing.
pub(crate) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = labels.get(&expression.key);
            let listed =
                value.is_some_and(|value| expression.values.iter().flatten().any(|one| one == value));
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// The selector as the text that list requests take.
pub(crate) fn selector_text(selector: &LabelSelector) -> String {
    let mut parts: Vec<String> =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default().join(",");
        parts.push(match expression.operator.as_str() {
            "In" => format!("{} in ({values})", expression.key),
            "NotIn" => format!("{} notin ({values})", expression.key),
            "DoesNotExist" => format!("!{}", expression.key),
            _ => expression.key.clone(),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn selector(json: serde_json::Value) -> LabelSelector {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_selector_means_what_the_api_server_means_by_it() {
        let of = |operator: &str, values: &[&str]| {
            selector(serde_json::json!({
                "matchExpressions": [{ "key": "tier", "operator": operator, "values": values }],
            }))
        };
        let (front, none) = (labels(&[("tier", "front")]), labels(&[]));
        assert!(selects(&of("In", &["front", "back"]), &front) && !selects(&of("In", &["front"]), &none));
        assert!(!selects(&of("NotIn", &["front"]), &front) && selects(&of("NotIn", &["front"]), &none));
        assert!(selects(&of("Exists", &[]), &front) && !selects(&of("Exists", &[]), &none));
        assert!(!selects(&of("DoesNotExist", &[]), &front) && selects(&of("DoesNotExist", &[]), &none));
        assert!(!selects(&of("Near", &[]), &front));
        assert_eq!(selector_text(&of("NotIn", &["a", "b"])), "tier notin (a,b)");
        assert_eq!(selector_text(&of("DoesNotExist", &[])), "!tier");
    }

    #[test]
    fn only_the_controlling_owner_counts() {
        let owner = |uid: &str, controller| OwnerReference {
            uid: uid.to_owned(),
            controller,
            ..OwnerReference::default()
        };
        assert_eq!(controller(Some(&[owner("a", None), owner("b", Some(true))])).as_deref(), Some("b"));
        assert_eq!(controller(Some(&[owner("a", Some(false))])), None);
    }
}
