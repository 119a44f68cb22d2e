//! Workloads about which no decision can be made yet, because an AgentCard has no evaluation.

use super::index::WorkloadRef;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Undecided workloads, with the time since when.
#[derive(Debug, Default)]
pub(crate) struct Undecided(Mutex<BTreeMap<WorkloadRef, Instant>>);

impl Undecided {
    /// Records that there is no decision at `now`; an earlier record stays.
    pub(crate) fn begin(&self, workload: &WorkloadRef, now: Instant) {
        self.lock().entry(workload.clone()).or_insert(now);
    }

    /// Records a decision.
    pub(crate) fn end(&self, workload: &WorkloadRef) {
        self.lock().remove(workload);
    }

    /// Time without a decision until `now`.
    pub(crate) fn since(&self, workload: &WorkloadRef, now: Instant) -> Duration {
        self.lock().get(workload).map_or(Duration::ZERO, |since| now.saturating_duration_since(*since))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkloadRef, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{ObjectRef, WorkloadKind};
    use countersign_io::clock::instant;

    #[test]
    fn the_first_turn_without_a_decision_counts_and_a_decision_starts_anew() {
        let (undecided, start) = (Undecided::default(), instant());
        let workload = WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", "a") };
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        undecided.begin(&workload, at(0));
        undecided.begin(&workload, at(7));
        assert_eq!(undecided.since(&workload, at(10)), Duration::from_secs(10));
        undecided.end(&workload);
        assert_eq!(undecided.since(&workload, at(10)), Duration::ZERO);
    }
}
