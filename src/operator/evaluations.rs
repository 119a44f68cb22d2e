//! Last evaluations of all cards, with received bytes up to a limit: a card beyond the limit is refused when
//! authorities change, until fetched again.

use super::index::ObjectRef;
use countersign_core::time::Timestamp;
use countersign_plan::agent_card::evaluation::Evaluation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum total size of received cards kept for evaluating again, in bytes.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Evaluations by AgentCard.
#[derive(Debug, Default)]
pub(crate) struct Evaluations {
    by_object: BTreeMap<ObjectRef, Held>,
    /// Times at which verified cards have to be evaluated again, because their proofs may have ended.
    checks: BTreeSet<(Timestamp, ObjectRef)>,
    kept: usize,
}

#[derive(Debug)]
struct Held {
    evaluation: Arc<Evaluation>,
    check: Option<Timestamp>,
}

impl Evaluations {
    /// Last evaluation of an AgentCard.
    pub(crate) fn get(&self, object: &ObjectRef) -> Option<&Arc<Evaluation>> {
        self.by_object.get(object).map(|held| &held.evaluation)
    }

    /// All evaluations, ordered by AgentCard.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectRef, &Arc<Evaluation>)> {
        self.by_object.iter().map(|(object, held)| (object, &held.evaluation))
    }

    /// Stores an evaluation that has to be repeated at `check`; returns the previous one.
    pub(crate) fn insert(
        &mut self,
        object: &ObjectRef,
        evaluation: Evaluation,
        check: Option<Timestamp>,
    ) -> Option<Arc<Evaluation>> {
        let before = self.remove(object);
        let kept = self.kept.saturating_add(size(&evaluation));
        let evaluation = if kept <= KEPT_BYTES { evaluation } else { evaluation.without_body() };
        self.kept = self.kept.saturating_add(size(&evaluation));
        self.by_object.insert(object.clone(), Held { evaluation: Arc::new(evaluation), check: None });
        self.set_check(object, check);
        before
    }

    /// Replaces `before` by `now`; false, without effect, if the card was evaluated meanwhile.
    pub(crate) fn replace(&mut self, object: &ObjectRef, before: &Evaluation, now: Evaluation) -> bool {
        let Some(held) = self.held(object, before) else { return false };
        // The limit spans all cards, so bytes that were dropped by `insert` are not taken up again here.
        let now = if held.evaluation.body().is_some() { now } else { now.without_body() };
        let (gone, is_verified) = (size(&held.evaluation), now.result.outcome.is_ok());
        let comes = size(&now);
        held.evaluation = Arc::new(now);
        self.kept = self.kept.saturating_sub(gone).saturating_add(comes);
        if !is_verified {
            self.set_check(object, None);
        }
        true
    }

    /// Schedules the next evaluation of a card at `check`, unless the card was evaluated meanwhile.
    pub(crate) fn postpone(&mut self, object: &ObjectRef, evaluation: &Evaluation, check: Timestamp) {
        if self.held(object, evaluation).is_some() {
            self.set_check(object, Some(check));
        }
    }

    /// Removes the evaluation of an AgentCard and returns it.
    pub(crate) fn remove(&mut self, object: &ObjectRef) -> Option<Arc<Evaluation>> {
        self.set_check(object, None);
        let before = self.by_object.remove(object)?.evaluation;
        self.kept = self.kept.saturating_sub(size(&before));
        Some(before)
    }

    /// AgentCards that have to be evaluated again by `now`, in order of time.
    pub(crate) fn ending(&self, now: Timestamp) -> Vec<ObjectRef> {
        self.checks.iter().take_while(|(check, _)| *check <= now).map(|(_, object)| object.clone()).collect()
    }

    /// Earliest time at which a card has to be evaluated again.
    pub(crate) fn next_check(&self) -> Option<Timestamp> {
        self.checks.first().map(|(check, _)| *check)
    }

    /// Held entry, if it is this very evaluation.
    fn held(&mut self, object: &ObjectRef, evaluation: &Evaluation) -> Option<&mut Held> {
        let held = self.by_object.get_mut(object)?;
        Arc::ptr_eq(&held.evaluation.result, &evaluation.result).then_some(held)
    }

    fn set_check(&mut self, object: &ObjectRef, check: Option<Timestamp>) {
        let Some(held) = self.by_object.get_mut(object) else { return };
        if let Some(before) = std::mem::replace(&mut held.check, check) {
            self.checks.remove(&(before, object.clone()));
        }
        if let Some(check) = check {
            self.checks.insert((check, object.clone()));
        }
    }
}

