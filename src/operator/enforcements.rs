//! Enforcement of the decisions about workloads, as the last turn of each left it, for the status of their AgentCards.
//! A failure that passes by itself is told only after a while, so that it does not turn conditions on and off.

use super::index::WorkloadRef;
use super::limits::ENFORCEMENT_UNTOLD;
use countersign_plan::CardOutcome;
use countersign_plan::agent_card::enforcement::Enforcement;
use countersign_plan::workload::ObservedCard;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Last enforcement of each workload.
#[derive(Debug, Default)]
pub(crate) struct Enforcements(Mutex<BTreeMap<WorkloadRef, Known>>);

/// Enforcement of one workload, and the failures since.
#[derive(Debug, Default)]
struct Known {
    /// Enforcement of the last decision; `None` if no turn over these outcomes got through.
    enforced: Option<Enforced>,
    /// Time since which every turn has failed.
    failing: Option<Instant>,
    /// Time since which a status waits for a turn of the workload.
    awaited: Option<Instant>,
}

/// Enforcement of one decision, with the outcomes that the decision was made from.
#[derive(Debug, PartialEq)]
struct Enforced {
    enforcement: Enforcement,
    seen: Seen,
}

/// UIDs of AgentCards, and whether each was verified.
type Seen = Vec<(String, bool)>;

impl Enforcements {
    /// Records the enforcement of a workload; true if it or the outcomes behind it changed.
    pub(crate) fn record(
        &self,
        workload: &WorkloadRef,
        cards: &[ObservedCard],
        enforcement: Enforcement,
    ) -> bool {
        self.keep(workload, seen(workload, cards), enforcement)
    }

    /// Records a turn that failed at `at` for a cause that passes by itself. The last enforcement stands for a while if it
    /// is about the same outcomes; after that, `enforcement` counts. True if what counts changed.
    pub(crate) fn fail(
        &self,
        workload: &WorkloadRef,
        cards: &[ObservedCard],
        enforcement: Enforcement,
        at: Instant,
    ) -> bool {
        self.fail_with(workload, seen(workload, cards), enforcement, at)
    }

    fn keep(&self, workload: &WorkloadRef, seen: Seen, enforcement: Enforcement) -> bool {
        let now = Some(Enforced { enforcement, seen });
        let mut all = self.lock();
        let known = all.entry(workload.clone()).or_default();
        (known.failing, known.awaited) = (None, None);
        let differs = known.enforced != now;
        known.enforced = now;
        differs
    }

    fn fail_with(&self, workload: &WorkloadRef, seen: Seen, enforcement: Enforcement, at: Instant) -> bool {
        let mut all = self.lock();
        let known = all.entry(workload.clone()).or_default();
        let since = *known.failing.get_or_insert(at);
        if at.saturating_duration_since(since) < ENFORCEMENT_UNTOLD {
            // A turn over other outcomes may have written a part, so the last enforcement is over.
            known.enforced = known.enforced.take().filter(|last| last.seen == seen);
            return false;
        }
        known.awaited = None;
        let now = Some(Enforced { enforcement, seen });
        let differs = known.enforced != now;
        known.enforced = now;
        differs
    }

    /// Time for which statuses have waited at `at` for a turn of the workload; from now on if none has.
    pub(crate) fn awaited_for(&self, workload: &WorkloadRef, at: Instant) -> Duration {
        let mut all = self.lock();
        let known = all.entry(workload.clone()).or_default();
        at.saturating_duration_since(*known.awaited.get_or_insert(at))
    }

    /// Forgets a workload that is gone or no agent any more.
    pub(crate) fn forget(&self, workload: &WorkloadRef) {
        self.lock().remove(workload);
    }

    /// Enforcement of an AgentCard's outcome; `None` until a turn of the workload has seen the outcome.
    pub(crate) fn of(&self, workload: &WorkloadRef, outcome: &CardOutcome) -> Option<Enforcement> {
        self.enforced(workload, outcome.reference().uid()?, outcome.is_verified())
    }

