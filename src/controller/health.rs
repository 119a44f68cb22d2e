//! Outages of watches. A working watch reports nothing, and a failing one is retried and fails again within about a
//! minute: failures in close succession are one outage, and silence is its end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time between two failures of one outage: waits between attempts grow to 30 s, doubled at most by jitter.
const GAP: Duration = Duration::from_secs(90);
/// Duration after which an outage is reported; a restart of the API server takes less.
const LONG: Duration = Duration::from_mins(2);

/// Outages of all watches, by kind.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<&'static str, Outage>>);

#[derive(Clone, Copy, Debug)]
struct Outage {
    first: Instant,
    last: Instant,
}

impl Health {
    /// Records a failure of the watch of this kind.
    pub fn failed(&self, kind: &'static str, at: Instant) {
        let mut outages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = outages.entry(kind).or_insert(Outage { first: at, last: at });
        if at.saturating_duration_since(outage.last) > GAP {
            outage.first = at;
        }
        outage.last = at;
    }

    /// Kinds whose watches have failed for at least 2 min, so that their stores may be stale.
    pub fn failing(&self, now: Instant) -> Vec<&'static str> {
        let outages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = |outage: &Outage| {
            now.saturating_duration_since(outage.last) <= GAP
                && outage.last.saturating_duration_since(outage.first) >= LONG
        };
        outages.iter().filter(|(_, outage)| lasts(outage)).map(|(kind, _)| *kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_io::clock::instant;

    #[test]
    fn failures_that_follow_one_another_for_long_are_an_outage_and_single_ones_are_none() {
        let (health, start) = (Health::default(), instant());
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        // A watch that fails once an hour recovers with the retry.
        for hour in 0..3 {
            health.failed("pods", at(3600 * hour));
            assert!(health.failing(at(3600 * hour)).is_empty());
        }
        for second in (10_000..=10_120).step_by(60) {
            assert!(health.failing(at(second)).is_empty());
            health.failed("services", at(second));
        }
        assert_eq!(health.failing(at(10_120)), ["services"]);
        assert_eq!(health.failing(at(10_210)), ["services"]);
        assert!(health.failing(at(10_211)).is_empty(), "it works again");
        health.failed("services", at(10_300));
        assert!(health.failing(at(10_300)).is_empty(), "another outage");
    }
}
