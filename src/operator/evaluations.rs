//! Last evaluations of all cards, with the received bytes of verified ones up to a limit, which namespaces share: bytes at
//! hand prove a card again without a fetch.

use super::index::ObjectRef;
use countersign_core::time::Timestamp;
use countersign_plan::agent_card::evaluation::Evaluation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum total size of received cards kept for evaluating again, in bytes.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Evaluations by AgentCard.
#[derive(Debug)]
pub(crate) struct Evaluations {
    by_object: BTreeMap<ObjectRef, Held>,
    /// Times at which verified cards have to be evaluated again, because their proofs may have ended.
    checks: BTreeSet<(Timestamp, ObjectRef)>,
    limit: usize,
    kept: usize,
    /// Kept bytes by namespace; only namespaces with kept bytes.
    kept_by: BTreeMap<String, usize>,
}

impl Default for Evaluations {
    fn default() -> Self {
        Self::new(KEPT_BYTES)
    }
}

#[derive(Debug)]
struct Held {
    evaluation: Arc<Evaluation>,
    check: Option<Timestamp>,
}

impl Evaluations {
    /// Empty, with room for `limit` received bytes.
    const fn new(limit: usize) -> Self {
        Self { by_object: BTreeMap::new(), checks: BTreeSet::new(), limit, kept: 0, kept_by: BTreeMap::new() }
    }

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
        let fits = evaluation.result.outcome.is_ok() && self.make_room(&object.namespace, size(&evaluation));
        let evaluation = if fits { evaluation } else { evaluation.without_body() };
        self.account(&object.namespace, 0, size(&evaluation));
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
        let now = if is_verified { now } else { now.without_body() };
        let comes = size(&now);
        held.evaluation = Arc::new(now);
        self.account(&object.namespace, gone, comes);
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
        self.account(&object.namespace, size(&before), 0);
        Some(before)
    }

    /// True if a namespace may keep so many bytes more. Where they do not fit, namespaces that keep more than it would are
    /// made to drop some: whoever comes first has no more of the room than whoever comes later.
    fn make_room(&mut self, namespace: &str, bytes: usize) -> bool {
        let wanted = self.kept_by.get(namespace).copied().unwrap_or_default().saturating_add(bytes);
        if bytes > self.limit {
            return false;
        }
        while self.kept.saturating_add(bytes) > self.limit {
            let most = self.kept_by.iter().max_by_key(|(_, kept)| **kept);
            let Some((largest, _)) = most.filter(|(_, kept)| **kept > wanted) else { return false };
            let largest = largest.clone();
            if !self.drop_body_of(&largest) {
                return false;
            }
        }
        true
    }

    /// Drops the received bytes of one card of a namespace; false if it keeps none.
    fn drop_body_of(&mut self, namespace: &str) -> bool {
        let of_namespace = self
            .by_object
            .range_mut(ObjectRef::new(namespace, "")..)
            .take_while(|(object, _)| object.namespace == namespace);
        let mut kept = of_namespace.filter(|(_, held)| size(&held.evaluation) > 0);
        let Some((_, held)) = kept.next() else { return false };
        let gone = size(&held.evaluation);
        held.evaluation = Arc::new(held.evaluation.as_ref().clone().without_body());
        self.account(namespace, gone, 0);
        true
    }

    fn account(&mut self, namespace: &str, gone: usize, comes: usize) {
        self.kept = self.kept.saturating_sub(gone).saturating_add(comes);
        let held = self.kept_by.entry(namespace.to_owned()).or_default();
        *held = held.saturating_sub(gone).saturating_add(comes);
        if *held == 0 {
            self.kept_by.remove(namespace);
        }
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
    use countersign_core::bundle::parse_bundle;
    use countersign_core::encoding::sha256;
    use countersign_core::policy::Policy;
    use countersign_core::spiffe::SpiffeId;
    use countersign_core::time::Seconds;
    use countersign_plan::CardRef;
    use countersign_plan::agent_card::card_evaluation::{Basis, CardEvaluation};
    use countersign_plan::agent_card::evaluate::{Received, Terms, evaluate};
    use countersign_plan::input::identity::Expected;

    /// Evaluation of the documented card, from a real verification: nothing else is verified.
    fn evaluation(is_verified: bool) -> Evaluation {
        let id = SpiffeId::parse("spiffe://example.org/ns/demo/sa/weather").unwrap();
        let expected = Expected::exactly(id);
        let bundle = include_bytes!("../../tests/fixtures/doc/bundle.json").to_vec();
        let mut bytes = include_bytes!("../../tests/fixtures/doc/card.json").to_vec();
        if !is_verified {
            bytes = b"{}".to_vec();
        }
        let hosts = BTreeSet::from(["weather.demo.svc.cluster.local".to_owned()]);
        let terms = Terms {
            bundle: &parse_bundle(&expected.trust_domain, bundle).unwrap(),
            policy: &Policy::new(expected.trust_domain.clone()),
            rules: None,
            expected: &expected,
            cluster_hosts: &hosts,
            ingress_hosts: &BTreeSet::new(),
            history: None,
            now: Timestamp::from_unix(1_795_219_200),
        };
        let received = Received { bytes, source: Source::File };
        let verification = evaluate(&received, terms);
        assert_eq!(verification.result.outcome.is_ok(), is_verified, "{:?}", verification.result.reason());
        let own = (hosts.clone(), BTreeSet::new());
        let basis = Basis::new(sha256(b"terms"), "uid".to_owned(), own, &hosts, expected);
        let reference = CardRef::new("weather-card", None).unwrap();
        Evaluation::of(None, CardEvaluation::of(&reference, verification, received, basis))
    }

    fn verified() -> Evaluation {
        evaluation(true)
    }

    fn object(name: &str) -> ObjectRef {
        ObjectRef::new("team", name)
    }

    fn has_body(evaluations: &Evaluations, object: &ObjectRef) -> bool {
        evaluations.get(object).unwrap().body().is_some()
    }

    #[test]
    fn bytes_are_kept_as_long_as_they_fit_and_every_namespace_gets_the_same_share() {
        let mut evaluations = Evaluations::new(4 * size(&verified()));
        let of = |namespace: &str| ["a", "b", "c", "d", "e"].map(|name| ObjectRef::new(namespace, name));
        let kept = |evaluations: &Evaluations, namespace: &str| {
            of(namespace)
                .iter()
                .filter(|object| evaluations.get(object).is_some_and(|held| held.body().is_some()))
                .count()
        };
        let store = |evaluations: &mut Evaluations, namespace: &str| {
            for object in of(namespace) {
                evaluations.insert(&object, verified(), None);
            }
        };
        store(&mut evaluations, "first");
        assert_eq!(kept(&evaluations, "first"), 4, "alone it has all the room");
        store(&mut evaluations, "second");
        assert_eq!((kept(&evaluations, "first"), kept(&evaluations, "second")), (2, 2));
        // Whoever evaluates again takes nothing from the others.
        for _ in 0..3 {
            store(&mut evaluations, "first");
            assert_eq!((kept(&evaluations, "first"), kept(&evaluations, "second")), (2, 2));
        }
        evaluations.insert(&ObjectRef::new("third", "a"), verified(), None);
        assert_eq!(kept(&evaluations, "third"), 1, "a newcomer finds some");
        assert_eq!(kept(&evaluations, "first") + kept(&evaluations, "second"), 3);
        // What is removed gives its room back.
        for object in ["first", "second", "third"].into_iter().flat_map(of) {
            evaluations.remove(&object);
        }
        assert_eq!((evaluations.kept, evaluations.kept_by.len()), (0, 0));
    }

    #[test]
    fn an_evaluation_whose_bytes_were_dropped_is_still_the_one_that_was_stored() {
        let mut evaluations = Evaluations::new(2 * size(&verified()));
        let (first, second) = (object("a"), object("b"));
        evaluations.insert(&first, verified(), None);
        evaluations.insert(&second, verified(), None);
        let stored = evaluations.get(&first).unwrap().as_ref().clone();
        evaluations.insert(&ObjectRef::new("other", "a"), verified(), None);
        assert!(!has_body(&evaluations, &first) && has_body(&evaluations, &second));
        assert!(evaluations.replace(&first, &stored, stored.clone()));
        assert!(!has_body(&evaluations, &first), "its bytes are not taken up again");
    }

    #[test]
    fn bytes_of_a_refused_card_are_not_kept() {
        let mut evaluations = Evaluations::default();
        evaluations.insert(&object("a"), evaluation(false), None);
        assert!(!has_body(&evaluations, &object("a")));
        evaluations.insert(&object("b"), verified(), None);
        let held = evaluations.get(&object("b")).unwrap().as_ref().clone();
        assert!(evaluations.replace(&object("b"), &held, evaluation(false)));
        assert_eq!((has_body(&evaluations, &object("b")), evaluations.kept), (false, 0));
    }

    #[test]
    fn an_evaluation_that_was_overtaken_replaces_nothing() {
        let mut evaluations = Evaluations::default();
        let (first, second) = (verified(), verified());
        evaluations.insert(&object("a"), first.clone(), None);
        evaluations.insert(&object("a"), second, None);
        assert!(!evaluations.replace(&object("a"), &first, first.clone()));
        let held = evaluations.get(&object("a")).unwrap().as_ref().clone();
        assert!(evaluations.replace(&object("a"), &held, first));
    }

    #[test]
    fn a_card_is_evaluated_again_at_the_time_of_its_last_evaluation_and_no_other() {
        let at = |seconds| Timestamp::from_unix(1_795_219_200).plus(Seconds::new(seconds));
        let mut evaluations = Evaluations::default();
        evaluations.insert(&object("a"), verified(), Some(at(10)));
        evaluations.insert(&object("b"), verified(), Some(at(5)));
        assert_eq!(evaluations.next_check(), Some(at(5)));
        assert!(evaluations.ending(at(4)).is_empty());
        assert_eq!(evaluations.ending(at(10)), [object("b"), object("a")]);
        // A new evaluation has its own time, and an overtaken one sets none.
        let old = evaluations.get(&object("b")).unwrap().as_ref().clone();
        evaluations.insert(&object("b"), verified(), Some(at(20)));
        evaluations.postpone(&object("b"), &old, at(6));
        assert_eq!(evaluations.ending(at(10)), [object("a")]);
        // A refusal has no proof that could end.
        let held = evaluations.get(&object("a")).unwrap().as_ref().clone();
        assert!(evaluations.replace(&object("a"), &held, evaluation(false)));
        evaluations.remove(&object("b"));
        assert_eq!(evaluations.next_check(), None);
    }
}