    fn enforced(&self, workload: &WorkloadRef, uid: &str, is_verified: bool) -> Option<Enforcement> {
        let all = self.lock();
        let known = all.get(workload)?.enforced.as_ref()?;
        let is_seen = known.seen.iter().any(|seen| seen.0 == uid && seen.1 == is_verified);
        is_seen.then(|| known.enforcement.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkloadRef, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Outcomes about this workload, of the AgentCards as they are now.
fn seen(workload: &WorkloadRef, cards: &[ObservedCard]) -> Seen {
    let seen = cards.iter().filter_map(|one| {
        let (about, outcome) = one.evaluated.as_ref()?;
        let is_this = about.as_ref() == Some(workload) && outcome.reference() == &one.card.reference;
        is_this.then(|| (one.card.uid.clone(), outcome.is_verified()))
    });
    seen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{ObjectRef, WorkloadKind};
    use countersign_io::clock::instant;
    fn workload() -> WorkloadRef {
        WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", "weather") }
    }

    fn outcome(is_verified: bool) -> Seen {
        vec![("uid-1".to_owned(), is_verified)]
    }

    fn waiting() -> Enforcement {
        Enforcement::Waiting("an answer".to_owned())
    }

    #[test]
    fn a_failure_that_passes_is_told_of_once_it_has_lasted() {
        let (all, key, start) = (Enforcements::default(), workload(), instant());
        let after = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let fail = |seconds| all.fail_with(&key, outcome(true), waiting(), after(seconds));
        let told = || all.enforced(&key, "uid-1", true);
        assert!(all.keep(&key, outcome(true), Enforcement::Open));
        for seconds in [0, 1, 9] {
            assert!(!fail(seconds), "{seconds}");
            assert_eq!(told(), Some(Enforcement::Open), "{seconds}");
        }
        // The turn that succeeds changes nothing, and begins the time anew.
        assert!(!all.keep(&key, outcome(true), Enforcement::Open));
        assert!(!fail(12) && !fail(21));
        assert_eq!(told(), Some(Enforcement::Open));
        assert!(fail(22));
        assert_eq!(told(), Some(waiting()));
        assert!(!fail(23), "nothing new to tell");
        assert!(all.keep(&key, outcome(true), Enforcement::Open));
    }

    #[test]
    fn a_failure_over_another_outcome_tells_nothing_of_it() {
        let (all, key, start) = (Enforcements::default(), workload(), instant());
        assert!(all.keep(&key, outcome(true), Enforcement::Open));
        assert!(!all.fail_with(&key, outcome(false), waiting(), start));
        // The turn may have closed a part, so the enforcement of the outcome before is not known either.
        for is_verified in [false, true] {
            assert_eq!(all.enforced(&key, "uid-1", is_verified), None);
        }
        // A closing write that is not made is told of.
        let later = start.checked_add(ENFORCEMENT_UNTOLD).unwrap();
        assert!(all.fail_with(&key, outcome(false), waiting(), later));
        assert_eq!(all.enforced(&key, "uid-1", false), Some(waiting()));
    }

    #[test]
    fn a_status_waits_from_its_first_turn_on_until_the_workload_has_had_one() {
        let (all, key, start) = (Enforcements::default(), workload(), instant());
        let after = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        assert_eq!([0, 3].map(|at| all.awaited_for(&key, after(at)).as_secs()), [0, 3]);
        assert!(!all.fail_with(&key, outcome(false), waiting(), after(4)));
        assert_eq!(all.awaited_for(&key, after(5)).as_secs(), 5);
        assert!(all.keep(&key, outcome(false), Enforcement::Closed));
        assert_eq!(all.awaited_for(&key, after(9)).as_secs(), 0);
    }

    #[test]
    fn an_outcome_that_no_turn_has_seen_has_no_enforcement() {
        let (all, key) = (Enforcements::default(), workload());
        assert!(all.keep(&key, outcome(true), Enforcement::Open));
        assert_eq!(all.enforced(&key, "uid-1", false), None);
        assert_eq!(all.enforced(&key, "uid-2", true), None);
        all.forget(&key);
        assert_eq!(all.enforced(&key, "uid-1", true), None);
    }
}
