//! One turn of an AgentCard's status: from one observation to the status and the Kubernetes event to write, or to the
//! finalizers to remove. Nothing that an agent sends can make the write fail: what status shows of a card is bounded.

use super::card::IndexedCard;
use super::conditions::is_ready_in;
use super::enforcement::Enforcement;
use super::evaluation::Evaluation;
use super::status::plan_status;
use super::status_input::StatusInput;
use super::transition::Transition;
use super::unread::with_ended;
use crate::Mode;
use crate::input::workload::Workload;
use crate::limits::LONGEST_UNSEEN;
use countersign_api::ObjectRef;
use countersign_api::agent_card::{AgentCardData, AgentCardStatus, CardVerdict, ConditionType, Outcome};
use countersign_api::keys::Family;
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::time::Duration;

/// Finalizers of other operators. A deleted AgentCard that has one stays for ever once those operators are uninstalled.
const FOREIGN_FINALIZERS: [&str; 2] =
    ["agentcard.kagenti.dev/finalizer", "agentcard.kagenti.dev/network-policy"];

/// Input of one turn of an AgentCard's status: the objects as last observed, the enforcement mode and the time.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Namespace and name of the AgentCard.
    pub object: &'a ObjectRef,
    /// AgentCard as last read; `None` if it was deleted.
    pub card: Option<&'a IndexedCard>,
    /// Last evaluation of the AgentCard; `None` before the first one.
    pub evaluation: Option<&'a Evaluation>,
    /// Workload that was evaluated; `None` if it was not found or was deleted.
    pub workload: Option<&'a Workload>,
    /// Enforcement mode of the namespace; a refused card stops traffic only under [`Mode::Enforce`].
    pub mode: Mode,
    /// Enforcement of the evaluation's outcome; `None` until a turn of the workload has seen the outcome.
    pub enforcement: Option<&'a Enforcement>,
    /// Time for which the status has waited for that turn.
    pub unseen_for: Duration,
    /// Time of the turn.
    pub now: Timestamp,
}

/// Writes to the API server that one turn of an AgentCard's status calls for.
#[derive(Clone, Debug, PartialEq)]
pub enum StatusPlan {
    /// No write, because the AgentCard was not evaluated yet, or because a turn of the workload, which is due, decides
    /// whether a card that has become verified is enforced.
    Wait,
    /// No write for this time, because the turn of the workload that closes is due, and has the status written as well.
    Later(Duration),
    /// No status, because the AgentCard was deleted or is being deleted: its evaluation is dropped. The list is the
    /// finalizers to leave on the AgentCard; `None` if none is to be removed.
    Forget(Option<Vec<String>>),
    /// Write of the status, and of an event if the outcome changed.
    Write(Box<StatusWrite>),
}

/// Status of an AgentCard to write, with its difference from the stored one.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// New status without its member `card`.
    pub status: AgentCardStatus,
    /// True if `status` differs from the stored status; false in most turns, which then write nothing.
    pub differs: bool,
    /// Copy of the card for the member `card` of status; `None` if status shows this content already.
    pub card: Option<Box<AgentCardData>>,
    /// Change of the outcome, to be reported as a Kubernetes event once the status is written; `None` without a change.
    pub transition: Option<Transition>,
}

/// Plans one turn of a status.
pub fn plan_status_turn(observed: Observed<'_>) -> StatusPlan {
    let Some(card) = observed.card else { return StatusPlan::Forget(None) };
    if card.is_leaving {
        return StatusPlan::Forget(remaining_finalizers(card));
    }
    // An AgentCard of the same name that was made again is another one.
    match observed.evaluation.filter(|last| last.card.reference() == &card.reference) {
        Some(evaluation) if is_unseen(observed, card, evaluation) => {
            let left = LONGEST_UNSEEN.saturating_sub(observed.unseen_for);
            match &evaluation.result.outcome {
                Ok(_) => StatusPlan::Wait,
                Err(_) if !left.is_zero() => StatusPlan::Later(left),
                Err(_) => StatusPlan::Write(Box::new(plan_write(observed, card, evaluation))),
            }
        }
        Some(evaluation) => StatusPlan::Write(Box::new(plan_write(observed, card, evaluation))),
        None => StatusPlan::Wait,
    }
}

