//! The outcome for one card at one time. Everything that acts on a card acts on this, never on less.
//! A refusal is a value too: it plans the restrictive objects.

use super::bind::BoundCard;
use super::refusal::{Reason, Refusal};

/// Verified with its proof, or refused with a reason.
#[derive(Debug)]
pub struct Verdict {
    outcome: Result<BoundCard, Refusal>,
}

impl Verdict {
    /// Judges a card by the outcome of binding it. There is no other way to a verified verdict, because there
    /// is no other way to a [`BoundCard`]; and no mode here, because auditing changes plans, never verdicts
    /// (rule 60).
    pub const fn of(outcome: Result<BoundCard, Refusal>) -> Self {
        Self { outcome }
    }

    /// A refusal from before there was a card to bind, for example one that could not be fetched.
    pub const fn refused(refusal: Refusal) -> Self {
        Self { outcome: Err(refusal) }
    }

    /// The proof, or the reason.
    pub const fn outcome(&self) -> Result<&BoundCard, &Refusal> {
        self.outcome.as_ref()
    }

    /// True if the card is verified and bound.
    pub const fn is_verified(&self) -> bool {
        self.outcome.is_ok()
    }

    /// The reason, if the card was refused.
    pub fn reason(&self) -> Option<Reason> {
        self.outcome.as_ref().err().map(Refusal::reason)
    }
}
