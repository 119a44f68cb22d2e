//! Pods of agents, reduced to the fields that decide about endpoints and peer marks.
//! The operator watches only Pods with the agent label; no other Pod gets a peer mark.

use super::Kept;
use super::workload::WorkloadKind;
use countersign_api::keys::PEER_MARK_LABEL;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// API version of `ReplicaSet`s.
const APPS: &str = "apps/v1";
/// Phases in which a Pod has ended for good.
const ENDED: [&str; 2] = ["Succeeded", "Failed"];

/// Observed Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// UID of the Pod object.
    pub uid: String,
    /// Labels of the Pod at the time of observation.
    pub labels: Kept<BTreeMap<String, String>>,
    /// Value of the peer mark that the Pod carries.
    pub mark: Option<String>,
    /// True if only a part of the labels was read, so that no selector matches.
    pub has_too_many_labels: bool,
    /// Controlling owner, if the Pod has one.
    pub controller: Option<Controller>,
    /// Service account that the Pod runs as.
    pub service_account: String,
    /// IP addresses of the Pod, at most one per family.
    pub addresses: Vec<IpAddr>,
    /// True if the Pod uses the network of its node, where no NetworkPolicy applies.
    pub host_network: bool,
    /// False once the Pod is being deleted, succeeded or failed: it never serves again.
    pub can_serve: bool,
}

/// Controlling owner of an object (`controller: true` in `ownerReferences`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Kind of the controlling owner.
    pub kind: ControllerKind,
    /// UID of the controlling owner.
    pub uid: String,
}

/// Kinds that can control a Pod or its `ReplicaSet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerKind {
    /// `apps/v1` Deployment: controls `ReplicaSet`s, never Pods.
    Deployment,
    /// `apps/v1` `ReplicaSet`.
    ReplicaSet,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `agents.x-k8s.io` `Sandbox`.
    Sandbox,
    /// Every other kind or API group, which never leads to a workload.
    Other,
}

/// Kind and UID of the workload that controls a Pod: a `StatefulSet` or Sandbox directly, a Deployment only through a
/// `ReplicaSet`, whose controller `of_set` returns by UID. `None` if the chain ends elsewhere.
pub fn owner_of(
    pod: &Pod,
    of_set: impl FnOnce(&str) -> Option<Controller>,
) -> Option<(WorkloadKind, String)> {
    let controller = pod.controller.as_ref()?;
    match controller.kind {
        ControllerKind::StatefulSet => Some((WorkloadKind::StatefulSet, controller.uid.clone())),
        ControllerKind::Sandbox => Some((WorkloadKind::Sandbox, controller.uid.clone())),
        ControllerKind::ReplicaSet => {
            let owner = of_set(&controller.uid)?;
            (owner.kind == ControllerKind::Deployment).then_some((WorkloadKind::Deployment, owner.uid))
        }
        ControllerKind::Deployment | ControllerKind::Other => None,
    }
}

impl Pod {
    /// Observed Pod from a Kubernetes object; `None` without a UID.
    pub fn of(object: ApiPod) -> Option<Self> {
        let (metadata, spec) = (object.metadata, object.spec.unwrap_or_default());
        let status = object.status.unwrap_or_default();
        let has_ended = status.phase.as_deref().is_some_and(|phase| ENDED.contains(&phase));
        let addresses = status.pod_ips.unwrap_or_default();
        let labels = metadata.labels.unwrap_or_default();
        Some(Self {
            uid: metadata.uid?,
            labels: Kept::of(&labels)?,
            mark: labels.get(PEER_MARK_LABEL).cloned(),
            has_too_many_labels: false,
            controller: controller(metadata.owner_references.as_deref()),
            // The ServiceAccount admission plugin fills it in when the Pod is created.
            service_account: spec.service_account_name.unwrap_or_default(),
            // The kubelet writes IP addresses. One unreadable address drops all, so that no Service endpoint
            // matches the Pod and its card is refused (rule 51).
            addresses: addresses
                .iter()
                .map(|address| address.ip.parse())
                .collect::<Result<_, _>>()
                .unwrap_or_default(),
            host_network: spec.host_network.unwrap_or_default(),
            can_serve: metadata.deletion_timestamp.is_none() && !has_ended,
        })
    }
}

/// Controlling owner among the `ownerReferences` of an object.
pub fn controller(owners: Option<&[OwnerReference]>) -> Option<Controller> {
    let owner = owners.unwrap_or_default().iter().find(|owner| owner.controller == Some(true))?;
    let kind = match WorkloadKind::parse(&owner.api_version, &owner.kind) {
        Some(WorkloadKind::Deployment) => ControllerKind::Deployment,
        Some(WorkloadKind::StatefulSet) => ControllerKind::StatefulSet,
        Some(WorkloadKind::Sandbox) => ControllerKind::Sandbox,
        None if owner.api_version == APPS && owner.kind == "ReplicaSet" => ControllerKind::ReplicaSet,
        None => ControllerKind::Other,
    };
    Some(Controller { kind, uid: owner.uid.clone() })
}

/// True if `selector` matches `labels`. An unknown operator matches nothing.
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

/// Selector in the query syntax of list requests.
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
