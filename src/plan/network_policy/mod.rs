//! NetworkPolicies: two that isolate whatever the verdict, of a namespace or of a workload, and one that follows it.
//! They only add up, so isolation that two objects give survives the loss of either.

mod baseline;
mod minimum;
mod namespace;
mod peer_mark;
mod rules;
mod stored;
mod verdict;

pub(super) use baseline::plan_baseline;
pub(super) use minimum::plan_minimum;
pub(super) use namespace::{plan_namespace, plan_namespace_baseline};
pub use peer_mark::{PodInput, plan_peer_mark};
pub use stored::StoredPolicy;
pub(super) use verdict::plan_verdict;

use crate::input::enrolled::EnrolledWorkload;
use crate::input::names::Role;
use crate::input::namespace::Namespace;
use countersign_api::keys::{
    MANAGED_BY, MANAGED_BY_LABEL, POLICY_ROLE_LABEL, POLICY_TYPE, POLICY_TYPE_LABEL, REASON_ANNOTATION,
    WORKLOAD_LABEL,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;

/// The code on policies that exist because the workload is enrolled, whatever the verdict.
const ENROLLED: &str = "Enrolled";

/// What a policy allows; everything else is denied in both directions.
#[derive(Default)]
struct Rules {
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
}

/// A policy of a workload that isolates `pods` in both directions but for `rules`.
fn policy(
    workload: &EnrolledWorkload,
    role: Role,
    pods: LabelSelector,
    rules: Rules,
    code: &str,
) -> NetworkPolicy {
    let identity = workload.identity();
    let mut planned = isolate(identity.object_name(role), identity.namespace(), role, pods, rules);
    let metadata = &mut planned.metadata;
    metadata.labels.get_or_insert_default().insert(WORKLOAD_LABEL.to_owned(), identity.workload_label());
    metadata.annotations = Some(BTreeMap::from([(REASON_ANNOTATION.to_owned(), code.to_owned())]));
    planned
}

/// Both policy types and both lists are always written: left out, Kubernetes would derive the types from the
/// rules and leave egress open.
fn isolate(
    name: String,
    namespace: &Namespace,
    role: Role,
    pods: LabelSelector,
    rules: Rules,
) -> NetworkPolicy {
    let labels =
        [(MANAGED_BY_LABEL, MANAGED_BY), (POLICY_TYPE_LABEL, POLICY_TYPE), (POLICY_ROLE_LABEL, role.label())];
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.as_str().to_owned()),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            annotations: Some(BTreeMap::from([(REASON_ANNOTATION.to_owned(), ENROLLED.to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(rules.ingress),
            egress: Some(rules.egress),
        }),
    }
}
