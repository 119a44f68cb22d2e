//! What one replica served, and what follows from all of them together.
//! One bad card refuses the workload; a replica that gives none decides nothing while another one gives a good one.

use super::endpoints::{Replica, Replicas};
use super::evaluate::{Received, Verification};
use super::evaluation::{Basis, Evaluation, is_unreachable};
use super::result::VerificationResult;
use crate::input::workload::WorkloadRef;
use crate::input::{CardOutcome, CardRef};
use countersign_core::encoding::{Digest, sha256};
use countersign_core::history::Seen;
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::SpiffeId;
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use countersign_core::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// One card, judged.
#[derive(Clone, Debug)]
pub struct CardEvaluation {
    /// The identity that the verdict is about, if one was expected.
    pub spiffe_id: Option<SpiffeId>,
    /// For the planner.
    pub card: CardOutcome,
    /// For people.
    pub result: Arc<VerificationResult>,
    /// SHA-256 of the bytes that were served.
    pub bytes: Option<Digest>,
    /// The card that was judged.
    pub received: Option<Arc<Received>>,
    /// What it was judged against.
    pub basis: Option<Arc<Basis>>,
}

impl CardEvaluation {
    /// A refusal from before there was a card.
    pub fn refused(reference: &CardRef, refusal: Refusal) -> Self {
        Self {
            spiffe_id: None,
            card: CardOutcome::new(reference.clone(), &Verdict::refused(refusal.clone())),
            result: Arc::new(VerificationResult::without_card(refusal)),
            bytes: None,
            received: None,
            basis: None,
        }
    }

    /// A received card that was judged.
    pub fn of(reference: &CardRef, verification: Verification, received: Received, basis: Basis) -> Self {
        Self {
            spiffe_id: Some(verification.spiffe_id),
            card: CardOutcome::new(reference.clone(), &verification.verdict),
            result: Arc::new(verification.result),
            bytes: Some(sha256(&received.bytes)),
            received: Some(Arc::new(received)),
            basis: Some(Arc::new(basis)),
        }
    }

    /// The same refusal with the name of the replica in its sentence.
    fn named(self, reference: &CardRef, name: &str) -> Self {
        let mut result = (*self.result).clone();
        let Err(refused) = &mut result.outcome else { return self };
        let found = format!("replica {}: {}", Quoted(name), refused.refusal.message());
        refused.refusal = Refusal::new(refused.refusal.reason(), found);
        let card = CardOutcome::new(reference.clone(), &Verdict::refused(refused.refusal.clone()));
        Self { card, result: Arc::new(result), ..self }
    }
}

/// What one replica served.
#[derive(Clone, Debug)]
pub struct ReplicaEvaluation {
    /// The replica.
    pub replica: Replica,
    /// When it was asked.
    pub at: Instant,
    /// What was found, without the card itself.
    pub evaluation: CardEvaluation,
}

impl ReplicaEvaluation {
    fn is_good(&self) -> bool {
        self.evaluation.result.outcome.is_ok()
    }

    fn is_unreachable(&self) -> bool {
        self.evaluation.result.reason().is_some_and(is_unreachable)
    }
}

/// Which replicas to ask now, at most `limit`: those that were not asked yet, then those that served a bad card, then
/// those that were asked longest ago.
pub fn choose<'r>(replicas: &'r Replicas, last: &[ReplicaEvaluation], limit: usize) -> Vec<&'r Replica> {
    let last: BTreeMap<&str, &ReplicaEvaluation> =
        last.iter().map(|look| (look.replica.uid.as_str(), look)).collect();
    let mut all: Vec<&Replica> = replicas.ready.iter().collect();
    all.sort_by_key(|replica| {
        last.get(replica.uid.as_str()).map(|look| (look.is_good() || look.is_unreachable(), look.at))
    });
    all.truncate(limit);
    all
}

