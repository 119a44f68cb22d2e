//! Time of the next evaluation of an AgentCard: after its own period, in time for a new signature, and sooner while its agent
//! comes up or cannot be reached.

use super::card::IndexedCard;
use super::evaluation::Evaluation;
use super::settles::Settles;
use crate::limits::{LONGEST_PERIOD, STARTING};
use countersign_api::agent_card::SYNC_PERIOD_DEFAULT;
use countersign_core::refusal::Reason;
use countersign_core::time::Timestamp;
use std::time::{Duration, Instant};

/// Wait before the next evaluation of an AgentCard whose agent comes up, whose `EndpointSlice`s disagree with Pods, whose
/// fetch failed for the first time, or whose loss of trust was just written to status.
pub const SHORTEST_PERIOD: Duration = Duration::from_secs(1);

/// True while a card without a verdict is as new as the workload and the Service that it is about: they are usually
/// applied together, and a verdict about half of them would be followed by another one at once.
pub fn is_starting(card: &IndexedCard, evaluation: &Evaluation, now: Timestamp) -> bool {
    let awaited = [
        Reason::WorkloadNotFound,
        Reason::NotAgentWorkload,
        Reason::WorkloadNotReady,
        Reason::ProtocolMissing,
        Reason::ServiceNotFound,
    ];
    // A clock that differs from that of the API server gives no time at all.
    let age = u64::try_from(now.since(card.created)).ok().map(Duration::from_secs);
    evaluation.result.reason().is_some_and(|reason| awaited.contains(&reason))
        && age.is_some_and(|age| age < STARTING)
        && card.status.read().verdict.is_none()
}

/// True while the last proof may stand although the agent cannot be evaluated, for a cause that settles: slices and Pods
/// disagree for a moment whenever a Pod ends. Each cause has its own time, which ends with the next evaluation alone.
pub fn may_settle(last: &Evaluation, settles: Settles, now: Timestamp, instant: Instant) -> bool {
    let proof = last.result.outcome.as_ref();
    let since = last.pending.get(&settles);
    since.is_none_or(|since| instant.saturating_duration_since(*since) < settles.within())
        && proof.is_ok_and(|proof| now < proof.valid_until)
}

/// Returns the time until the next evaluation of a card: its own period, or half of the time for which the proof still holds
/// if that is less, because the agent signs again before the proof ends. A card that could not be fetched is fetched
/// again after as long as fetches have failed so far, at least 1 s and at most its period: a Pod is ready before its
/// Service leads to it. An API server that does not answer is asked again likewise, and once its time is over.
pub fn next_evaluation(
    card: &IndexedCard,
    evaluation: &Evaluation,
    shortest: Duration,
    now: Timestamp,
    instant: Instant,
) -> Duration {
    let asked = card.spec.sync_period().unwrap_or(SYNC_PERIOD_DEFAULT);
    let asked = asked.clamp(shortest, LONGEST_PERIOD.max(shortest));
    if let Some(since) = evaluation.pending.get(&Settles::Later) {
        let lasts = instant.saturating_duration_since(*since);
        return lasts.min(Settles::Later.within().saturating_sub(lasts)).min(asked).max(SHORTEST_PERIOD);
    }
    if !evaluation.pending.is_empty() {
        return SHORTEST_PERIOD;
    }
    match &evaluation.result.outcome {
        // What counts by its witness has outlived its certificate, and ends by the clock.
        Ok(proof) if !proof.accepted.is_live() => asked,
        Ok(proof) => asked.min(before_the_end(proof.valid_until.since(now), shortest)),
        Err(_) => evaluation
            .failing
            .map_or(asked, |since| instant.saturating_duration_since(since).max(SHORTEST_PERIOD).min(asked)),
    }
}

