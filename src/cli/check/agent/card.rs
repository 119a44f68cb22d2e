//! AgentCards of the workload: verdict and enforcement.

use super::conditions::find;
use super::workload::Workload;
use crate::check::finding::Finding;
use crate::check::unread::Answer;
use countersign_api::agent_card::{AgentCard, CardVerdict, ConditionReason, ConditionType, Outcome};

const ID: &str = "agentcard";
const ENFORCED: &str = "enforced";
/// Reason of a verdict that has none, which no version of the operator writes.
const UNKNOWN: &str = "Unknown";

/// What the AgentCards of a workload say together: one that is refused refuses the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All are verified.
    Verified,
    /// At least one is refused, for these reasons.
    Refused(Vec<String>),
    /// None is judged, or there is none.
    None,
}

/// AgentCards that point at the workload.
pub(super) fn of(workload: &Workload, cards: Vec<AgentCard>) -> Vec<AgentCard> {
    let points_at = |card: &AgentCard| {
        card.spec
            .target_ref
            .as_ref()
            .is_some_and(|target| target.kind == workload.kind.as_str() && target.name == workload.name)
    };
    cards.into_iter().filter(points_at).collect()
}

fn verdict_of(card: &AgentCard) -> Option<&CardVerdict> {
    card.status.as_ref()?.verdict.as_ref()
}

fn reason_of(verdict: &CardVerdict) -> &str {
    verdict.reason.as_deref().unwrap_or(UNKNOWN)
}

/// The verdict over all cards.
pub(super) fn verdict(cards: &[AgentCard]) -> Verdict {
    let verdicts: Vec<&CardVerdict> = cards.iter().filter_map(verdict_of).collect();
    let refused: Vec<String> = verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::Refused)
        .map(|verdict| reason_of(verdict).to_owned())
        .collect();
    if !refused.is_empty() {
        Verdict::Refused(refused)
    } else if verdicts.is_empty() {
        Verdict::None
    } else {
        Verdict::Verified
    }
}

/// True if a card says that nothing is enforced in its namespace.
pub(super) fn is_audited(cards: &[AgentCard]) -> bool {
    cards.iter().any(|card| {
        let condition = card
            .status
            .as_ref()
            .and_then(|status| find(&status.conditions, ConditionType::Enforced.as_str()));
        condition.is_some_and(|condition| condition.reason == ConditionReason::AuditMode.as_str())
    })
}

/// Judges each AgentCard of the workload.
pub(super) fn judge_cards(workload: &Workload, answer: &Answer<Vec<AgentCard>>) -> Vec<Finding> {
    let what = workload.shown();
    let cards = match answer {
        Ok(cards) => cards,
        Err(unread) => {
            let absent = || {
                let fix = "apply the definitions: `countersign crd | kubectl apply --server-side -f -`";
                Finding::fail(ID, &what, "has no AgentCard: the cluster does not serve the kind", fix)
            };
            return vec![Finding::unread(ID, &what, unread, absent)];
        }
    };
    if cards.is_empty() {
        let fix = "wait a moment: the operator makes one for a labelled workload; `countersign check` says whether it runs";
        return vec![Finding::fail(ID, &what, "has no AgentCard", fix)];
    }
    cards.iter().flat_map(|card| [judge_verdict(card), judge_enforced(card)]).collect()
}

fn judge_verdict(card: &AgentCard) -> Finding {
    let what = format!("AgentCard {}", card.metadata.name.as_deref().unwrap_or_default());
    let Some(verdict) = verdict_of(card) else {
        let fix = "wait a moment; if it stays, `countersign check` says whether the operator runs";
        return Finding::fail(ID, &what, "has no verdict yet", fix);
    };
    if verdict.outcome == Outcome::Verified {
        let signer = card.status.as_ref().and_then(|status| status.signature_spiffe_id.as_deref());
        let until = verdict.not_after.as_ref().map(|at| format!(" until {}", at.0));
        let found = format!(
            "is verified: signed by {}{}",
            signer.unwrap_or("its workload"),
            until.unwrap_or_default()
        );
        return Finding::ok(ID, &what, &found);
    }
    let reason = reason_of(verdict);
    let found = format!("is refused: {reason}: {}", verdict.message.as_deref().unwrap_or_default());
    let explain = format!("`countersign explain {reason}` says more");
    let fix = match &verdict.fix {
        Some(fix) => format!("{}; {explain}", fix.trim_end_matches('.')),
        None => explain,
    };
    Finding::fail(ID, &what, &found, &fix)
}