/// One evaluation of all replicas: of those that were asked now, and of those whose last look still holds.
pub fn merge(
    reference: &CardRef,
    workload: &WorkloadRef,
    replicas: &Replicas,
    asked: Vec<ReplicaEvaluation>,
    last: &[ReplicaEvaluation],
    now: Timestamp,
) -> Option<Evaluation> {
    let ready: BTreeSet<&str> = replicas.ready.iter().map(|replica| replica.uid.as_str()).collect();
    let asked_now: BTreeSet<String> = asked.iter().map(|look| look.replica.uid.clone()).collect();
    let holds = |look: &&ReplicaEvaluation| {
        let proof = look.evaluation.result.outcome.as_ref();
        let has_ended = proof.is_ok_and(|proof| proof.valid_until <= now);
        let uid = look.replica.uid.as_str();
        ready.contains(uid) && !asked_now.contains(uid) && !has_ended
    };
    let mut all: Vec<ReplicaEvaluation> = last.iter().filter(holds).cloned().collect();
    all.extend(asked);
    all.sort_by(|a, b| a.replica.name.cmp(&b.replica.name));
    let is_bad = |look: &&ReplicaEvaluation| !look.is_good() && !look.is_unreachable();
    let lead = all.iter().find(is_bad).or_else(|| all.iter().find(|look| look.is_good()));
    let lead = lead.or(all.first())?;
    let is_alone = replicas.ready.len() <= 1;
    let mut look = lead.evaluation.clone();
    if !is_alone {
        look = look.named(reference, &lead.replica.name);
    }
    let is_verified = lead.is_good();
    let accepted: BTreeSet<&str> =
        all.iter().filter(|look| look.is_good()).map(|look| look.replica.uid.as_str()).collect();
    let has_seen_all = replicas.all.iter().all(|uid| accepted.contains(uid.as_str()));
    let seen = if is_verified && has_seen_all { Seen::Everything } else { Seen::Part };
    if is_verified {
        look.result = Arc::new(joined(&look.result, &all));
    }
    // The evaluation has the card that stands for all, within a limit that all cards share.
    for replica in &mut all {
        replica.evaluation.received = None;
        if replica.evaluation.result.content.as_ref().is_some_and(|content| content.data.is_some()) {
            replica.evaluation.result = Arc::new(replica.evaluation.result.slimmed());
        }
    }
    Some(Evaluation::of(Some(workload.clone()), look).with_replicas(all, seen))
}

