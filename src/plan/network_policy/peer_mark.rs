//! Peer mark: the label that makes a Pod a peer of verified agents.
//! The operator alone sets it, on running Pods, so that no Pod template can claim it.

use crate::input::enrolled::{EnrolledWorkload, selector_of};
use crate::input::outcome::{CardOutcome, Decision};
use countersign_api::keys::PEER_MARK_LABEL;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Observation of one Pod that decides about its peer mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is observed on its own")]
pub struct PodInput {
    /// True if the chain of controlling owners, followed by UID, leads from the Pod to the workload.
    pub controlled_by_workload: bool,
    /// True if the Pod runs as the service account of the workload; another account has another SPIFFE ID.
    pub runs_as_workload: bool,
    /// True if the workload's selector matches the Pod's labels now. A Pod whose labels were removed has left the
    /// isolation of its workload.
    pub matches_selector: bool,
    /// True if the Pod uses the network of its node, where no NetworkPolicy applies.
    pub host_network: bool,
}

/// Plans the value of the peer mark on a Pod; `None` means that the Pod must have no mark.
///
/// A Pod is marked only while all cards of its workload are verified and the Pod provably belongs to the
/// workload: copying the labels of a verified agent onto another Pod earns nothing. The mark follows the verdict
/// in every mode, so that auditing one namespace does not cut its agents off from those of other namespaces.
pub fn plan_peer_mark(cards: &[CardOutcome], workload: &EnrolledWorkload, pod: PodInput) -> Option<String> {
    let PodInput { controlled_by_workload, runs_as_workload, matches_selector, host_network } = pod;
    let belongs = controlled_by_workload && runs_as_workload && matches_selector && !host_network;
    (belongs && Decision::of(workload, cards).is_verified()).then(|| workload.identity().peer_mark())
}

/// Selector of the marked Pods of a workload.
///
/// The selector uses the mark alone: with labels that the Pod's author may change, a marked Pod could leave the policy
/// and still be a peer.
pub(super) fn marked_as(workload: &EnrolledWorkload) -> LabelSelector {
    selector_of([(PEER_MARK_LABEL.to_owned(), workload.identity().peer_mark())])
}
