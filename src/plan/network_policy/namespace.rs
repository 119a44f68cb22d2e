//! Baseline and minimum of a namespace, which select Pods by the agent label: two for each family of names in use, since
//! no selector can say "either label" (NetworkPolicies are additive, a label selector is not).
//! They exist before the next agent starts, so that its Pods are isolated from their first packet.

use super::minimum::minimum_rules;
use super::{Rules, isolate};
use crate::input::cluster::ClusterAccess;
use crate::input::enrolled::selector_of;
use crate::input::names::Role;
use crate::input::namespace::Namespace;
use countersign_api::keys::{AGENT_TYPE, Family};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Baseline and minimum of a namespace for one family, in the order in which to apply them.
pub(crate) fn plan_namespace(
    namespace: &Namespace,
    family: Family,
    cluster: &ClusterAccess,
) -> [NetworkPolicy; 2] {
    let name = family.minimum().to_owned();
    let minimum = isolate(name, namespace, Role::Minimum, agents(family), minimum_rules(cluster));
    [plan_namespace_baseline(namespace, family), minimum]
}

/// Baseline of a namespace: isolates every Pod with the agent label of `family` and allows nothing.
pub(crate) fn plan_namespace_baseline(namespace: &Namespace, family: Family) -> NetworkPolicy {
    isolate(family.baseline().to_owned(), namespace, Role::Baseline, agents(family), Rules::default())
}

fn agents(family: Family) -> LabelSelector {
    selector_of([(family.type_label().to_owned(), AGENT_TYPE.to_owned())])
}
