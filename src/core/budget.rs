//! The work that one card may cost (rule 40).

use super::limits::BUDGET;
use super::refusal::{Reason, Refusal};

/// Work that the signature checks of one card may still cost, in the unit of [`cost`](super::limits::cost).
///
/// Checks are weighted, because the sender chooses the curve: a mere count would let P-384 cost ten times as much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkBudget {
    left: u32,
}

impl WorkBudget {
    /// Makes a budget of `units` tenths of a P-256 check.
    pub const fn new(units: u32) -> Self {
        Self { left: units }
    }

    /// Subtracts `cost`, in the unit of [`cost`](super::limits::cost). Callers spend before a signature check; a refusal
    /// leaves the budget unchanged.
    pub fn spend(&mut self, cost: u32) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(cost).ok_or_else(|| {
            Refusal::new(
                Reason::WorkBudget,
                format!(
                    "the next signature check costs {cost} units and {} of the card's budget are left",
                    self.left
                ),
            )
        })?;
        Ok(())
    }

    /// Units that are left, in the unit of [`cost`](super::limits::cost).
    pub const fn left(&self) -> u32 {
        self.left
    }
}

impl Default for WorkBudget {
    fn default() -> Self {
        Self::new(BUDGET)
    }
}
