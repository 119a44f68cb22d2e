//! Token bucket per key: one turn per period, and a burst after a rest. Pure: time is an argument.
//! A turn beyond the bucket is delayed, never dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Number of keys below which rested keys are not purged.
const FEW: usize = 64;

/// Token buckets of all keys that had turns lately.
#[derive(Debug)]
pub(super) struct TokenBuckets<K> {
    period: Duration,
    burst: u32,
    /// Time at which each key has its whole burst again; rested keys are purged.
    rested: HashMap<K, Instant>,
    /// Number of keys at which rested keys are purged.
    full: usize,
}

impl<K: Clone + Eq + Hash> TokenBuckets<K> {
    /// Token buckets of one turn per `period`, and of `burst` turns at once after a rest.
    pub(super) fn new(period: Duration, burst: u32) -> Self {
        Self { period, burst, rested: HashMap::new(), full: FEW }
    }

    /// Earliest time, not before `due`, at which a key may have a turn.
    pub(super) fn earliest(&self, key: &K, due: Instant) -> Instant {
        let ahead = self.period.saturating_mul(self.burst.saturating_sub(1));
        let ready = self.rested.get(key).and_then(|rested| rested.checked_sub(ahead));
        ready.map_or(due, |ready| ready.max(due))
    }

    /// Charges a turn to the bucket of a key.
    pub(super) fn spend(&mut self, key: &K, now: Instant) {
        let from = self.rested.get(key).copied().unwrap_or(now).max(now);
        // A period beyond the range of the clock would never end, so that an overflow charges nothing.
        self.rested.insert(key.clone(), from.checked_add(self.period).unwrap_or(from));
        if self.rested.len() >= self.full {
            self.rested.retain(|_, rested| *rested > now);
            self.full = self.rested.len().saturating_mul(2).max(FEW);
        }
    }

    /// Takes back the charge of a turn that did not run.
    pub(super) fn refund(&mut self, key: &K) {
        if let Some(rested) = self.rested.get_mut(key) {
            *rested = rested.checked_sub(self.period).unwrap_or(*rested);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_io::clock::instant;

    const PERIOD: Duration = Duration::from_secs(5);

    #[test]
    fn a_burst_is_had_at_once_and_then_one_turn_per_period() {
        let (mut buckets, start) = (TokenBuckets::new(PERIOD, 3), instant());
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        for (asked, had) in [(0, 0), (0, 0), (0, 0), (0, 5), (6, 10), (10, 15), (15, 20), (60, 60)] {
            assert_eq!(buckets.earliest(&"key", at(asked)), at(had), "asked at {asked}");
            buckets.spend(&"key", at(had));
        }
        assert_eq!(buckets.earliest(&"other", at(0)), at(0));
    }

    #[test]
    fn keys_at_rest_are_let_go() {
        let (mut buckets, start) = (TokenBuckets::new(PERIOD, 3), instant());
        for number in 0..10_000_u64 {
            buckets.spend(&number, start.checked_add(Duration::from_secs(number)).unwrap());
            assert!(buckets.rested.len() <= FEW, "{}", buckets.rested.len());
        }
    }
}
