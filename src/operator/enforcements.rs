//! Enforcement of the decisions about workloads, as the last turn of each left it, for the status of their AgentCards.

use super::index::WorkloadRef;
use countersign_plan::CardOutcome;
use countersign_plan::agent_card::enforcement::Enforcement;
use countersign_plan::workload::ObservedCard;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Last enforcement of each workload.
#[derive(Debug, Default)]
pub(crate) struct Enforcements(Mutex<BTreeMap<WorkloadRef, Enforced>>);

/// Enforcement of one decision, with the outcomes that the decision was made from.
#[derive(Debug, PartialEq)]
struct Enforced {
    enforcement: Enforcement,
    /// UIDs of the AgentCards, and whether each was verified.
    seen: Vec<(String, bool)>,
}

impl Enforcements {
    /// Records the enforcement of a workload; true if it or the outcomes behind it changed.
    pub(crate) fn record(
        &self,
        workload: &WorkloadRef,
        cards: &[ObservedCard],
        enforcement: Enforcement,
    ) -> bool {
        let seen = cards.iter().filter_map(|one| {
            let (about, outcome) = one.evaluated.as_ref()?;
            let is_this = about.as_ref() == Some(workload) && outcome.reference() == &one.card.reference;
            is_this.then(|| (one.card.uid.clone(), outcome.is_verified()))
        });
        let now = Enforced { enforcement, seen: seen.collect() };
        let mut all = self.lock();
        let differs = all.get(workload) != Some(&now);
        if differs {
            all.insert(workload.clone(), now);
        }
        differs
    }

    /// Forgets a workload that is gone or no agent any more.
    pub(crate) fn forget(&self, workload: &WorkloadRef) {
        self.lock().remove(workload);
    }

    /// Enforcement of an AgentCard's outcome; `None` until a turn of the workload has seen the outcome.
    pub(crate) fn of(&self, workload: &WorkloadRef, outcome: &CardOutcome) -> Option<Enforcement> {
        let uid = outcome.reference().uid()?;
        let all = self.lock();
        let known = all.get(workload)?;
        let is_seen = known.seen.iter().any(|seen| seen.0 == uid && seen.1 == outcome.is_verified());
        is_seen.then(|| known.enforcement.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkloadRef, Enforced>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
