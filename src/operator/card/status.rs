//! Status turn of one AgentCard: writes the last evaluation. It waits for no agent, so that a loss of trust is shown even
//! while nothing can be fetched.

use super::enqueue_workload;
use super::key;
use crate::context::Context;
use crate::events::EventSource;
use crate::index::{IndexedCard, ObjectRef};
use countersign_api::agent_card::AgentCard;
use countersign_api::keys::{AGENT_CARD_API_VERSION, AGENT_CARD_KIND};
use countersign_controller::apply::merge_patch;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_io::clock::now;
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::agent_card::schedule::SHORTEST_PERIOD;
use countersign_plan::agent_card::turn::{Observed, StatusPlan, StatusWrite, plan_status_turn};
use serde::Serialize;
use serde_json::{Map, Value};

/// Events about a verdict, as existing tools find them.
const CARD_VERIFIED: EventSource = EventSource {
    controller: "agentcard-controller",
    api_version: AGENT_CARD_API_VERSION,
    kind: AGENT_CARD_KIND,
    action: "VerifySignature",
};
/// Writes the status of an AgentCard, or removes finalizers of a deleted one. Waiters are notified of the attempt.
pub(crate) async fn reconcile(context: &Context, object: &ObjectRef) -> Result<Next, kube::Error> {
    let next = write(context, object).await;
    context.status_written.notify_waiters();
    next
}

async fn write(context: &Context, object: &ObjectRef) -> Result<Next, kube::Error> {
    let (card, evaluation) = (context.index.cards.get(object), context.evaluation(object));
    let about = evaluation.as_ref().and_then(|evaluation| evaluation.workload.as_ref());
    let workload = about.and_then(|workload| context.index.workload(workload));
    let enforcement = evaluation
        .as_ref()
        .zip(about)
        .and_then(|(evaluation, workload)| context.enforcements.of(workload, &evaluation.card));
    let plan = plan_status_turn(Observed {
        object,
        card: card.as_ref(),
        evaluation: evaluation.as_deref(),
        workload: workload.as_ref(),
        mode: context.mode(&object.namespace),
        enforcement: enforcement.as_ref(),
        now: now(),
    });
    match (plan, card, evaluation) {
        (StatusPlan::Forget(finalizers), card, _) => {
            forget(context, object);
            if let (Some(rest), Some(card)) = (finalizers, card) {
                let version = &card.resource_version;
                context.writer.set_finalizers::<AgentCard>(object, version, &rest).await?;
            }
            Ok(Next::Never)
        }
        (StatusPlan::Write(write), Some(card), Some(evaluation)) => {
            apply_status(context, object, &card, &evaluation, *write).await?;
            if evaluation.is_unshown {
                context.status_shown(object, &evaluation);
                // The card is fetched again only after every loss of trust is shown: closing and telling come first.
                context.enqueue_in(SHORTEST_PERIOD, key::evaluation(object.clone()), Urgency::Routine);
            }
            Ok(Next::Never)
        }
        (StatusPlan::Wait | StatusPlan::Write(_), ..) => Ok(Next::Never),
    }
}

fn forget(context: &Context, object: &ObjectRef) {
    if let Some(evaluation) = context.forget(object) {
        enqueue_workload(context, evaluation.workload.as_ref());
    }
}

/// Writes the difference and reports the transition as an event. A lost race is a failure like others: the watch reports
/// the other write before the next turn, and one that never does is not asked ten times a second.
async fn apply_status(
    context: &Context,
    object: &ObjectRef,
    card: &IndexedCard,
    evaluation: &Evaluation,
    write: StatusWrite,
) -> Result<(), kube::Error> {
    let StatusWrite { status, differs, card: shown, transition } = write;
    if !differs && shown.is_none() {
        forget_content(context, object, evaluation);
        return Ok(());
    }
    let patch = if differs { merge_patch(&json(card.status.as_ref())?, &json(&status)?) } else { None };
    let mut patch = patch.unwrap_or_else(|| Value::Object(Map::new()));
    let has_content = card.has_content || shown.is_some();
    if let (Some(shown), Some(patch)) = (shown, patch.as_object_mut()) {
        patch.insert("card".to_owned(), json(&shown)?);
    }
    let removals = context.index.cards.removals(&object.namespace);
    let stored = context.writer.patch_status::<AgentCard>(object, &card.resource_version, patch).await?;
    context.metrics.wrote("agentcards/status");
    if let Some(stored) = card.with_status(stored, status, has_content) {
        context.index.cards.insert_answer(object.clone(), (Some(card), removals), stored);
    }
    forget_content(context, object, evaluation);
    if let Some(transition) = transition {
        context.events.send(CARD_VERIFIED, object, &card.uid, transition);
    }
    Ok(())
}

/// Drops the card's content from memory once the status has it; before that, a failed write needs it again.
fn forget_content(context: &Context, object: &ObjectRef, evaluation: &Evaluation) {
    if let Some(slim) = evaluation.slimmed() {
        context.replace(object, evaluation, slim);
    }
}

fn json(value: &impl Serialize) -> Result<Value, kube::Error> {
    serde_json::to_value(value).map_err(kube::Error::SerdeError)
}
