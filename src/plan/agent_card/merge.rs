//! Evaluations of single replicas, and the evaluation of a workload that follows from all of them.
//! One bad card refuses the workload; an unreachable replica decides nothing while another serves a good card.

use super::card_evaluation::ReplicaEvaluation;
use super::evaluation::Evaluation;
use super::replica::{Replica, Replicas};
use super::result::VerificationResult;
use crate::input::CardRef;
use crate::input::workload::WorkloadRef;
use countersign_core::history::Seen;
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Replicas to fetch from now, at most `limit`: new ones first, then those with a bad card, then those fetched
/// longest ago.
pub fn choose<'r>(replicas: &'r Replicas, last: &[ReplicaEvaluation], limit: usize) -> Vec<&'r Replica> {
    let is_bad = |served: &ReplicaEvaluation| !served.is_good() && !served.is_unreachable();
    let mut known: BTreeMap<&str, &ReplicaEvaluation> = BTreeMap::new();
    for served in last {
        let one = known.entry(served.replica.uid.as_str()).or_insert(served);
        // A replica may give two cards; a bad one of them is what must be asked for again.
        if is_bad(served) {
            *one = served;
        }
    }
    let mut all: Vec<&Replica> = replicas.ready.iter().collect();
    all.sort_by_key(|replica| known.get(replica.uid.as_str()).map(|served| (!is_bad(served), served.at)));
    all.truncate(limit);
    all
}

/// Evaluation of a workload from the replicas `asked` now and those whose last evaluation still holds: its proof has not
/// ended, and the policy in force since `policy_since` is the one that it was made under. `None` without any.
pub fn merge(
    reference: &CardRef,
    workload: &WorkloadRef,
    replicas: &Replicas,
    asked: Vec<ReplicaEvaluation>,
    last: &[ReplicaEvaluation],
    (now, policy_since): (Timestamp, Instant),
) -> Option<Evaluation> {
    let ready: BTreeSet<&str> = replicas.ready.iter().map(|replica| replica.uid.as_str()).collect();
    let asked_now: BTreeSet<String> = asked.iter().map(|served| served.replica.uid.clone()).collect();
    let holds = |served: &&ReplicaEvaluation| {
        let proof = served.evaluation.result.outcome.as_ref();
        let has_ended = proof.is_ok_and(|proof| proof.valid_until <= now);
        let uid = served.replica.uid.as_str();
        ready.contains(uid) && !asked_now.contains(uid) && !has_ended && served.at >= policy_since
    };
    let mut all: Vec<ReplicaEvaluation> = last.iter().filter(holds).cloned().collect();
    all.extend(asked);
    all.shrink_to_fit();
    all.sort_by(|a, b| a.replica.name.cmp(&b.replica.name));
    let is_bad = |served: &&ReplicaEvaluation| !served.is_good() && !served.is_unreachable();
    let lead = all.iter().find(is_bad).or_else(|| all.iter().find(|served| served.is_good()));
    let lead = lead.or(all.first())?;
    let is_alone = replicas.ready.len() <= 1;
    let mut evaluation = lead.evaluation.clone();
    if !is_alone {
        evaluation = evaluation.named(reference, &format!("replica {}", Quoted(&lead.replica.name)));
    }
    let is_verified = lead.is_good();
    let accepted: BTreeSet<&str> =
        all.iter().filter(|served| served.is_good()).map(|served| served.replica.uid.as_str()).collect();
    let has_seen_all = replicas.all.iter().all(|uid| accepted.contains(uid.as_str()));
    let seen = if is_verified && has_seen_all { Seen::Everything } else { Seen::Part };
    if is_verified {
        let joined = joined(&evaluation.result, &all);
        // One replica has nothing to add, and its result need not be kept twice.
        if joined != *evaluation.result {
            evaluation.result = Arc::new(joined);
        }
    }
    // Only the leading card keeps bytes and content, so that memory does not grow with the replicas. Another one that names
    // more hosts than those of its Service is evaluated anew each time, and needs no basis.
    for replica in &mut all {
        replica.evaluation.received = None;
        drop(replica.evaluation.basis.take_if(|basis| !basis.has_own_hosts()));
        if replica.evaluation.result.content.as_ref().is_some_and(|content| content.data.is_some()) {
            replica.evaluation.result = Arc::new(replica.evaluation.result.slimmed());
        }
    }
    Some(Evaluation::of(Some(workload.clone()), evaluation).with_replicas(all, seen))
}

