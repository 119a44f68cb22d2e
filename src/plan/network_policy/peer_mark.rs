//! The mark that makes a Pod a peer of verified agents.
//! It is put on running Pods by the operator alone, so neither a Pod's author nor its template can claim it.

use crate::input::enrolled::{EnrolledWorkload, selector_of};
use crate::input::outcome::{CardOutcome, Decision};
use countersign_api::keys::PEER_MARK_LABEL;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// What the caller observed about one Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct PodInput {
    /// The chain of controller references, followed by UID, leads from the Pod to the workload.
    pub controlled_by_workload: bool,
    /// The Pod runs as the service account of the workload: another one has another identity.
    pub runs_as_workload: bool,
    /// The workload's selector matches the Pod's labels now. A Pod whose labels were taken away has left the
    /// isolation of its workload.
    pub matches_selector: bool,
    /// The Pod runs in the network of its node.
    pub host_network: bool,
}

/// The value that the mark on this Pod must have; `None` means that the Pod must have no mark.
///
/// A Pod is marked only while all cards of its workload are verified and the Pod provably belongs to it: the
/// labels of a verified agent, copied onto another Pod, earn nothing. The mark follows the verdict in every
/// mode, so that auditing one namespace does not cut it off from the agents of another one.
pub fn plan_peer_mark(cards: &[CardOutcome], workload: &EnrolledWorkload, pod: PodInput) -> Option<String> {
    let PodInput { controlled_by_workload, runs_as_workload, matches_selector, host_network } = pod;
    let belongs = controlled_by_workload && runs_as_workload && matches_selector && !host_network;
    (belongs && Decision::of(workload, cards).is_verified()).then(|| workload.identity().peer_mark())
}

/// Selects the marked Pods of this workload and nothing else.
///
/// The mark alone: labels that its author may change would let a marked Pod step out of the policy.
pub(super) fn marked_as(workload: &EnrolledWorkload) -> LabelSelector {
    selector_of([(PEER_MARK_LABEL.to_owned(), workload.identity().peer_mark())])
}
