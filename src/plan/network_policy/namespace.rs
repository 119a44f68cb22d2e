//! The isolation that all agents of a namespace share: two objects that select by the label that enrols a Pod.
//! They stand before the next agent comes, so that its Pods are closed from their first packet.

use super::minimum::minimum_rules;
use super::{Rules, isolate};
use crate::input::cluster::ClusterAccess;
use crate::input::enrolled::selector_of;
use crate::input::names::Role;
use crate::input::namespace::Namespace;
use countersign_api::keys::{AGENT_TYPE, NAMESPACE_BASELINE, NAMESPACE_MINIMUM, TYPE_LABEL};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The baseline and the minimum of a namespace.
pub(crate) fn plan_namespace(namespace: &Namespace, cluster: &ClusterAccess) -> [NetworkPolicy; 2] {
    let name = NAMESPACE_MINIMUM.to_owned();
    let minimum = isolate(name, namespace, Role::Minimum, agents(), minimum_rules(cluster));
    [plan_namespace_baseline(namespace), minimum]
}

/// The baseline of a namespace.
pub(crate) fn plan_namespace_baseline(namespace: &Namespace) -> NetworkPolicy {
    isolate(NAMESPACE_BASELINE.to_owned(), namespace, Role::Baseline, agents(), Rules::default())
}

fn agents() -> LabelSelector {
    selector_of([(TYPE_LABEL.to_owned(), AGENT_TYPE.to_owned())])
}
