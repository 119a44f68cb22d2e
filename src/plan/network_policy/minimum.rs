//! What every Pod of an enrolled workload may do, verified or not: be judged, resolve names, ask the API server.
//! A second isolation of the same Pods, so that losing the baseline opens nothing.

use super::{ENROLLED, Rules, policy, rules};
use crate::input::cluster::ClusterAccess;
use crate::input::enrolled::EnrolledWorkload;
use crate::input::names::Role;
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// The minimum of the workload; like the baseline it has no owner.
pub(crate) fn plan_minimum(workload: &EnrolledWorkload, cluster: &ClusterAccess) -> NetworkPolicy {
    policy(workload, Role::Minimum, workload.selector().clone(), minimum_rules(cluster), ENROLLED)
}

/// The operator may come in for the card; DNS and the API server may be reached.
pub(super) fn minimum_rules(cluster: &ClusterAccess) -> Rules {
    let mut egress = vec![rules::to_dns(cluster.dns())];
    egress.extend(rules::to_api_server(cluster.api_server()));
    Rules { ingress: vec![rules::ingress(vec![rules::group(cluster.operator())])], egress }
}