fn size(evaluation: &Evaluation) -> usize {
    evaluation.body().map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::bind::Source;
    use countersign_core::encoding::sha256;
    use countersign_core::refusal::{Reason, Refusal};
    use countersign_core::spiffe::SpiffeId;
    use countersign_core::time::Seconds;
    use countersign_core::verdict::Verdict;
    use countersign_plan::CardRef;
    use countersign_plan::agent_card::card_evaluation::Basis;
    use countersign_plan::agent_card::card_evaluation::CardEvaluation;
    use countersign_plan::agent_card::evaluate::{Received, Verification};
    use countersign_plan::agent_card::result::VerificationResult;
    use countersign_plan::input::identity::Expected;

    /// Refused evaluation with a body of `bytes` bytes.
    fn with_body(bytes: usize) -> Evaluation {
        let id = SpiffeId::parse("spiffe://rig.example/ns/team/sa/weather").unwrap();
        let refusal = Refusal::new(Reason::CardUnsigned, "no signature");
        let verification = Verification {
            verdict: Verdict::refused(refusal.clone()),
            result: VerificationResult::without_card(refusal),
            spiffe_id: id.clone(),
        };
        let received = Received { bytes: vec![b' '; bytes], source: Source::File };
        let basis = Basis {
            terms: sha256(b"terms"),
            card_uid: "uid".to_owned(),
            hosts: BTreeSet::new(),
            ingress_hosts: BTreeSet::new(),
            expected: Expected::exactly(id),
        };
        let reference = CardRef::new("weather-card", None).unwrap();
        Evaluation::of(None, CardEvaluation::of(&reference, verification, received, basis))
    }

    fn object(name: &str) -> ObjectRef {
        ObjectRef::new("team", name)
    }

    #[test]
    fn bytes_are_kept_as_long_as_those_of_all_cards_fit_and_room_is_given_back() {
        let mut evaluations = Evaluations::default();
        let half = || with_body(KEPT_BYTES / 2);
        for name in ["a", "b", "c"] {
            evaluations.insert(&object(name), half(), None);
        }
        let has_body =
            |evaluations: &Evaluations, name| evaluations.get(&object(name)).unwrap().body().is_some();
        assert!(has_body(&evaluations, "a") && has_body(&evaluations, "b") && !has_body(&evaluations, "c"));
        // Storing a card again takes no more room.
        evaluations.insert(&object("b"), half(), None);
        assert!(has_body(&evaluations, "b"));
        evaluations.remove(&object("a"));
        evaluations.insert(&object("c"), half(), None);
        assert!(has_body(&evaluations, "c"));
        let before = evaluations.get(&object("c")).unwrap().as_ref().clone();
        assert!(evaluations.replace(&object("c"), &before, before.clone().without_body()));
        evaluations.insert(&object("d"), half(), None);
        assert!(has_body(&evaluations, "d"));
        assert_eq!(evaluations.kept, KEPT_BYTES / 2 * 2);
    }

    #[test]
    fn an_evaluation_that_was_overtaken_replaces_nothing() {
        let mut evaluations = Evaluations::default();
        let (first, second) = (with_body(1), with_body(2));
        evaluations.insert(&object("a"), first.clone(), None);
        evaluations.insert(&object("a"), second, None);
        assert!(!evaluations.replace(&object("a"), &first, first.clone()));
        assert_eq!(evaluations.get(&object("a")).unwrap().body().unwrap().len(), 2);
    }

    #[test]
    fn a_card_is_evaluated_again_at_the_time_of_its_last_evaluation_and_no_other() {
        let at = |seconds| Timestamp::from_unix(1_795_219_200).plus(Seconds::new(seconds));
        let mut evaluations = Evaluations::default();
        evaluations.insert(&object("a"), with_body(1), Some(at(10)));
        evaluations.insert(&object("b"), with_body(1), Some(at(5)));
        assert_eq!(evaluations.next_check(), Some(at(5)));
        assert!(evaluations.ending(at(4)).is_empty());
        assert_eq!(evaluations.ending(at(10)), [object("b"), object("a")]);
        // A new evaluation has its own time, and an overtaken one sets none.
        let old = evaluations.get(&object("b")).unwrap().as_ref().clone();
        evaluations.insert(&object("b"), with_body(1), Some(at(20)));
        evaluations.postpone(&object("b"), &old, at(6));
        assert_eq!(evaluations.ending(at(10)), [object("a")]);
        // A refusal has no proof that could end.
        let held = evaluations.get(&object("a")).unwrap().as_ref().clone();
        assert!(evaluations.replace(&object("a"), &held, held.clone()));
        evaluations.remove(&object("b"));
        assert_eq!(evaluations.next_check(), None);
    }
}
