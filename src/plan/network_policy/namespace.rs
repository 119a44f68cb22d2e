//! Baseline and minimum of a namespace, which select Pods by the agent label.
//! They exist before the next agent starts, so that its Pods are isolated from their first packet.

use super::minimum::minimum_rules;
use super::{Rules, isolate};
use crate::input::cluster::ClusterAccess;
use crate::input::enrolled::selector_of;
use crate::input::names::Role;
use crate::input::namespace::Namespace;
use countersign_api::keys::{AGENT_TYPE, NAMESPACE_BASELINE, NAMESPACE_MINIMUM, TYPE_LABEL};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Baseline and minimum of a namespace, in the order in which to apply them.
pub(crate) fn plan_namespace(namespace: &Namespace, cluster: &ClusterAccess) -> [NetworkPolicy; 2] {
    let name = NAMESPACE_MINIMUM.to_owned();
    let minimum = isolate(name, namespace, Role::Minimum, agents(), minimum_rules(cluster));
    [plan_namespace_baseline(namespace), minimum]
}

/// Baseline of a namespace: isolates every Pod with the agent label and allows nothing.
pub(crate) fn plan_namespace_baseline(namespace: &Namespace) -> NetworkPolicy {
    isolate(NAMESPACE_BASELINE.to_owned(), namespace, Role::Baseline, agents(), Rules::default())
}

fn agents() -> LabelSelector {
    selector_of([(TYPE_LABEL.to_owned(), AGENT_TYPE.to_owned())])
}