/// A proof for all replicas ends with the first of theirs.
fn joined(lead: &VerificationResult, all: &[ReplicaEvaluation]) -> VerificationResult {
    let mut result = lead.clone();
    let proofs = || all.iter().filter_map(|look| look.evaluation.result.outcome.as_ref().ok());
    if let Ok(proof) = &mut result.outcome {
        for other in proofs() {
            proof.valid_until = proof.valid_until.min(other.valid_until);
            proof.not_after = proof.not_after.min(other.not_after);
        }
    }
    let unreachable = all.iter().filter_map(|look| {
        let reason = look.evaluation.result.reason()?;
        Some(format!("replica {}: {}", Quoted(&look.replica.name), reason.code()))
    });
    result.unreachable = unreachable.collect();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::result::Proof;
    use crate::input::workload::WorkloadKind;
    use countersign_api::ObjectRef;
    use countersign_core::refusal::Reason;
    use countersign_core::time::Seconds;

    const NOW: Timestamp = Timestamp::from_unix(1_795_219_200);

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn reference() -> CardRef {
        CardRef::new("weather-card", None).unwrap()
    }

    fn replica(name: &str) -> Replica {
        Replica { name: name.to_owned(), uid: name.to_owned(), address: [10, 0, 0, 1].into(), port: 8000 }
    }

    /// These replicas, all ready, and as many Pods.
    fn replicas(names: &[&str]) -> Replicas {
        Replicas {
            ready: names.iter().map(|name| replica(name)).collect(),
            all: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// A good card whose proof lasts for so many seconds, or a refusal.
    fn look(name: &str, found: Result<u32, Reason>) -> ReplicaEvaluation {
        let mut look =
            CardEvaluation::refused(&reference(), Refusal::new(Reason::CardUnsigned, "no signature"));
        match found {
            Ok(lasts) => {
                let proof = Proof::for_test(NOW.plus(Seconds::new(lasts)));
                look.result = Arc::new(VerificationResult { outcome: Ok(proof), ..(*look.result).clone() });
            }
            Err(reason) => {
                look = CardEvaluation::refused(&reference(), Refusal::new(reason, "what was found"));
            }
        }
        ReplicaEvaluation { replica: replica(name), at: now(), evaluation: look }
    }

    /// What one look comes to: the outcome, the replicas that gave nothing, and how much was seen.
    fn merged(
        ready: &[&str],
        asked: Vec<ReplicaEvaluation>,
        last: &[ReplicaEvaluation],
    ) -> (Result<Timestamp, (Reason, String)>, usize, Seen) {
        let key = WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", "weather") };
        let evaluation = merge(&reference(), &key, &replicas(ready), asked, last, NOW).unwrap();
        let outcome = match &evaluation.result.outcome {
            Ok(proof) => Ok(proof.valid_until),
            Err(refused) => {
                // The planner is told the same.
                let told = Verdict::refused(refused.refusal.clone());
                assert_eq!(evaluation.card, CardOutcome::new(reference(), &told));
                Err((refused.refusal.reason(), refused.refusal.message().to_owned()))
            }
        };
        (outcome, evaluation.result.unreachable.len(), evaluation.seen)
    }

    #[test]
    fn one_bad_card_refuses_and_names_its_replica_and_no_card_at_all_decides_nothing() {
        let good = |name: &str, lasts| look(name, Ok(lasts));
        let bad = |name: &str, reason| look(name, Err(reason));
        let until = |seconds| Ok(NOW.plus(Seconds::new(seconds)));
        let named = |reason, name: &str| Err((reason, format!("replica \"{name}\": what was found")));
        let (timeout, invalid) = (Reason::FetchTimeout, Reason::SignatureInvalid);
        for (asked, expected) in [
            // The first end of all ends the proof.
            (vec![good("a", 90), good("b", 60)], (until(60), 0, Seen::Everything)),
            (vec![good("a", 90), bad("b", invalid)], (named(invalid, "b"), 0, Seen::Part)),
            (vec![bad("a", timeout), bad("b", invalid)], (named(invalid, "b"), 0, Seen::Part)),
            (vec![good("a", 90), bad("b", timeout)], (until(90), 1, Seen::Part)),
            (vec![good("b", 90), bad("a", Reason::FetchStatus)], (until(90), 1, Seen::Part)),
            (vec![bad("a", timeout), bad("b", Reason::FetchFailed)], (named(timeout, "a"), 0, Seen::Part)),
        ] {
            assert_eq!(merged(&["a", "b"], asked, &[]), expected);
        }
        // One that is alone is not named: there is no other.
        let (outcome, ..) = merged(&["a"], vec![bad("a", invalid)], &[]);
        assert_eq!(outcome, Err((invalid, "what was found".to_owned())));
    }

    #[test]
    fn what_was_not_asked_now_counts_as_last_time_while_it_is_ready_and_its_proof_lasts() {
        let last = [look("a", Ok(30)), look("b", Ok(20)), look("gone", Ok(10)), look("ended", Ok(0))];
        let ready = ["a", "b", "ended"];
        let (outcome, _, seen) = merged(&ready, vec![look("a", Ok(60))], &last);
        assert_eq!((outcome, seen), (Ok(NOW.plus(Seconds::new(20))), Seen::Part));
        let last = [look("b", Err(Reason::SignatureInvalid))];
        let (outcome, ..) = merged(&["a", "b"], vec![look("a", Ok(60))], &last);
        assert!(outcome.is_err(), "a bad card is bad until its replica was asked again");
    }

    #[test]
    fn new_and_bad_replicas_are_asked_first_and_all_get_their_turn() {
        let all = replicas(&["a", "b", "c", "d"]);
        let names = |chosen: Vec<&Replica>| -> Vec<String> {
            chosen.into_iter().map(|replica| replica.name.clone()).collect()
        };
        let last = [look("a", Ok(60)), look("b", Err(Reason::SignatureInvalid)), look("c", Ok(60))];
        assert_eq!(names(choose(&all, &last, 2)), ["d", "b"]);
        assert_eq!(names(choose(&all, &last, 3)), ["d", "b", "a"]);
    }
}
