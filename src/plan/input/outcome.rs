//! Outcomes of AgentCards, and the one decision for a workload that follows from all of them.
//! A verified outcome is made from a verdict and from nothing else.

use super::card_ref::CardRef;
use super::enrolled::EnrolledWorkload;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::SpiffeId;
use countersign_core::verdict::Verdict;

/// AgentCard with the outcome of its evaluation.
///
/// Only a [`Verdict`] makes an outcome; code cannot claim that a card is verified:
/// ```compile_fail,E0451
/// use countersign_plan::{CardOutcome, CardRef};
/// # fn claim(card: CardRef, signer: countersign_core::spiffe::SpiffeId) -> CardOutcome {
/// CardOutcome { card, outcome: Ok(signer) }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardOutcome {
    card: CardRef,
    outcome: Result<SpiffeId, Reason>,
}

impl CardOutcome {
    /// Outcome of a card from its verdict.
    pub fn new(card: CardRef, verdict: &Verdict) -> Self {
        let outcome = match verdict.outcome() {
            Ok(bound) => Ok(bound.signed().spiffe_id().clone()),
            Err(refusal) => Err(refusal.reason()),
        };
        Self { card, outcome }
    }

    /// Reference to the evaluated AgentCard.
    pub const fn reference(&self) -> &CardRef {
        &self.card
    }

    /// True if the card carries a proven signature, of whichever SPIFFE ID.
    pub const fn is_verified(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Reason for which the card does not count for the workload; `None` if it counts.
    fn refusal_for(&self, workload: &EnrolledWorkload) -> Option<Reason> {
        match &self.outcome {
            Ok(signer) => (!workload.expected().accepts(signer)).then_some(Reason::IdentityMismatch),
            Err(reason) => Some(*reason),
        }
    }
}

/// Reason for the planned rules of a workload, written as a code on the planned policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Every AgentCard of the workload is verified for the workload.
    Verified,
    /// An AgentCard was refused; of several reasons, the one that verification reached last.
    Refused(Reason),
    /// No AgentCard targets the workload.
    NoCard,
    /// The Pods use the node's network, where no NetworkPolicy applies, so no verdict may open access.
    HostNetwork,
}

impl Decision {
    /// Decision over all cards of a workload. One refused card refuses the workload: whoever may create an
    /// AgentCard could otherwise outvote a refusal.
    pub(crate) fn of(workload: &EnrolledWorkload, cards: &[CardOutcome]) -> Self {
        if let Some(reason) = cards.iter().filter_map(|card| card.refusal_for(workload)).max() {
            Self::Refused(reason)
        } else if cards.is_empty() {
            Self::NoCard
        } else if workload.host_network() {
            Self::HostNetwork
        } else {
            Self::Verified
        }
    }

    pub(crate) fn is_verified(self) -> bool {
        matches!(self, Self::Verified)
    }

    /// Code for the reason annotation of the policy.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Refused(reason) => reason.code(),
            Self::NoCard => "NoCard",
            Self::HostNetwork => "HostNetwork",
        }
    }
}

/// AgentCard that owns the verdict policy: the smallest reference, so that the owner does not depend on which
/// card was evaluated last.
pub(crate) fn owner(cards: &[CardOutcome]) -> Option<&CardRef> {
    cards.iter().map(|outcome| &outcome.card).min()
}
