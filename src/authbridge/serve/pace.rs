//! Rate at which connections are replaced, or ended for the memory that another one is read with.

use crate::limits::{REPLACED_AT_ONCE, REPLACED_PER_SECOND};
use std::time::Duration;

/// Rate of replaced connections: a bucket that holds [`REPLACED_AT_ONCE`] and is filled by [`REPLACED_PER_SECOND`].
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the bucket would be full, in milliseconds of [`millis`] times [`REPLACED_PER_SECOND`], so that one
    /// replacement counts 1000.
    full_at: u64,
}

impl Pace {
    /// How long the next one has to wait at the moment `now`.
    pub(super) fn wait(&self, now: u64) -> Duration {
        let missing = self.full_at.saturating_sub(now.saturating_mul(REPLACED_PER_SECOND));
        let excess = missing.saturating_add(1000).saturating_sub(REPLACED_AT_ONCE.saturating_mul(1000));
        Duration::from_millis(excess.div_ceil(REPLACED_PER_SECOND))
    }

    /// True if nothing was taken that has not come back at the moment `now`.
    pub(super) const fn is_full(&self, now: u64) -> bool {
        self.full_at <= now.saturating_mul(REPLACED_PER_SECOND)
    }

    /// Counts one.
    pub(super) fn take(&mut self, now: u64) {
        self.full_at = self.full_at.max(now.saturating_mul(REPLACED_PER_SECOND)).saturating_add(1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_replaced_at_once_and_then_at_a_rate() {
        let mut pace = Pace::default();
        for _ in 0..REPLACED_AT_ONCE {
            assert_eq!(pace.wait(7), Duration::ZERO);
            pace.take(7);
        }
        let gap = 1000_u64.div_ceil(REPLACED_PER_SECOND);
        assert_eq!(pace.wait(7), Duration::from_millis(gap));
        assert_eq!(pace.wait(7 + gap), Duration::ZERO);
        pace.take(7 + gap);
        assert!(pace.wait(7 + gap) > Duration::ZERO);
        assert_eq!(pace.wait(100_000), Duration::ZERO);
    }
}
