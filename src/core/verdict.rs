//! The verdict on one card at one time. Every action on a card takes a [`Verdict`], never less.
//! A refusal is a value too: the planner turns it into restrictive objects (ADR 0008).

use super::bind::BoundCard;
use super::refusal::{Reason, Refusal};

/// The proof that a card is verified and bound, or the refusal.
#[derive(Debug)]
pub struct Verdict {
    outcome: Result<BoundCard, Refusal>,
}

impl Verdict {
    /// Makes the verdict of the outcome of binding. Only a [`BoundCard`] makes a verified one. No audit mode is passed,
    /// because auditing changes plans, never verdicts (rule 60).
    pub const fn of(outcome: Result<BoundCard, Refusal>) -> Self {
        Self { outcome }
    }

    /// Makes the verdict on a card that never reached binding, for example because it could not be fetched.
    pub const fn refused(refusal: Refusal) -> Self {
        Self { outcome: Err(refusal) }
    }

    /// The proof, or the refusal.
    pub const fn outcome(&self) -> Result<&BoundCard, &Refusal> {
        self.outcome.as_ref()
    }

    /// True if the card is verified and bound.
    pub const fn is_verified(&self) -> bool {
        self.outcome.is_ok()
    }

    /// The reason of the refusal; `None` for a verified card.
    pub fn reason(&self) -> Option<Reason> {
        self.outcome.as_ref().err().map(Refusal::reason)
    }
}
