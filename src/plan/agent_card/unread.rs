//! What an event says of a verdict that stands although something was not read this time.

use super::card_evaluation::is_unreachable;
use super::evaluation::Evaluation;
use super::settles::Settles;
use super::transition::Transition;
use crate::input::Kept;
use crate::limits::SETTLING;
use countersign_api::agent_card::{AgentCardStatus, ConditionReason, ConditionType, Outcome};
use countersign_core::refusal::Reason;
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::time::Instant;

/// Clause about the verdict that status shows: what it is, since when, and until when at the latest; `None` before the first.
fn shown_verdict(status: &AgentCardStatus) -> Option<String> {
    let verdict = status.verdict.as_ref()?;
    let told = match (verdict.outcome, &verdict.reason) {
        (Outcome::Verified, _) => "verified".to_owned(),
        (Outcome::Refused, Some(reason)) => format!("refused ({reason})"),
        (Outcome::Refused, None) => "refused".to_owned(),
    };
    let is_verified = |one: &&Condition| one.type_ == ConditionType::Verified.as_str();
    let since = status.conditions.iter().find(is_verified).map(|one| seconds(&one.last_transition_time));
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let end = verdict.not_after.as_ref().filter(|_| verdict.outcome == Outcome::Verified);
    let until = end.map(|end| format!(", until {} at the latest", seconds(end))).unwrap_or_default();
    Some(format!("status shows {told}{since}{until}"))
}

/// That clause as the end of a sentence; empty before the first verdict.
pub(crate) fn and_shown(status: &Kept<AgentCardStatus>) -> String {
    shown_verdict(&status.read()).map(|shown| format!("; {shown}")).unwrap_or_default()
}

/// Time of the API in whole seconds.
fn seconds(time: &Time) -> Timestamp {
    Timestamp::from_unix(time.0.as_second())
}

/// True for reasons that say nothing about the card: it, or the bundle of its signer, was not read.
const fn is_unread(reason: Reason) -> bool {
    is_unreachable(reason)
        || matches!(
            reason,
            Reason::BundleMalformed
                | Reason::BundleRollback
                | Reason::BundleStale
                | Reason::TrustDomainUnknown
        )
}

/// What was found, and since when the verdict stood that ends with it, if that was verified and nothing was read against it.
pub(super) fn with_ended(found: String, reason: Option<&str>, before: &AgentCardStatus) -> String {
    let is_unread = reason.and_then(Reason::from_code).is_some_and(is_unread);
    let was_verified = before.verdict.as_ref().is_some_and(|last| last.outcome == Outcome::Verified);
    match shown_verdict(before).filter(|_| is_unread && was_verified) {
        Some(shown) => format!("{}; until now {shown}", found.trim_end_matches('.')),
        None => found,
    }
}

