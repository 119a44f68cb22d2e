//! NetworkPolicies: baseline and minimum, which isolate whatever the verdict, and one policy that follows the verdict.
//! NetworkPolicies are additive, so isolation by two objects survives the loss of either.

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

/// Reason code on policies that exist whatever the verdict, because the workload is enrolled.
const ENROLLED: &str = "Enrolled";

/// Allowed traffic of a policy; all other traffic is denied in both directions.
#[derive(Default)]
struct Rules {
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
}

/// Policy of a workload that isolates `pods` in both directions, except for `rules`; `code` is the reason annotation.
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

/// Policy with both policy types and both rule lists, even when empty: Kubernetes derives omitted policy types
/// from the rules, and would leave egress open (networking.k8s.io/v1, `NetworkPolicySpec`).
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
