//! Which watches keep failing. A watch that works says nothing, and one that fails is tried again and fails again within
//! a minute or so: so failures that follow one another closely are one outage, and silence is its end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest time between two failures of one outage: the waits between attempts grow to half a minute, drawn
/// up to twice as long.
const GAP: Duration = Duration::from_secs(90);
/// How long an outage lasts until it is worth saying. An API server that restarts takes less.
const LONG: Duration = Duration::from_mins(2);

/// The outages of all watches.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<&'static str, Outage>>);

#[derive(Clone, Copy, Debug)]
struct Outage {
    first: Instant,
    last: Instant,
}

impl Health {
    /// A watch of this kind failed.
    pub fn failed(&self, kind: &'static str, at: Instant) {
        let mut outages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = outages.entry(kind).or_insert(Outage { first: at, last: at });
        if at.saturating_duration_since(outage.last) > GAP {
            outage.first = at;
        }
        outage.last = at;
    }

    /// The kinds whose watches have failed for long: what is known of them may be old.
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
        // One that fails once an hour is tried again and works.
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