/// Result of the leading replica with the earliest end of all proofs, and the list of unreachable replicas.
fn joined(lead: &VerificationResult, all: &[ReplicaEvaluation]) -> VerificationResult {
    let mut result = lead.clone();
    let proofs = || all.iter().filter_map(|served| served.evaluation.result.outcome.as_ref().ok());
    if let Ok(proof) = &mut result.outcome {
        for other in proofs() {
            proof.valid_until = proof.valid_until.min(other.valid_until);
            proof.not_after = proof.not_after.min(other.not_after);
        }
    }
    let unreachable = all.iter().filter_map(|served| {
        let reason = served.evaluation.result.reason()?;
        Some(format!("replica {}: {}", Quoted(&served.replica.name), reason.code()))
    });
    result.unreachable = unreachable.collect();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::card_evaluation::{Basis, CardEvaluation};
    use crate::agent_card::evaluate::Received;
    use crate::agent_card::result::Proof;
    use crate::input::CardOutcome;
    use crate::input::identity::Expected;
    use crate::input::service::service_names;
    use crate::input::workload::WorkloadKind;
    use countersign_api::ObjectRef;
    use countersign_core::bind::Source;
    use countersign_core::encoding::sha256;
    use countersign_core::refusal::Reason;
    use countersign_core::refusal::Refusal;
    use countersign_core::spiffe::SpiffeId;
    use countersign_core::time::Seconds;
    use countersign_core::verdict::Verdict;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix(1_795_219_200);

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn reference() -> CardRef {
        CardRef::new("weather-card", None).unwrap()
    }

    fn replica(name: &str) -> Replica {
        Replica {
            name: name.to_owned(),
            uid: name.to_owned(),
            address: [10, 0, 0, 1].into(),
            port: 8000,
            answer: None,
        }
    }

    /// Ready replicas of these names, without other Pods.
    fn replicas(names: &[&str]) -> Replicas {
        Replicas {
            ready: names.iter().map(|name| replica(name)).collect(),
            all: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Replica with a good card whose proof lasts that many seconds, or with a refusal.
    fn served(name: &str, found: Result<u32, Reason>) -> ReplicaEvaluation {
        let mut evaluation =
            CardEvaluation::refused(&reference(), Refusal::new(Reason::CardUnsigned, "no signature"));
        match found {
            Ok(lasts) => {
                let proof = Proof::for_test(NOW.plus(Seconds::new(lasts)));
                evaluation.result =
                    Arc::new(VerificationResult { outcome: Ok(proof), ..(*evaluation.result).clone() });
            }
            Err(reason) => {
                evaluation = CardEvaluation::refused(&reference(), Refusal::new(reason, "what was found"));
            }
        }
        ReplicaEvaluation { replica: replica(name), at: now(), evaluation }
    }

    /// Merged outcome, number of unreachable replicas, and coverage of the Pods.
    fn merged(
        ready: &[&str],
        asked: Vec<ReplicaEvaluation>,
        last: &[ReplicaEvaluation],
    ) -> (Result<Timestamp, (Reason, String)>, usize, Seen) {
        let key = WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", "weather") };
        let earlier = now().checked_sub(Duration::from_mins(1)).unwrap();
        let evaluation = merge(&reference(), &key, &replicas(ready), asked, last, (NOW, earlier)).unwrap();
        let outcome = match &evaluation.result.outcome {
            Ok(proof) => Ok(proof.valid_until),
            Err(refused) => {
                // Planner and status get one refusal.
                let told = Verdict::refused(refused.refusal.clone());
                assert_eq!(evaluation.card, CardOutcome::new(reference(), &told));
                Err((refused.refusal.reason(), refused.refusal.message().to_owned()))
            }
        };
        (outcome, evaluation.result.unreachable.len(), evaluation.seen)
    }

    #[test]
    fn one_bad_card_refuses_and_names_its_replica_and_no_card_at_all_decides_nothing() {
        let good = |name: &str, lasts| served(name, Ok(lasts));
        let bad = |name: &str, reason| served(name, Err(reason));
        let until = |seconds| Ok(NOW.plus(Seconds::new(seconds)));
        let named = |reason, name: &str| Err((reason, format!("replica \"{name}\": what was found")));
        let (timeout, invalid) = (Reason::FetchTimeout, Reason::SignatureInvalid);
        for (asked, expected) in [
            // The earliest end of all replicas ends the proof.
            (vec![good("a", 90), good("b", 60)], (until(60), 0, Seen::Everything)),
            (vec![good("a", 90), bad("b", invalid)], (named(invalid, "b"), 0, Seen::Part)),
            (vec![bad("a", timeout), bad("b", invalid)], (named(invalid, "b"), 0, Seen::Part)),
            (vec![good("a", 90), bad("b", timeout)], (until(90), 1, Seen::Part)),
            (vec![good("b", 90), bad("a", Reason::FetchStatus)], (until(90), 1, Seen::Part)),
            (vec![bad("a", timeout), bad("b", Reason::FetchFailed)], (named(timeout, "a"), 0, Seen::Part)),
        ] {
            assert_eq!(merged(&["a", "b"], asked, &[]), expected);
        }
        // A single replica is not named, because there is no other.
        let (outcome, ..) = merged(&["a"], vec![bad("a", invalid)], &[]);
        assert_eq!(outcome, Err((invalid, "what was found".to_owned())));
    }

    #[test]
    fn what_was_not_asked_now_counts_as_last_time_while_it_is_ready_and_its_proof_lasts() {
        let last = [served("a", Ok(30)), served("b", Ok(20)), served("gone", Ok(10)), served("ended", Ok(0))];
        let ready = ["a", "b", "ended"];
        let (outcome, _, seen) = merged(&ready, vec![served("a", Ok(60))], &last);
        assert_eq!((outcome, seen), (Ok(NOW.plus(Seconds::new(20))), Seen::Part));
        let last = [served("b", Err(Reason::SignatureInvalid))];
        let (outcome, ..) = merged(&["a", "b"], vec![served("a", Ok(60))], &last);
        assert!(outcome.is_err(), "a bad card is bad until its replica was asked again");
    }

    #[test]
    fn new_and_bad_replicas_are_asked_first_and_all_get_their_turn() {
        let all = replicas(&["a", "b", "c", "d"]);
        let names = |chosen: Vec<&Replica>| -> Vec<String> {
            chosen.into_iter().map(|replica| replica.name.clone()).collect()
        };
        let last = [served("a", Ok(60)), served("b", Err(Reason::SignatureInvalid)), served("c", Ok(60))];
        assert_eq!(names(choose(&all, &last, 2)), ["d", "b"]);
        assert_eq!(names(choose(&all, &last, 3)), ["d", "b", "a"]);
    }

    #[test]
    fn a_replica_that_gives_two_cards_is_as_good_as_the_worse_of_them() {
        let without = |found| {
            let mut served = served("a", found);
            served.replica.answer = Some("without A2A-Version");
            served
        };
        let (good, bad) = (Ok(90), Err(Reason::SignatureInvalid));
        let (outcome, _, seen) = merged(&["a"], vec![served("a", good), without(Ok(60))], &[]);
        assert_eq!((outcome, seen), (Ok(NOW.plus(Seconds::new(60))), Seen::Everything));
        for asked in [vec![served("a", good), without(bad)], vec![served("a", bad), without(good)]] {
            let (outcome, ..) = merged(&["a"], asked.clone(), &[]);
            assert!(outcome.is_err());
            // Both are carried over together, or neither.
            let (outcome, ..) = merged(&["a", "b"], vec![served("b", good)], &asked);
            assert!(outcome.is_err());
            let all = replicas(&["a", "b"]);
            let last = [vec![served("b", good)], asked].concat();
            assert_eq!(choose(&all, &last, 1)[0].name, "a");
        }
        let (outcome, ..) = merged(&["a"], vec![served("a", good)], &[without(bad)]);
        assert!(outcome.is_ok(), "an answer that is no longer given is no longer evaluated");
    }

    #[test]
    fn what_was_evaluated_under_another_policy_is_not_carried_over() {
        let key = WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", "weather") };
        let last = [served("b", Ok(60))];
        let seen = |since| {
            let all = replicas(&["a", "b"]);
            let asked = vec![served("a", Ok(60))];
            merge(&reference(), &key, &all, asked, &last, (NOW, since)).unwrap().replicas.len()
        };
        let (before, after) = (last[0].at, now());
        assert_eq!([seen(before), seen(after)], [2, 1]);
    }

    #[test]
    fn the_hosts_of_a_workload_are_kept_once_for_all_its_replicas() {
        let key = WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", "weather") };
        let own = service_names("weather", "team");
        let with = |hosts: &BTreeSet<String>, ingress_hosts: &BTreeSet<String>| {
            let asked = ["a", "b", "c"].map(|name| {
                let mut one = served(name, Ok(3600));
                one.evaluation.received =
                    Some(Arc::new(Received { bytes: b"{}".to_vec(), source: Source::File }));
                let id = SpiffeId::parse("spiffe://example.org/ns/team/sa/a").unwrap();
                one.evaluation.basis = Some(Arc::new(Basis::new(
                    sha256(b"terms"),
                    "uid-1".to_owned(),
                    (hosts.clone(), ingress_hosts.clone()),
                    &own,
                    Expected::exactly(id),
                )));
                one
            });
            let now = (NOW, asked[0].at);
            let merged = merge(&reference(), &key, &replicas(&["a", "b", "c"]), asked.to_vec(), &[], now);
            let merged = merged.unwrap();
            assert_eq!(
                merged.kept().unwrap().1.hosts(&own).0,
                hosts,
                "what is evaluated again keeps its hosts"
            );
            merged.replicas.iter().filter(|one| one.evaluation.basis.is_some()).count()
        };
        let none = BTreeSet::new();
        let more: BTreeSet<String> = own.iter().cloned().chain(service_names("other", "team")).collect();
        let ingress = BTreeSet::from(["weather.example".to_owned()]);
        assert_eq!([with(&own, &none), with(&more, &none), with(&own, &ingress)], [3, 0, 0]);
    }
}
