//! What a plan stands on: the verdicts over all AgentCards of a workload, as one decision.
//! Nothing outside the crate can make a verified one without a verdict.

use super::facts::{CardRef, WorkloadFacts};
use crate::core::refusal::{Reason, Refusal};

/// An AgentCard and what was found about it.
///
/// Only a verdict makes a card count as verified; there is no constructor to claim it:
/// ```compile_fail,E0451
/// use countersign::plan::{CardRef, JudgedCard};
/// let card = CardRef::new("weather-card", None).unwrap();
/// JudgedCard { card, refused: None };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedCard {
    card: CardRef,
    refused: Option<Reason>,
}

impl JudgedCard {
    /// A card that was refused.
    pub fn refused(card: CardRef, refusal: &Refusal) -> Self {
        Self { card, refused: Some(refusal.reason()) }
    }

    /// A card that tests call verified.
    #[cfg(test)]
    pub(crate) fn verified(card: CardRef) -> Self {
        Self { card, refused: None }
    }
}

/// Why the planned rules are what they are; its code stands on the planned object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Every card of the workload is verified.
    Verified,
    /// A card was refused; of several, the reason that came furthest.
    Refused(Reason),
    /// No AgentCard points at the workload.
    NoCard,
    /// The Pods use the node's network, where no policy holds them, so none may vouch for them.
    HostNetwork,
}

impl Decision {
    /// Decides for a workload. Two cards that disagree refuse: whoever may create an AgentCard could
    /// otherwise outvote the refusal of another one.
    pub(super) fn of(workload: &WorkloadFacts, cards: &[JudgedCard]) -> Self {
        if let Some(reason) = cards.iter().filter_map(|judged| judged.refused).max() {
            Self::Refused(reason)
        } else if cards.is_empty() {
            Self::NoCard
        } else if workload.host_network() {
            Self::HostNetwork
        } else {
            Self::Verified
        }
    }

    pub(super) fn is_verified(self) -> bool {
        matches!(self, Self::Verified)
    }

    /// The code for the annotation.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Refused(reason) => reason.code(),
            Self::NoCard => "NoCard",
            Self::HostNetwork => "HostNetwork",
        }
    }
}

/// The card that owns the objects that follow the verdict: the same one whichever card was judged last.
pub(super) fn owner(cards: &[JudgedCard]) -> Option<&CardRef> {
    cards.iter().map(|judged| &judged.card).min()
}
