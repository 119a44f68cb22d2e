//! Pods of agents, cut down to what decides whether they are marked as peers.
//! Only Pods with the label that enrols them are watched; another Pod never gets a mark.

use super::workload::WorkloadKind;
use countersign_api::keys::PEER_MARK_LABEL;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The API version of everything that controls Pods of agents.
const APPS: &str = "apps/v1";
/// Phases in which a Pod has ended for good.
const ENDED: [&str; 2] = ["Succeeded", "Failed"];

/// What is known of a Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The object that controls it.
    pub controller: Option<Controller>,
    /// The service account that it runs as.
    pub service_account: String,
    /// The addresses at which it answers.
    pub addresses: Vec<IpAddr>,
    /// Whether it uses the network of its node.
    pub host_network: bool,
    /// False once it ends: it will not serve again.
    pub can_serve: bool,
}

/// The one owner that controls an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// What it is.
    pub kind: ControllerKind,
    /// Its UID.
    pub uid: String,
}

/// The kinds that can stand between a Pod and its workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerKind {
    /// `apps/v1` Deployment: controls `ReplicaSet`s, never Pods.
    Deployment,
    /// `apps/v1` `ReplicaSet`.
    ReplicaSet,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// Anything else, which is nobody's.
    Other,
}

/// Kind and UID of the workload at the end of a Pod's chain of controllers: a `StatefulSet` itself, a Deployment only by
/// a `ReplicaSet` of its own, whose controller `of_set` knows by UID.
pub fn owner_of(
    pod: &Pod,
    of_set: impl FnOnce(&str) -> Option<Controller>,
) -> Option<(WorkloadKind, String)> {
    let controller = pod.controller.as_ref()?;
    match controller.kind {
        ControllerKind::StatefulSet => Some((WorkloadKind::StatefulSet, controller.uid.clone())),
        ControllerKind::ReplicaSet => {
            let owner = of_set(&controller.uid)?;
            (owner.kind == ControllerKind::Deployment).then_some((WorkloadKind::Deployment, owner.uid))
        }
        ControllerKind::Deployment | ControllerKind::Other => None,
    }
}

impl Pod {
    /// Reads a Pod.
    pub fn of(object: ApiPod) -> Option<Self> {
        let (metadata, spec) = (object.metadata, object.spec.unwrap_or_default());
        let status = object.status.unwrap_or_default();
        let has_ended = status.phase.as_deref().is_some_and(|phase| ENDED.contains(&phase));
        let addresses = status.pod_ips.unwrap_or_default();
        Some(Self {
            uid: metadata.uid?,
            labels: metadata.labels.unwrap_or_default(),
            controller: controller(metadata.owner_references.as_deref()),
            // The API server fills it in when the Pod is made.
            service_account: spec.service_account_name.unwrap_or_default(),
            // What the kubelet writes are addresses. If one is none, the Pod is found behind no Service.
            addresses: addresses
                .iter()
                .map(|address| address.ip.parse())
                .collect::<Result<_, _>>()
                .unwrap_or_default(),
            host_network: spec.host_network.unwrap_or_default(),
            can_serve: metadata.deletion_timestamp.is_none() && !has_ended,
        })
    }

    /// The mark that it carries.
    pub fn mark(&self) -> Option<&str> {
        self.labels.get(PEER_MARK_LABEL).map(String::as_str)
    }
}

/// The one owner that controls an object.
pub fn controller(owners: Option<&[OwnerReference]>) -> Option<Controller> {
    let owner = owners.unwrap_or_default().iter().find(|owner| owner.controller == Some(true))?;
    let kind = match (owner.api_version.as_str(), owner.kind.as_str()) {
        (APPS, "Deployment") => ControllerKind::Deployment,
        (APPS, "ReplicaSet") => ControllerKind::ReplicaSet,
        (APPS, "StatefulSet") => ControllerKind::StatefulSet,
        _ => ControllerKind::Other,
    };
    Some(Controller { kind, uid: owner.uid.clone() })
}

/// True if the selector selects these labels. An operator that is not known selects nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
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
pub fn selector_text(selector: &LabelSelector) -> String {
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
        let owner = |uid: &str, (api_version, kind): (&str, &str), controller| OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            uid: uid.to_owned(),
            controller,
            ..OwnerReference::default()
        };
        let set = ("apps/v1", "ReplicaSet");
        let found = controller(Some(&[owner("a", set, None), owner("b", set, Some(true))]));
        assert_eq!(found, Some(Controller { kind: ControllerKind::ReplicaSet, uid: "b".to_owned() }));
        assert_eq!(controller(Some(&[owner("a", set, Some(false))])), None);
        for other in [("apps/v1", "Widget"), ("example.org/v1", "ReplicaSet"), ("", "StatefulSet")] {
            let found = controller(Some(&[owner("a", other, Some(true))])).unwrap();
            assert_eq!(found.kind, ControllerKind::Other, "{other:?}");
        }
    }

    #[test]
    fn a_pod_that_ends_does_not_serve_again() {
        let pod = |metadata: serde_json::Value, phase: &str| {
            let object = serde_json::json!({ "metadata": metadata, "spec": { "containers": [] },
                "status": { "phase": phase, "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }] } });
            Pod::of(serde_json::from_value(object).unwrap()).unwrap()
        };
        let running = pod(serde_json::json!({ "uid": "u" }), "Running");
        assert!(running.can_serve && running.addresses.len() == 2);
        assert!(!pod(serde_json::json!({ "uid": "u" }), "Failed").can_serve);
        let leaving = serde_json::json!({ "uid": "u", "deletionTimestamp": "2026-11-18T11:06:40Z" });
        assert!(!pod(leaving, "Running").can_serve);
    }
}