/// True for an outcome that status does not show yet, about this workload and with the condition `Enforced`, while no turn of
/// the workload has seen it. That turn is enqueued with the evaluation and has the status written, whatever comes of it.
fn is_unseen(observed: Observed<'_>, card: &IndexedCard, evaluation: &Evaluation) -> bool {
    let tells = |condition: &Condition| condition.type_ == ConditionType::Enforced.as_str();
    let is_verified = evaluation.result.outcome.is_ok();
    let is_same = |verdict: &CardVerdict| (verdict.outcome == Outcome::Verified) == is_verified;
    // Asked last: it reads the status.
    let is_shown = || {
        let status = card.status.read();
        status.verdict.as_ref().is_some_and(is_same)
            && status.target_ref.as_ref() == card.target()
            && status.conditions.iter().any(tells)
    };
    let is_held = |workload: &Workload| workload.is_agent() && (is_verified || !workload.is_leaving);
    observed.mode == Mode::Enforce
        && observed.enforcement.is_none()
        && observed.workload.is_some_and(is_held)
        && evaluation.workload == card.workload(&observed.object.namespace)
        && !is_shown()
}

fn remaining_finalizers(card: &IndexedCard) -> Option<Vec<String>> {
    let is_foreign = |name: &&String| FOREIGN_FINALIZERS.contains(&name.as_str());
    let rest: Vec<String> = card.finalizers.iter().filter(|name| !is_foreign(name)).cloned().collect();
    (rest.len() < card.finalizers.len()).then_some(rest)
}

fn plan_write(observed: Observed<'_>, card: &IndexedCard, evaluation: &Evaluation) -> StatusWrite {
    let Observed { object, mode, enforcement, now, .. } = observed;
    let workload = observed.workload.filter(|workload| workload.is_agent() && !workload.is_leaving);
    let points_at = card.workload(&object.namespace);
    // A card may point elsewhere by now than at the workload that was evaluated.
    let speaks_of_it = evaluation.workload.is_none() || evaluation.workload == points_at;
    let target = card.target().filter(|_| speaks_of_it);
    let before = card.status.read();
    let written = before.verdict.as_ref().and_then(CardVerdict::history).and_then(Result::ok);
    let history = evaluation.history.as_deref().filter(|now| {
        // When the same content was signed again is not worth a write.
        written.as_ref().is_none_or(|written| !now.restates(written))
    });
    let about = StatusInput {
        generation: evaluation.generation,
        name: target.map_or(object.name.as_str(), |target| target.name.as_str()),
        target: workload.and(target),
        protocol: workload.and_then(|workload| workload.protocol.as_deref()),
        mode,
        enforcement,
        period_problem: card.spec.sync_period().err(),
        has_binding: card.spec.identity_binding.is_some(),
        history: history.or(written.as_ref()),
        now,
    };
    let status = plan_status(&before, &evaluation.result, about);
    let is_shown = card.has_content && before.card_id == status.card_id;
    let content = evaluation.result.content.as_ref().filter(|_| !is_shown);
    StatusWrite {
        differs: status != before,
        card: content.and_then(|content| content.data.clone()),
        transition: transition(&before, &status, workload),
        status,
    }
}

/// Returns the transition from status `before` to `after`; `None` if neither the outcome nor the reason of a refusal
/// changed. A refusal says what to do.
fn transition(
    before: &AgentCardStatus,
    after: &AgentCardStatus,
    workload: Option<&Workload>,
) -> Option<Transition> {
    let outcome = |status: &AgentCardStatus| {
        status.verdict.as_ref().map(|verdict| (verdict.outcome, verdict.reason.clone()))
    };
    let (outcome, reason) = outcome(after).filter(|now| outcome(before).as_ref() != Some(now))?;
    let verdict = after.verdict.as_ref()?;
    Some(match outcome {
        Outcome::Verified => {
            let ready = if is_ready_in(&after.conditions) { "ready to serve" } else { "not ready" };
            let note = name_family(format!("the card is verified and {ready}"), workload);
            Transition::normal("SignatureEvaluated", &note)
        }
        Outcome::Refused => {
            let found = with_ended(verdict.message.clone().unwrap_or_default(), reason.as_deref(), before);
            let found = name_family(found, workload);
            let fix = verdict.fix.as_deref().unwrap_or_default();
            Transition::warning(reason.as_deref().unwrap_or("SignatureFailed"), &found, fix)
        }
    })
}