fn judge_enforced(card: &AgentCard) -> Finding {
    let what = format!("AgentCard {}", card.metadata.name.as_deref().unwrap_or_default());
    let conditions = card.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let Some(enforced) = find(conditions, ConditionType::Enforced.as_str()) else {
        return Finding::skipped(ENFORCED, &what, "has no condition Enforced yet");
    };
    let found = format!("{}: {}", enforced.reason, enforced.message);
    if enforced.status == "True" {
        return Finding::ok(ENFORCED, &what, "is enforced");
    }
    if enforced.reason == ConditionReason::AuditMode.as_str() {
        let fix =
            "label the namespace countersign.dev/mode=enforce, or set enforceNetworkPolicies in the chart";
        return Finding::warn(ENFORCED, &what, &format!("is shown and closes nothing: {found}"), fix);
    }
    let fix = format!("`countersign explain {}` says more", enforced.reason);
    Finding::fail(ENFORCED, &what, &format!("is not enforced: {found}"), &fix)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::workload::tests::weather;
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::{Value, json};

    /// An AgentCard of the workload `target` with a verdict and a condition Enforced.
    pub(in crate::check::agent) fn card(
        target: &str,
        verdict: &Value,
        enforced: Option<(&str, &str)>,
    ) -> AgentCard {
        let conditions: Vec<Value> = enforced
            .iter()
            .map(|(status, reason)| {
                json!({ "type": "Enforced", "status": status, "reason": reason, "message": "m",
                    "lastTransitionTime": "2026-11-30T08:27:05Z" })
            })
            .collect();
        let object = json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
            "metadata": { "name": "weather" },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target } },
            "status": { "verdict": verdict, "conditions": conditions } });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_card_is_verified_and_enforced() {
        let verified = json!({ "outcome": "verified" });
        let refused = json!({ "outcome": "refused", "reason": "SignatureInvalid", "message": "m\n", "fix": "sign it." });
        for (cards, expected) in [
            (vec![card("weather", &verified, Some(("True", "PolicyApplied")))], [Status::Ok, Status::Ok]),
            (vec![card("weather", &verified, Some(("False", "AuditMode")))], [Status::Ok, Status::Warn]),
            (vec![card("weather", &refused, Some(("True", "PolicyApplied")))], [Status::Fail, Status::Ok]),
            (vec![card("weather", &verified, Some(("False", "PolicyRejected")))], [Status::Ok, Status::Fail]),
            (vec![card("weather", &Value::Null, None)], [Status::Fail, Status::Skipped]),
        ] {
            let judged = judge_cards(&weather(&json!({})), &Ok(cards));
            assert_eq!([judged[0].status, judged[1].status], expected, "{judged:?}");
        }
        let judged = judge_cards(&weather(&json!({})), &Ok(vec![card("weather", &refused, None)]));
        assert_eq!(judged[0].found, "is refused: SignatureInvalid: m\\u{a}");
        assert_eq!(
            judged[0].fix.as_deref(),
            Some("sign it; `countersign explain SignatureInvalid` says more")
        );
        for (answer, status) in [
            (Ok(vec![]), Status::Fail),
            (Err(Unread::Absent), Status::Fail),
            (Err(Unread::Forbidden("list".to_owned())), Status::Skipped),
        ] {
            assert_eq!(judge_cards(&weather(&json!({})), &answer)[0].status, status);
        }
    }

    #[test]
    fn one_card_that_is_refused_refuses_the_workload() {
        let good = card("weather", &json!({ "outcome": "verified" }), None);
        let bad = card("weather", &json!({ "outcome": "refused", "reason": "FetchFailed" }), None);
        let none = card("weather", &Value::Null, None);
        assert_eq!(verdict(&[good.clone(), none.clone()]), Verdict::Verified);
        assert_eq!(verdict(&[good, bad]), Verdict::Refused(vec!["FetchFailed".to_owned()]));
        assert_eq!(verdict(std::slice::from_ref(&none)), Verdict::None);
        assert_eq!(of(&weather(&json!({})), vec![card("other", &json!(null), None), none]).len(), 1);
    }
}
