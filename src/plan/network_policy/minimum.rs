//! Minimum policy: access of every Pod of an enrolled workload, verified or not, to DNS and the API server, and
//! from the operator. It isolates like the baseline, so that losing either policy opens nothing.

use super::{ENROLLED, Rules, policy, rules};
use crate::input::cluster::ClusterAccess;
use crate::input::enrolled::EnrolledWorkload;
use crate::input::names::Role;
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Minimum policy of a workload, without an owner, so that it outlives a deleted workload until its Pods end.
pub(crate) fn plan_minimum(workload: &EnrolledWorkload, cluster: &ClusterAccess) -> NetworkPolicy {
    policy(workload, Role::Minimum, workload.selector().clone(), minimum_rules(cluster), ENROLLED)
}

/// Minimum rules: ingress from the operator, which fetches the card; egress to DNS and the API server.
pub(super) fn minimum_rules(cluster: &ClusterAccess) -> Rules {
    let mut egress = vec![rules::to_dns(cluster.dns())];
    egress.extend(rules::to_api_server(cluster.api_server()));
    Rules { ingress: vec![rules::ingress(vec![rules::group(cluster.operator())])], egress }
}