/// Half of the seconds that a proof lasts, but no less than the shortest period.
fn before_the_end(left: i64, shortest: Duration) -> Duration {
    let half = u64::try_from(left).unwrap_or(0).checked_div(2).unwrap_or(0);
    Duration::from_secs(half).max(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::card_evaluation::CardEvaluation;
    use crate::agent_card::result::{Proof, VerificationResult};
    use countersign_core::refusal::Refusal;
    use countersign_core::time::Seconds;
    use serde_json::json;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_unix(1_795_219_200);

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn instant() -> Instant {
        Instant::now()
    }

    fn card(period: &str, age: u32, verdict: bool) -> IndexedCard {
        let verdict = verdict.then(|| json!({ "verdict": { "outcome": "verified" } }));
        let object = json!({
            "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
            "metadata": { "name": "card", "namespace": "team", "uid": "uid-1", "resourceVersion": "1",
                "creationTimestamp": "2026-11-21T00:00:00Z" },
            "spec": { "syncPeriod": period }, "status": verdict,
        });
        let read = IndexedCard::of(serde_json::from_value(object).unwrap()).unwrap();
        IndexedCard { created: NOW.minus(Seconds::new(age)), ..read }
    }

    fn evaluation(outcome: Result<u32, Reason>) -> Evaluation {
        let reference = card("30s", 0, false).reference;
        let reason = outcome.err().unwrap_or(Reason::CardUnsigned);
        let mut one = CardEvaluation::refused(&reference, Refusal::new(reason, "as found"));
        if let Ok(lasts) = outcome {
            let proof = Proof::for_test(NOW.plus(Seconds::new(lasts)));
            one.result = Arc::new(VerificationResult { outcome: Ok(proof), ..(*one.result).clone() });
        }
        Evaluation::of(None, one)
    }

    #[test]
    fn a_card_is_looked_at_in_time_for_a_new_signature() {
        let seconds = |left| before_the_end(left, Duration::from_secs(5)).as_secs();
        assert_eq!([3600, 60, 11, 3, 0, -90].map(seconds), [1800, 30, 5, 5, 5, 5]);
    }

    #[test]
    fn the_next_look_follows_the_period_the_proof_and_how_long_nothing_came() {
        let at = instant();
        let ago = |seconds| at.checked_sub(Duration::from_secs(seconds));
        let shortest = Duration::from_secs(5);
        for (period, outcome, failing, pending, expected) in [
            ("30s", Ok(3600), None, None, 30),
            ("30s", Ok(20), None, None, 10),
            ("1s", Ok(3600), None, None, 5),
            ("9h", Ok(86_400), None, None, 3600),
            ("nonsense", Ok(3600), None, None, 30),
            ("30s", Err(Reason::SignatureInvalid), None, None, 30),
            ("30s", Err(Reason::FetchFailed), ago(0), None, 1),
            ("30s", Err(Reason::FetchFailed), ago(7), None, 7),
            ("30s", Err(Reason::FetchFailed), ago(700), None, 30),
            ("30s", Ok(3600), None, ago(3).map(|at| (Settles::Soon, at)), 1),
            ("30s", Ok(3600), None, ago(0).map(|at| (Settles::Later, at)), 1),
            ("30s", Ok(3600), None, ago(3).map(|at| (Settles::Later, at)), 3),
            ("30s", Ok(3600), None, ago(100).map(|at| (Settles::Later, at)), 30),
            ("9h", Ok(86_400), None, ago(100).map(|at| (Settles::Later, at)), 100),
            ("9h", Ok(86_400), None, ago(299).map(|at| (Settles::Later, at)), 1),
        ] {
            let mut evaluation = evaluation(outcome);
            (evaluation.failing, evaluation.pending) = (failing, pending.into_iter().collect());
            let next = next_evaluation(&card(period, 60, true), &evaluation, shortest, NOW, at);
            assert_eq!(next.as_secs(), expected, "{period} {outcome:?} {failing:?}");
        }
    }

    #[test]
    fn a_new_agent_gets_a_moment_and_one_with_a_verdict_or_another_fault_gets_none() {
        for (age, verdict, reason, expected) in [
            (0, false, Reason::ServiceNotFound, true),
            (4, false, Reason::WorkloadNotReady, true),
            (5, false, Reason::WorkloadNotReady, false),
            (0, true, Reason::WorkloadNotReady, false),
            (0, false, Reason::SignatureInvalid, false),
        ] {
            let card = card("30s", age, verdict);
            assert_eq!(is_starting(&card, &evaluation(Err(reason)), NOW), expected, "{age} {reason:?}");
        }
        // Made after now, by the API server's clock.
        let early = IndexedCard { created: NOW.plus(Seconds::new(1)), ..card("30s", 0, false) };
        assert!(!is_starting(&early, &evaluation(Err(Reason::ServiceNotFound)), NOW));
    }

    #[test]
    fn a_proof_stands_while_a_cause_settles_and_no_longer_than_itself() {
        let at = instant();
        let ago = |seconds| at.checked_sub(Duration::from_secs(seconds));
        for (outcome, pending, soon, later) in [
            (Ok(60), [None, None], true, true),
            (Ok(60), [ago(9), None], true, true),
            (Ok(60), [ago(10), None], false, true),
            // An API server that was away for minutes takes no time from slices that disagree then.
            (Ok(60), [None, ago(299)], true, true),
            (Ok(60), [ago(10), ago(299)], false, true),
            (Ok(60), [ago(9), ago(300)], true, false),
            (Ok(0), [None, None], false, false),
            (Err(Reason::SignatureInvalid), [None, None], false, false),
        ] {
            let mut last = evaluation(outcome);
            let since = [Settles::Soon, Settles::Later].into_iter().zip(pending);
            last.pending = since.filter_map(|(settles, at)| Some((settles, at?))).collect();
            let found = [Settles::Soon, Settles::Later].map(|settles| may_settle(&last, settles, NOW, at));
            assert_eq!(found, [soon, later], "{outcome:?} {pending:?}");
            let again =
                last.clone().pending_since(Settles::Soon, at, Refusal::new(Reason::FetchFailed, "")).pending;
            assert_eq!(again.get(&Settles::Soon).copied(), pending[0].or(Some(at)), "{pending:?}");
        }
    }
}
