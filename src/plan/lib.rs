//! Plans of Kubernetes objects from verdicts. Pure: equal input gives equal objects, byte for byte.
//! Every observation is an argument, and no policy that opens access can be planned without a proof.

#[cfg(feature = "agent-card")]
pub mod agent_card;
#[cfg(feature = "agent-card")]
pub mod agent_runtime;
#[cfg(feature = "agent-card")]
mod condition;
pub mod injection;
pub mod input;
pub mod limits;
#[cfg(feature = "agent-card")]
pub mod mesh;
pub mod namespace;
mod network_policy;
#[cfg(feature = "agent-card")]
pub mod scc;
#[cfg(feature = "agent-card")]
pub mod unlisted;
pub mod webhook;
#[cfg(feature = "agent-card")]
pub mod workload;

pub use input::{
    ApiServer, CardOutcome, CardRef, Cidr, ClusterAccess, Destination, Dns, Egress, EnrolledWorkload,
    InputError, Isolation, Namespace, PodGroup, policy_names, workload_label,
};
pub use network_policy::{PodInput, StoredPolicy, plan_peer_mark};

use countersign_api::keys::{Family, MODE_AUDIT, MODE_ENFORCE, MODE_LABEL};
use input::outcome::{Decision, owner};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use std::collections::BTreeMap;

/// Enforcement mode: changes what is planned, never the verdict (rule 60).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Plans NetworkPolicies.
    Enforce,
    /// Plans no NetworkPolicy: verdicts are shown, and no traffic stops.
    Audit,
}

impl Mode {
    /// Mode in the labels of a namespace; `None` for an unknown value, so that a typo never disables enforcement.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        match labels.get(MODE_LABEL).map(String::as_str) {
            Some(MODE_AUDIT) => Some(Self::Audit),
            Some(MODE_ENFORCE) => Some(Self::Enforce),
            _ => None,
        }
    }
}

/// Plans the NetworkPolicies that isolate all agents of a namespace that one family of names enrols; none in audit mode.
///
/// Callers apply them before the policies of the namespace's workloads, so that no Pod is open in between.
pub fn plan_namespace_policies(
    namespace: &Namespace,
    family: Family,
    cluster: &ClusterAccess,
    mode: Mode,
) -> Vec<NetworkPolicy> {
    match mode {
        Mode::Audit => Vec::new(),
        Mode::Enforce => network_policy::plan_namespace(namespace, family, cluster).into(),
    }
}

/// Plans the NetworkPolicies of one enrolled workload, in the order in which to apply them: isolation before
/// access. Those of the namespace ([`plan_namespace_policies`]) come before both.
///
/// Planning cannot fail and never returns fewer policies for a refusal, because invalid input was refused on
/// construction. `cards` are all AgentCards that target the workload, in any order; an empty list or one refused
/// card plans the restrictive form.
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
        Isolation::Namespace(_) => Vec::new(),
    };
    let decision = Decision::of(workload, cards);
    planned.push(network_policy::plan_verdict(workload, cluster, decision, owner(cards)));
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_words_are_modes() {
        let of = |value: &str| Mode::of_labels(&BTreeMap::from([(MODE_LABEL.to_owned(), value.to_owned())]));
        assert_eq!(of("audit"), Some(Mode::Audit));
        assert_eq!(of("enforce"), Some(Mode::Enforce));
        assert_eq!(of("Audit"), None);
    }
}