/// Event about an AgentCard whose last verdict stands because the API server does not say what an evaluation needs, once
/// that has lasted for longer than a restart.
pub fn notice(evaluation: &Evaluation, status: &Kept<AgentCardStatus>, now: Instant) -> Option<Transition> {
    let since = evaluation.pending.get(&Settles::Later)?;
    let unread = evaluation.unread.as_ref()?;
    if now.saturating_duration_since(*since) < SETTLING {
        return None;
    }
    let shown = and_shown(status);
    Some(Transition::warning(
        ConditionReason::SyncFailed.as_str(),
        &format!("the card was not evaluated this time: {}{shown}", unread.message()),
        "Look into the operator's log for the error and mend the API server: without an answer for 5 minutes the card is \
         refused.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::CardRef;
    use countersign_core::refusal::Refusal;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn status(verdict: &Value) -> AgentCardStatus {
        let condition = |kind: &str, at: &str| json!({ "type": kind, "status": "True", "reason": "x", "message": "", "lastTransitionTime": at });
        serde_json::from_value(json!({ "verdict": verdict, "conditions": [
            condition("Synced", "2026-11-20T08:00:00Z"), condition("Verified", "2026-11-21T10:00:00Z") ] }))
        .unwrap()
    }

    fn verified() -> AgentCardStatus {
        status(&json!({ "outcome": "verified", "notAfter": "2026-11-21T11:00:00Z" }))
    }

    #[test]
    fn a_verdict_is_shown_with_its_time_and_its_end() {
        let refused =
            json!({ "outcome": "refused", "reason": "CardUnsigned", "notAfter": "2026-11-21T11:00:00Z" });
        for (status, says) in [
            (AgentCardStatus::default(), None),
            (
                verified(),
                Some(
                    "status shows verified since 2026-11-21T10:00:00Z, until 2026-11-21T11:00:00Z at the latest",
                ),
            ),
            (status(&refused), Some("status shows refused (CardUnsigned) since 2026-11-21T10:00:00Z")),
        ] {
            assert_eq!(shown_verdict(&status).as_deref(), says);
        }
    }

    #[test]
    fn a_verdict_that_ends_because_nothing_was_read_is_told_of_with_its_time() {
        let told = |reason: Reason, before: &AgentCardStatus| {
            with_ended("as found.".to_owned(), Some(reason.code()), before)
        };
        for reason in
            [Reason::FetchFailed, Reason::FetchTimeout, Reason::BundleStale, Reason::TrustDomainUnknown]
        {
            let found = told(reason, &verified());
            assert!(
                found.starts_with("as found; until now status shows verified since 2026-11-21T10:00:00Z"),
                "{found}"
            );
        }
        // What was read says enough, and so does a verdict that was none.
        assert_eq!(told(Reason::SignatureInvalid, &verified()), "as found.");
        assert_eq!(told(Reason::BundleEmpty, &verified()), "as found.");
        assert_eq!(told(Reason::FetchFailed, &AgentCardStatus::default()), "as found.");
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    #[test]
    fn a_verdict_that_stands_unread_is_told_of_after_a_while() {
        let (start, kept) = (Instant::now(), Kept::of(&verified()).unwrap());
        let reference = CardRef::new("weather", Some("uid-1")).unwrap();
        let unread = Refusal::new(Reason::FetchFailed, "the list of Services was not read: 503");
        let last = Evaluation::refused(&reference, None, unread.clone());
        let after = |evaluation: &Evaluation, seconds| {
            notice(evaluation, &kept, start.checked_add(Duration::from_secs(seconds)).unwrap())
        };
        let soon = last.clone().pending_since(Settles::Soon, start, unread.clone());
        let later = last.clone().pending_since(Settles::Later, start, unread);
        for (evaluation, seconds, is_told) in
            [(&last, 60, false), (&soon, 60, false), (&later, 9, false), (&later, 10, true)]
        {
            assert_eq!(after(evaluation, seconds).is_some(), is_told, "{seconds}");
        }
        let told = after(&later, 10).unwrap();
        let says = "the card was not evaluated this time: the list of Services was not read: 503; status shows verified since \
                    2026-11-21T10:00:00Z, until 2026-11-21T11:00:00Z at the latest. Look into";
        assert!(told.note().starts_with(says), "{}", told.note());
        assert_eq!(after(&later, 200), Some(told), "once, however long it lasts");
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    #[test]
    fn a_cause_behind_the_service_is_not_blamed_on_the_api_server() {
        let (start, kept) = (Instant::now(), Kept::of(&verified()).unwrap());
        let reference = CardRef::new("weather", Some("uid-1")).unwrap();
        let later = Refusal::new(Reason::FetchFailed, "the Service \"weather\" could not be read: 503");
        let soon = Refusal::new(Reason::WorkloadNotReady, "no Pod behind the Service \"weather\" is ready");
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let last = Evaluation::refused(&reference, None, later.clone())
            .pending_since(Settles::Later, at(0), later)
            .pending_since(Settles::Soon, at(12), soon);
        let told = notice(&last, &kept, at(12));
        let note = told.map(|told| told.note().to_owned()).unwrap_or_default();
        assert!(!note.contains("no Pod behind"), "{note}");
        assert!(!note.contains("mend the API server"), "{note}");
    }
}
