//! What a plan stands on: the verdicts over all AgentCards of a workload, as one decision.
//! A verified one is made from a verdict for this very workload and from nothing else.

use super::card_ref::CardRef;
use super::enrolled::EnrolledWorkload;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::SpiffeId;
use countersign_core::verdict::Verdict;

/// An AgentCard and what was found about it.
///
/// Only a verdict makes one; a card cannot be claimed to be verified:
/// ```compile_fail,E0451
/// use crate::{CardRef, CardOutcome};
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
    /// A card with its verdict.
    pub fn new(card: CardRef, verdict: &Verdict) -> Self {
        let outcome = match verdict.outcome() {
            Ok(bound) => Ok(bound.signed().spiffe_id().clone()),
            Err(refusal) => Err(refusal.reason()),
        };
        Self { card, outcome }
    }

    /// Which card it is.
    pub const fn reference(&self) -> &CardRef {
        &self.card
    }

    /// True if some identity was proven to have signed the card.
    pub const fn is_verified(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Why this card does not speak for the workload, if it does not.
    fn refusal_for(&self, workload: &EnrolledWorkload) -> Option<Reason> {
        match &self.outcome {
            Ok(signer) => (!workload.expected().accepts(signer)).then_some(Reason::IdentityMismatch),
            Err(reason) => Some(*reason),
        }
    }
}

/// Why the planned rules are what they are; its code stands on the planned object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Every card of the workload is verified for it.
    Verified,
    /// A card was refused; of several, the reason that came furthest.
    Refused(Reason),
    /// No AgentCard points at the workload.
    NoCard,
    /// The Pods use the node's network, where no policy holds them, so no verdict may open a way to them.
    HostNetwork,
}

impl Decision {
    /// Decides for a workload. Two cards that disagree refuse: whoever may create an AgentCard could
    /// otherwise outvote the refusal of another one.
    pub(crate) fn of(workload: &EnrolledWorkload, cards: &[CardOutcome]) -> Self {
        if let Some(reason) = cards.iter().filter_map(|judged| judged.refusal_for(workload)).max() {
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

    /// The code for the annotation.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Refused(reason) => reason.code(),
            Self::NoCard => "NoCard",
            Self::HostNetwork => "HostNetwork",
        }
    }
}

/// The card that owns the objects that follow the verdict: the same one whichever card was judged last.
pub(crate) fn owner(cards: &[CardOutcome]) -> Option<&CardRef> {
    cards.iter().map(|judged| &judged.card).min()
}
