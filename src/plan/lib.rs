//! From a verdict to Kubernetes objects. Pure: the same input gives the same objects, byte for byte.
//! Everything observed is an argument, and no object that opens a way can be planned without a proof.

#[cfg(feature = "agent-card")]
pub mod agent_card;
pub mod input;
pub mod namespace;
mod network_policy;
#[cfg(feature = "agent-card")]
pub mod workload;

pub use input::{
    ApiServer, CardOutcome, CardRef, Cidr, ClusterAccess, Destination, Dns, Egress, EnrolledWorkload,
    InputError, Isolation, Namespace, PodGroup, workload_label,
};
pub use network_policy::{PodInput, StoredPolicy, plan_peer_mark};

use input::outcome::{Decision, owner};
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Whether a plan may stop traffic. It changes what is planned and never what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Plan the policies.
    Enforce,
    /// Plan none: the verdict is only shown, and nothing is cut off.
    Audit,
}

/// Plans the isolation that all agents of a namespace share: apply it before anything of its workloads.
///
/// In audit mode there is none: nothing is cut off.
pub fn plan_namespace_policies(
    namespace: &Namespace,
    cluster: &ClusterAccess,
    mode: Mode,
) -> Vec<NetworkPolicy> {
    match mode {
        Mode::Audit => Vec::new(),
        Mode::Enforce => network_policy::plan_namespace(namespace, cluster).into(),
    }
}

/// Plans the NetworkPolicies of one enrolled workload, in the order in which to apply them: what isolates comes
/// before what allows, and what the namespace shares ([`plan_namespace_policies`]) before both.
///
/// It cannot fail and never returns fewer objects for a refusal: facts that cannot be planned with were
/// refused when they were read. `cards` are all AgentCards that point at the workload; none, or one refused
/// one, plans the restrictive form, and their order does not matter.
pub fn plan_network_policies(
    cards: &[CardOutcome],
    workload: &EnrolledWorkload,
    cluster: &ClusterAccess,
    mode: Mode,
) -> Vec<NetworkPolicy> {
    if mode == Mode::Audit {
        return Vec::new();
    }
    let mut planned = match workload.isolation() {
        Isolation::Own => {
            vec![network_policy::plan_baseline(workload), network_policy::plan_minimum(workload, cluster)]
        }
        Isolation::Namespace => Vec::new(),
    };
    let decision = Decision::of(workload, cards);
    planned.push(network_policy::plan_verdict(workload, cluster, decision, owner(cards)));
    planned
}
