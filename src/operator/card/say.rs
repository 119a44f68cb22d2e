//! The status of one AgentCard, brought in step with the last evaluation: a turn that waits for no agent, so that a loss
//! of trust is said even while nothing can be fetched.

use super::{SHORTEST_PERIOD, enqueue_workload, report};
use crate::context::Context;
use crate::index::WorkloadRef;
use crate::index::{Card, Index, ObjectRef, Workload};
use crate::key;
use countersign_api::agent_card::AgentCard;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_plan::agent_card::evaluation::Evaluation;
use std::time::Duration;

/// Finalizers of other operators, which would keep a card from going once they are gone.
const FOREIGN_FINALIZERS: [&str; 2] =
    ["agentcard.kagenti.dev/finalizer", "agentcard.kagenti.dev/network-policy"];
/// How soon a write is tried again that somebody else's came before: by then the watch has told of it.
const OVERTAKEN: Duration = Duration::from_millis(100);

/// Says what was judged, or lets the card go; whoever waits for that is told that it was tried.
pub(crate) async fn reconcile(context: &Context, object: &ObjectRef) -> Result<Next, kube::Error> {
    let next = say(context, object).await;
    context.spoke.notify_waiters();
    next
}

async fn say(context: &Context, object: &ObjectRef) -> Result<Next, kube::Error> {
    let Some(card) = context.index.cards.get(object) else {
        forget(context, object);
        return Ok(Next::Never);
    };
    if card.is_leaving {
        forget(context, object);
        return release(context, object, &card).await;
    }
    let Some(evaluation) = context.evaluation(object).filter(|last| last.card.reference() == &card.reference)
    else {
        return Ok(Next::Never);
    };
    let target = card.target().filter(|_| speaks_of_the_target(object, &card, &evaluation));
    let workload = found(context, &evaluation);
    if !report::write_status(context, object, &card, &evaluation, workload.as_ref(), target).await? {
        return Ok(Next::In(OVERTAKEN));
    }
    if evaluation.is_unsaid {
        context.said(object, &evaluation);
        // Whether the agent has a better card by now is asked once everybody's loss of trust is said.
        context.index.enqueue_in(SHORTEST_PERIOD, key::card(object.clone()), Urgency::Routine);
    }
    Ok(Next::Never)
}

/// Whether the card still points at the workload that the evaluation is about.
fn speaks_of_the_target(object: &ObjectRef, card: &Card, evaluation: &Evaluation) -> bool {
    evaluation.workload.is_none() || evaluation.workload == Index::target_of(object, card)
}

/// The workload that was judged, if it is there and still an agent.
fn found(context: &Context, evaluation: &Evaluation) -> Option<(WorkloadRef, Workload)> {
    let key = evaluation.workload.clone()?;
    let workload = context.index.workload(&key)?;
    (workload.is_agent && !workload.is_leaving).then_some((key, workload))
}

fn forget(context: &Context, object: &ObjectRef) {
    if let Some(evaluation) = context.forget(object) {
        enqueue_workload(context, evaluation.workload.as_ref());
    }
}

/// Lets a card go that other operators would hold.
async fn release(context: &Context, object: &ObjectRef, card: &Card) -> Result<Next, kube::Error> {
    let rest: Vec<String> =
        card.finalizers.iter().filter(|name| !FOREIGN_FINALIZERS.contains(&name.as_str())).cloned().collect();
    if rest.len() < card.finalizers.len() {
        context.writer.set_finalizers::<AgentCard>(object, &card.resource_version, &rest).await?;
    }
    Ok(Next::Never)
}
