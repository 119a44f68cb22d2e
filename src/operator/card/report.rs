//! Writes what was found about a card: its status if it differs, an event if the outcome does.
//! Nothing that an agent sends can make the write fail: what status shows of a card is bounded.

use crate::context::Context;
use crate::events::Transition;
use crate::index::WorkloadRef;
use crate::index::{Card, ObjectRef, Workload};
use countersign_api::agent_card::AgentCard;
use countersign_api::agent_card::{AgentCardStatus, CardVerdict, Outcome, TargetRef};
use countersign_controller::apply::{lost_a_race, merge_patch};
use countersign_io::clock::now;
use countersign_plan::agent_card::conditions::is_ready_in;
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::agent_card::status::{Circumstances, plan_status};
use serde_json::Value;

/// Brings the status in step with a evaluation. False if another write came before ours.
pub(crate) async fn write_status(
    context: &Context,
    object: &ObjectRef,
    card: &Card,
    evaluation: &Evaluation,
    workload: Option<&(WorkloadRef, Workload)>,
    target: Option<&TargetRef>,
) -> Result<bool, kube::Error> {
    let written = card.status.verdict.as_ref().and_then(CardVerdict::history).and_then(Result::ok);
    let history = evaluation.history.as_deref().filter(|now| {
        // When the same content was signed again is not worth a write.
        written.as_ref().is_none_or(|written| !now.restates(written))
    });
    let about = Circumstances {
        generation: evaluation.generation,
        name: target.map_or(object.name.as_str(), |target| target.name.as_str()),
        target: workload.and(target),
        protocol: workload.and_then(|(_, workload)| workload.protocol.as_deref()),
        mode: context.mode(&object.namespace),
        has_binding: card.spec.identity_binding.is_some(),
        history: history.or(written.as_ref()),
        now: now(),
    };
    let planned = plan_status(&card.status, &evaluation.result, about);
    let shown = content(card, evaluation, &planned);
    // Most looks find nothing new: those are not worth two documents.
    let patch = if planned == *card.status {
        None
    } else {
        merge_patch(&json(card.status.as_ref())?, &json(&planned)?)
    };
    if patch.is_none() && shown.is_none() {
        forget_content(context, object, evaluation);
        return Ok(true);
    }
    let mut patch = patch.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let has_content = card.has_content || shown.is_some();
    if let (Some(shown), Some(patch)) = (shown, patch.as_object_mut()) {
        patch.insert("card".to_owned(), shown);
    }
    match context.writer.patch_status::<AgentCard>(object, &card.resource_version, patch).await {
        Ok(stored) => {
            context.metrics.wrote("agentcards/status");
            if let Some(stored) = card.with_status(stored, planned.clone(), has_content) {
                context.index.cards.insert(object.clone(), stored);
            }
            forget_content(context, object, evaluation);
            tell(context, object, card, &planned);
            Ok(true)
        }
        Err(error) if lost_a_race(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Status has the content of the card; until then a write that failed has to find it again.
fn forget_content(context: &Context, object: &ObjectRef, evaluation: &Evaluation) {
    if let Some(slim) = evaluation.slimmed() {
        context.replace(object, evaluation, slim);
    }
}

/// What to write of the card itself, if it is another one than status shows.
fn content(card: &Card, evaluation: &Evaluation, planned: &AgentCardStatus) -> Option<Value> {
    let content = evaluation.result.content.as_ref()?;
    if card.has_content && card.status.card_id == planned.card_id {
        return None;
    }
    content.data.as_ref().and_then(|data| serde_json::to_value(data).ok())
}

fn json(status: &AgentCardStatus) -> Result<Value, kube::Error> {
    serde_json::to_value(status).map_err(kube::Error::SerdeError)
}

/// One event when the outcome changes, or the reason of a refusal does.
fn tell(context: &Context, object: &ObjectRef, card: &Card, planned: &AgentCardStatus) {
    let outcome = |status: &AgentCardStatus| {
        status.verdict.as_ref().map(|verdict| (verdict.outcome, verdict.reason.clone()))
    };
    let (before, after) = (outcome(&card.status), outcome(planned));
    if before == after {
        return;
    }
    let Some((outcome, reason)) = after else { return };
    let note = planned.verdict.as_ref().and_then(|verdict| verdict.message.clone());
    let transition = Transition {
        is_warning: outcome == Outcome::Refused,
        reason: match (outcome, reason) {
            (Outcome::Verified, _) => "SignatureEvaluated".to_owned(),
            (Outcome::Refused, reason) => reason.unwrap_or_else(|| "SignatureFailed".to_owned()),
        },
        note: note.unwrap_or_else(|| {
            let ready = if is_ready_in(&planned.conditions) { "ready to serve" } else { "not ready" };
            format!("the card is verified and {ready}")
        }),
    };
    context.events.about_card(object, &card.uid, transition);
}