/// Says in an event that the workload is enrolled by the newer names, which tools that know the older ones alone pass over.
fn name_family(told: String, workload: Option<&Workload>) -> String {
    match workload.and_then(|workload| workload.family).filter(|by| *by != Family::Kagenti) {
        Some(family) => format!("{told} (enrolled by the label {})", family.type_label()),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::card_evaluation::CardEvaluation;
    use crate::agent_card::result::{CardContent, Proof, VerificationResult};
    use crate::input::Kept;
    use crate::input::workload::{WorkloadKind, WorkloadRef};
    use countersign_api::agent_card::card_data;
    use countersign_core::encoding::sha256;
    use countersign_core::refusal::{Reason, Refusal};
    use countersign_core::time::Seconds;
    use serde_json::{Value, json};
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_unix(1_795_219_200);

    fn kept(status: &AgentCardStatus) -> Kept<AgentCardStatus> {
        Kept::of(status).unwrap()
    }

    fn object() -> ObjectRef {
        ObjectRef::new("team", "weather-card")
    }

    fn stored(uid: &str, finalizers: &[&str], is_leaving: bool) -> IndexedCard {
        let deleted = is_leaving.then_some("2026-11-21T00:00:00Z");
        let object = json!({
            "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
            "metadata": { "name": "weather-card", "namespace": "team", "uid": uid, "resourceVersion": "1",
                "creationTimestamp": "2026-11-20T00:00:00Z", "deletionTimestamp": deleted,
                "finalizers": finalizers },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } },
        });
        IndexedCard::of(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn evaluation(outcome: Result<u32, Reason>) -> Evaluation {
        let reference = stored("uid-1", &[], false).reference;
        let reason = outcome.err().unwrap_or(Reason::CardUnsigned);
        let mut one = CardEvaluation::refused(&reference, Refusal::new(reason, "as found"));
        if let Ok(lasts) = outcome {
            let card = include_bytes!("../../../tests/fixtures/doc/card.json");
            let policy = countersign_core::policy::Policy::new(
                countersign_core::spiffe::TrustDomain::parse("example.org").unwrap(),
            );
            let card = countersign_core::card::Card::parse(card.to_vec(), policy.numbers).unwrap();
            let data = Some(Box::new(card_data(card.document())));
            one.result = Arc::new(VerificationResult {
                content: Some(CardContent { digest: sha256(b"card"), data }),
                outcome: Ok(Proof::for_test(NOW.plus(Seconds::new(lasts)))),
                ..(*one.result).clone()
            });
        }
        let workload =
            WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", "weather") };
        Evaluation::of(Some(workload), one)
    }

    fn workload() -> Workload {
        let object = json!({
            "metadata": { "name": "weather", "namespace": "team", "uid": "u",
                "labels": { "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" } },
            "spec": { "selector": {}, "template": {} },
        });
        Workload::of_deployment(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn plan(
        card: Option<&IndexedCard>,
        evaluation: Option<&Evaluation>,
        workload: Option<&Workload>,
    ) -> StatusPlan {
        plan_status_turn(observed(&object(), (card, evaluation, workload), Some(&Enforcement::Open)))
    }

    /// Observation in a namespace that is enforced, of a status that waits no longer.
    fn observed<'a>(
        object: &'a ObjectRef,
        (card, evaluation, workload): (Option<&'a IndexedCard>, Option<&'a Evaluation>, Option<&'a Workload>),
        enforcement: Option<&'a Enforcement>,
    ) -> Observed<'a> {
        let (mode, unseen_for) = (Mode::Enforce, LONGEST_UNSEEN);
        Observed { object, card, evaluation, workload, mode, enforcement, unseen_for, now: NOW }
    }

    fn write(card: &IndexedCard, evaluation: &Evaluation, workload: Option<&Workload>) -> StatusWrite {
        match plan(Some(card), Some(evaluation), workload) {
            StatusPlan::Write(write) => *write,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_card_that_goes_is_let_go_whatever_other_operators_left_on_it() {
        let [ours, policy] = FOREIGN_FINALIZERS;
        let verified = evaluation(Ok(60));
        for (finalizers, rest) in [
            (vec![], None),
            (vec!["somebody/else"], None),
            (vec![ours], Some(vec![])),
            (vec![ours, "somebody/else", policy], Some(vec!["somebody/else".to_owned()])),
        ] {
            let card = stored("uid-1", &finalizers, true);
            assert_eq!(plan(Some(&card), Some(&verified), None), StatusPlan::Forget(rest));
            // While it stays, so do they.
            let card = stored("uid-1", &finalizers, false);
            assert!(matches!(plan(Some(&card), Some(&verified), None), StatusPlan::Write(_)));
        }
        assert_eq!(plan(None, Some(&verified), None), StatusPlan::Forget(None));
    }

    #[test]
    fn a_card_that_was_made_again_waits_for_an_evaluation_of_its_own() {
        assert_eq!(
            plan(Some(&stored("uid-2", &[], false)), Some(&evaluation(Ok(60))), None),
            StatusPlan::Wait
        );
        assert_eq!(plan(Some(&stored("uid-1", &[], false)), None, None), StatusPlan::Wait);
    }

    #[test]
    fn a_period_that_cannot_be_read_is_told_in_the_condition_that_it_is_about() {
        let told = |period: &str| {
            let mut card = stored("uid-1", &[], false);
            Arc::make_mut(&mut card.spec).sync_period = period.to_owned();
            let status = write(&card, &evaluation(Ok(60)), Some(&workload())).status;
            let synced = status.conditions.into_iter().find(|condition| condition.type_ == "Synced").unwrap();
            (synced.status, synced.message)
        };
        let all = "Successfully fetched agent card for weather";
        assert_eq!(told("30s"), ("True".to_owned(), all.to_owned()));
        let unread =
            format!("{all}; spec.syncPeriod is not a duration such as 30s, 5m or 1h30m, so 30s counts");
        assert_eq!(told("5 minutes"), ("True".to_owned(), unread));
    }

    #[test]
    fn an_event_says_that_the_newer_label_enrolled() {
        let told = |family| {
            let workload = Workload { family, ..workload() };
            let card = stored("uid-1", &[], false);
            write(&card, &evaluation(Ok(60)), Some(&workload)).transition.unwrap().note().to_owned()
        };
        let (older, newer) = (told(Some(Family::Kagenti)), told(Some(Family::Rossoctl)));
        assert_eq!(newer, format!("{older} (enrolled by the label rossoctl.io/type)"));
    }

    #[test]
    fn status_is_written_once_and_told_of_when_the_outcome_changes() {
        let (workload, verified) = (workload(), evaluation(Ok(60)));
        let mut card = stored("uid-1", &[], false);
        let first = write(&card, &verified, Some(&workload));
        assert!(first.differs && first.card.is_some());
        let told = first.transition.unwrap();
        assert_eq!((told.reason(), told.is_warning()), ("SignatureEvaluated", false));
        // As it is stored, the same evaluation calls for nothing.
        card.status = kept(&first.status);
        card.has_content = true;
        let again = write(&card, &verified, Some(&workload));
        assert_eq!((again.differs, again.card, again.transition), (false, None, None));
        // A refusal is told of with its reason, and then no more.
        let refused = evaluation(Err(Reason::SignatureInvalid));
        let write_of = |card: &IndexedCard| write(card, &refused, Some(&workload));
        let told = write_of(&card).transition.unwrap();
        assert_eq!((told.reason(), told.is_warning()), (Reason::SignatureInvalid.code(), true));
        assert_eq!(told.note(), format!("as found. {}", Reason::SignatureInvalid.fix()));
        card.status = kept(&write_of(&card).status);
        assert!(!write_of(&card).differs && write_of(&card).transition.is_none());
    }

    #[test]
    fn the_target_is_named_only_while_it_is_the_agent_that_was_evaluated() {
        let (card, verified, workload) = (stored("uid-1", &[], false), evaluation(Ok(60)), workload());
        let target = |card: &IndexedCard, workload: Option<&Workload>| -> Value {
            serde_json::to_value(write(card, &verified, workload).status).unwrap()["targetRef"]["name"]
                .clone()
        };
        assert_eq!(target(&card, Some(&workload)), "weather");
        assert_eq!(target(&card, None), Value::Null);
        assert_eq!(target(&card, Some(&Workload { is_leaving: true, ..workload.clone() })), Value::Null);
        assert_eq!(target(&card, Some(&Workload { family: None, ..workload.clone() })), Value::Null);
        let mut elsewhere = card;
        let mut spec = (*elsewhere.spec).clone();
        spec.target_ref.as_mut().unwrap().name = "maps".to_owned();
        elsewhere.spec = Arc::new(spec);
        assert_eq!(target(&elsewhere, Some(&workload)), Value::Null);
    }

    /// Condition of a planned status: its status and reason.
    fn shown(status: &AgentCardStatus, kind: &str) -> (String, String) {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        (found.status.clone(), found.reason.clone())
    }

    #[test]
    fn a_verdict_that_nothing_enforces_is_not_ready() {
        let (workload, object, card) = (workload(), object(), stored("uid-1", &[], false));
        let wait = Enforcement::Waiting("the NetworkPolicies".to_owned());
        let no = Enforcement::Rejected("\"denied\"".to_owned());
        let bad = Enforcement::Invalid("no selector".to_owned());
        let unlabelled = Enforcement::Unlabelled(Family::Rossoctl);
        let verified = [
            (Mode::Enforce, &Enforcement::Open, "True PolicyApplied", "True ReadyToServe"),
            (Mode::Enforce, &Enforcement::HostNetwork, "False HostNetwork", "False NotEnforced"),
            (Mode::Enforce, &unlabelled, "False PodsNotLabelled", "False NotEnforced"),
            (Mode::Enforce, &Enforcement::Unmarked, "False PodsNotMarked", "False NotEnforced"),
            (Mode::Enforce, &Enforcement::Closed, "False OtherCardRefused", "False NotEnforced"),
            (Mode::Enforce, &Enforcement::Undecided, "False PolicyPending", "False NotEnforced"),
            (Mode::Enforce, &wait, "False PolicyPending", "False NotEnforced"),
            (Mode::Enforce, &no, "False PolicyRejected", "False NotEnforced"),
            (Mode::Enforce, &bad, "False WorkloadInvalid", "False NotEnforced"),
            (Mode::Audit, &Enforcement::Audit, "False AuditMode", "True ReadyToServe"),
            // The mode counts at once; the turn of the workload follows.
            (Mode::Audit, &Enforcement::Open, "False AuditMode", "True ReadyToServe"),
            (Mode::Enforce, &Enforcement::Audit, "False PolicyPending", "False NotEnforced"),
        ];
        let refused = [
            (Mode::Enforce, &Enforcement::Closed, "True PolicyApplied", "False SyncFailed"),
            (Mode::Enforce, &no, "False PolicyRejected", "False SyncFailed"),
            (Mode::Enforce, &Enforcement::HostNetwork, "False HostNetwork", "False SyncFailed"),
            (Mode::Audit, &Enforcement::Audit, "False AuditMode", "False SyncFailed"),
        ];
        let words = |pair: (String, String)| format!("{} {}", pair.0, pair.1);
        for (outcome, cases) in
            [(Ok(60), verified.as_slice()), (Err(Reason::SignatureInvalid), refused.as_slice())]
        {
            let evaluation = evaluation(outcome);
            for (mode, enforcement, enforced, ready) in cases {
                let about = (Some(&card), Some(&evaluation), Some(&workload));
                let plan =
                    plan_status_turn(Observed { mode: *mode, ..observed(&object, about, Some(enforcement)) });
                let StatusPlan::Write(write) = plan else { panic!("{plan:?}") };
                let of = |kind| words(shown(&write.status, kind));
                assert_eq!((of("Enforced").as_str(), of("Ready").as_str()), (*enforced, *ready), "{mode:?}");
            }
        }
        // The label is named by the family that enrols the workload.
        for family in Family::ALL {
            let unlabelled = Enforcement::Unlabelled(family);
            let (_, _, message) = super::super::enforcement::condition_of(&unlabelled, true);
            assert!(message.contains(&format!("the label {}: agent", family.type_label())), "{message}");
        }
        // Without an agent workload there is nobody to hold.
        let gone = write(&card, &evaluation(Err(Reason::WorkloadNotFound)), None).status;
        assert_eq!(words(shown(&gone, "Enforced")), "False AgentNotFound");
    }

    #[test]
    fn what_becomes_verified_is_shown_once_its_workload_was_planned_and_a_loss_of_trust_after_a_while() {
        let (workload, object) = (workload(), object());
        let plan_after = |unseen_for, card: &IndexedCard, evaluation: &Evaluation| {
            let about = (Some(card), Some(evaluation), Some(&workload));
            plan_status_turn(Observed { unseen_for, ..observed(&object, about, None) })
        };
        let plan = |card: &IndexedCard, evaluation: &Evaluation| plan_after(LONGEST_UNSEEN, card, evaluation);
        let (verified, refused) = (evaluation(Ok(60)), evaluation(Err(Reason::SignatureInvalid)));
        let mut card = stored("uid-1", &[], false);
        assert_eq!(plan(&card, &verified), StatusPlan::Wait);
        assert!(matches!(plan(&card, &refused), StatusPlan::Write(_)));
        let second = Duration::from_secs(1);
        assert_eq!(plan_after(second, &card, &refused), StatusPlan::Later(Duration::from_secs(4)));
        // After a restart the status stays as it is until the workload was planned.
        card.status = kept(&write(&card, &verified, Some(&workload)).status);
        card.has_content = true;
        let StatusPlan::Write(write) = plan(&card, &verified) else { panic!() };
        assert!(!write.differs);
        assert_eq!(shown(&write.status, "Enforced").0, "True");
        assert_eq!(plan_after(Duration::ZERO, &card, &refused), StatusPlan::Later(LONGEST_UNSEEN));
    }

    #[test]
    fn enforcement_of_another_verdict_or_workload_is_not_told_of_this_one() {
        let (workload, object) = (workload(), object());
        let unseen = |card: &IndexedCard, evaluation: &Evaluation| {
            plan_status_turn(observed(&object, (Some(card), Some(evaluation), Some(&workload)), None))
        };
        let told = |plan: StatusPlan| match plan {
            StatusPlan::Write(write) => {
                let (status, reason) = shown(&write.status, "Enforced");
                format!("{status} {reason}")
            }
            other => format!("{other:?}"),
        };
        let (verified, refused) = (evaluation(Ok(60)), evaluation(Err(Reason::SignatureInvalid)));
        let other_refusal = evaluation(Err(Reason::CardUnsigned));
        let with_status = |evaluation: &Evaluation, enforcement: &Enforcement| {
            let mut card = stored("uid-1", &[], false);
            let about = (Some(&card), Some(evaluation), Some(&workload));
            let plan = plan_status_turn(observed(&object, about, Some(enforcement)));
            let StatusPlan::Write(write) = plan else { panic!("{plan:?}") };
            (card.status, card.has_content) = (kept(&write.status), true);
            card
        };
        let open = with_status(&verified, &Enforcement::Open);
        let closed = with_status(&refused, &Enforcement::Closed);
        let unmarked = with_status(&verified, &Enforcement::Unmarked);
        for (card, evaluation, expected) in [
            (&open, &verified, "True PolicyApplied"),
            // The policy in the cluster still lets the agent speak.
            (&open, &refused, "False PolicyPending"),
            (&unmarked, &verified, "False PodsNotMarked"),
            (&unmarked, &refused, "False PolicyPending"),
            (&closed, &refused, "True PolicyApplied"),
            (&closed, &other_refusal, "True PolicyApplied"),
            (&closed, &verified, "Wait"),
        ] {
            assert_eq!(told(unseen(card, evaluation)), expected);
        }
        // A later time of the evaluation changes nothing.
        let StatusPlan::Write(again) = unseen(&open, &evaluation(Ok(3600))) else { panic!() };
        assert_eq!(shown(&again.status, "Enforced").0, "True");
        // The card pointed at another workload before.
        for (before, evaluation, expected) in
            [(&open, &verified, "Wait"), (&closed, &refused, "False PolicyPending")]
        {
            let mut moved = before.clone();
            let mut status = moved.status.read();
            status.target_ref.as_mut().unwrap().name = "maps".to_owned();
            moved.status = kept(&status);
            assert_eq!(told(unseen(&moved, evaluation)), expected);
        }
    }

    #[test]
    fn a_status_of_before_the_condition_waits_for_the_turn_of_its_workload() {
        let (workload, object, verified) = (workload(), object(), evaluation(Ok(60)));
        let mut card = stored("uid-1", &[], false);
        let mut old = write(&card, &verified, Some(&workload)).status;
        old.conditions.retain(|condition| condition.type_ != "Enforced");
        card.status = kept(&old);
        card.has_content = true;
        let plan = plan_status_turn(observed(&object, (Some(&card), Some(&verified), Some(&workload)), None));
        assert!(matches!(plan, StatusPlan::Wait));
    }
}
