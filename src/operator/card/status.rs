//! Status turn of one AgentCard: writes the last evaluation. It waits for no agent, so that a loss of trust is shown even
//! while nothing can be fetched.

use super::enqueue_workload;
use super::key;
use crate::context::Context;
use crate::events::EventSource;
use crate::index::{IndexedCard, ObjectRef};
use crate::runtime;
use countersign_api::agent_card::{AgentCard, AgentCardData};
use countersign_api::keys::{AGENT_CARD_API_VERSION, AGENT_CARD_KIND};
use countersign_controller::apply::merge_patch;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_io::clock::{instant, now};
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::agent_card::schedule::SHORTEST_PERIOD;
use countersign_plan::agent_card::turn::{Observed, StatusPlan, StatusWrite, plan_status_turn};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// Events about a verdict, as existing tools find them.
pub(super) const CARD_VERIFIED: EventSource = EventSource {
    controller: "agentcard-controller",
    api_version: AGENT_CARD_API_VERSION,
    kind: AGENT_CARD_KIND,
    action: "VerifySignature",
};
/// Member of status with the card's content, which the index does not keep.
const CONTENT: &str = "card";
/// Member of status that tells whether another replica has written since.
const VERDICT: &str = "verdict";
/// Answer of the API server to a lost race (RFC 9110 section 15.5.10).
const CONFLICT: u16 = 409;

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
    let unseen = about.filter(|_| enforcement.is_none() && workload.is_some());
    let plan = plan_status_turn(Observed {
        object,
        card: card.as_ref(),
        evaluation: evaluation.as_deref(),
        workload: workload.as_ref(),
        mode: context.mode(&object.namespace),
        enforcement: enforcement.as_ref(),
        unseen_for: unseen
            .map_or(Duration::ZERO, |workload| context.enforcements.awaited_for(workload, instant())),
        now: now(),
    });
    match (plan, card, evaluation) {
        (StatusPlan::Forget(finalizers), card, _) => {
            forget(context, object);
            if let (Some(rest), Some(card)) = (finalizers, card) {
                let change = (card.finalizers.as_slice(), rest.as_slice());
                context.writer.set_finalizers::<AgentCard>(object, &card.uid, change).await?;
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
        (StatusPlan::Later(wait), ..) => Ok(Next::In(wait)),
        (StatusPlan::Wait | StatusPlan::Write(_), ..) => Ok(Next::Never),
    }
}

fn forget(context: &Context, object: &ObjectRef) {
    if let Some(evaluation) = context.forget(object) {
        enqueue_workload(context, evaluation.workload.as_ref());
    }
}

/// Writes the difference and reports the transition as an event.
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
    let before = card.status.to_json().map_err(kube::Error::SerdeError)?;
    let mut after = if differs { json(&status)? } else { before.clone() };
    let has_content = card.has_content || shown.is_some();
    if let (Some(shown), Some(after)) = (&shown, after.as_object_mut()) {
        after.insert(CONTENT.to_owned(), json(shown)?);
    }
    let removals = context.index.cards.removals(&object.namespace);
    let stored = write_status(context, object, card, (&before, &after), shown.as_deref()).await?;
    context.metrics.wrote("agentcards/status");
    if let Some(stored) = card.with_status(stored, &status, has_content) {
        context.index.cards.insert_answer(object.clone(), (Some(card), removals), stored);
        if let Some(target) = card.target() {
            runtime::card_changed(context, &object.namespace, target);
        }
    }
    forget_content(context, object, evaluation);
    if let Some(transition) = transition {
        context.events.send(CARD_VERIFIED, object, &card.uid, &transition);
    }
    Ok(())
}

/// Writes a status at the resource version that it was planned from. After a lost race it is written whatever the version,
/// if the AgentCard and its verdict are still the same: an owner who annotates the card all the time must not keep a
/// loss of trust from being shown. A changed spec does not matter, because status names the generation it is about.
async fn write_status(
    context: &Context,
    object: &ObjectRef,
    card: &IndexedCard,
    (before, after): (&Value, &Value),
    shown: Option<&AgentCardData>,
) -> Result<ObjectMeta, kube::Error> {
    let mut patch = merge_patch(before, after).unwrap_or_else(|| Value::Object(Map::new()));
    if let (Some(shown), Some(patch)) = (shown, patch.as_object_mut()) {
        // `before` lacks the content, of which nothing may stay.
        patch.insert(CONTENT.to_owned(), Value::Object(shown.replacing().map_err(kube::Error::SerdeError)?));
    }
    match context.writer.patch_status::<AgentCard>(object, &card.resource_version, patch).await {
        Err(kube::Error::Api(status)) if status.code == CONFLICT => {
            context.writer.change_status::<AgentCard>(object, &card.uid, (before, after), VERDICT).await
        }
        written => written,
    }
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
