//! Enforcement of a verdict: whether policies and peer marks hold the workload to it, and if not, why.
//! A verdict that nothing enforces protects nobody, so it is a condition of its own beside the verdict.

use crate::input::standing::unlabelled_template;
use countersign_api::agent_card::ConditionReason as Why;
use countersign_api::keys::Family;

/// Enforcement of the decision about a workload, once its plan is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// None, because the namespace is audited.
    Audit,
    /// None, because NetworkPolicies do not apply to the network of a node.
    HostNetwork,
    /// Policies are stored, but the Pod template lacks the agent label of the family that enrols the workload, by which Pods
    /// get the peer mark.
    Unlabelled(Family),
    /// Policies are stored, but no Pod may get the peer mark.
    Unmarked,
    /// Unknown, because an AgentCard of the workload has no evaluation yet. What is stored stands meanwhile.
    Undecided,
    /// Incomplete until this is there.
    Waiting(String),
    /// None, because no policy can be planned: the sentence says what is invalid.
    Invalid(String),
    /// Incomplete, because the API server refused a write with this answer.
    Rejected(String),
    /// Policies and peer marks let a verified workload speak.
    Open,
    /// Policies restrict the workload.
    Closed,
}

/// Status, reason and message of the condition `Enforced`. For a refused card, policies that restrict are enough.
pub(super) fn condition_of(enforcement: &Enforcement, is_verified: bool) -> (bool, Why, String) {
    match enforcement {
        Enforcement::Audit => {
            (false, Why::AuditMode, "audit mode: no NetworkPolicy follows the verdict".to_owned())
        }
        Enforcement::HostNetwork => {
            let found = "the Pods use the network of their node, where no NetworkPolicy applies: \
                remove hostNetwork from the Pod template";
            (false, Why::HostNetwork, found.to_owned())
        }
        Enforcement::Unlabelled(family) => (false, Why::PodsNotLabelled, unlabelled_template(*family)),
        Enforcement::Unmarked => {
            let found = "no Pod runs with the labels and the service account of the workload, so no verified agent \
                reaches it: wait for the rollout, or compare the Pods with the template";
            (false, Why::PodsNotMarked, found.to_owned())
        }
        Enforcement::Undecided => (false, Why::PolicyPending, UNDECIDED.to_owned()),
        Enforcement::Waiting(awaited) => (false, Why::PolicyPending, format!("waiting for {awaited}")),
        Enforcement::Invalid(found) => {
            (false, Why::WorkloadInvalid, format!("no NetworkPolicy can be planned: {found}"))
        }
        Enforcement::Rejected(found) => {
            (false, Why::PolicyRejected, format!("the API server did not accept what enforces: {found}"))
        }
        Enforcement::Closed if is_verified => {
            let found = "another AgentCard of the workload is refused, so no policy lets it speak: correct or \
                delete that AgentCard";
            (false, Why::OtherCardRefused, found.to_owned())
        }
        Enforcement::Open | Enforcement::Closed => {
            (true, Why::PolicyApplied, "the NetworkPolicies of the workload follow the verdict".to_owned())
        }
    }
}

/// Message while no decision about the workload is known.
pub(super) const UNDECIDED: &str = "the verdict is not decided yet, and what is stored stands meanwhile";
