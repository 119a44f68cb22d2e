//! Writes of a workload's plan: what closes, then what opens.

use super::marks::{apply_every_mark, apply_mark};
use super::policies::{apply_policy, remove_policy};
use crate::card::key as card_key;
use crate::context::Context;
use crate::events::EventSource;
use crate::index::{IndexedCard, ObjectRef, Workload, WorkloadRef};
use crate::written::WATCH_LAG;
use countersign_api::agent_card::AgentCard;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_io::clock::instant;
use countersign_plan::workload::{Missing, WorkloadPlan};
use std::time::Duration;

/// Wait until the next turn while an AgentCard has no evaluation, which enqueues the workload itself.
const RETRY_UNDECIDED: Duration = Duration::from_secs(30);
/// Wait until the next turn while Pods of an unlabelled template run or input is missing or invalid.
const RETRY: Duration = Duration::from_secs(10);

/// Applies a plan and returns when the next turn is due. Every closing write is tried, whichever of them fails, and also if
/// something was `unread` when the plan was made; after a failure of either nothing opens.
pub(crate) async fn apply_plan(
    context: &Context,
    reference: &WorkloadRef,
    workload: &Workload,
    (plan, unread): (WorkloadPlan, Option<kube::Error>),
) -> Result<Next, kube::Error> {
    if plan.missing == Missing::Evaluation {
        context.undecided.begin(reference, instant());
    } else {
        context.undecided.end(reference);
    }
    let is_told = context.notices.tell((reference, &workload.uid), plan.notice, |notice| {
        let about = EventSource {
            controller: "agentcard-controller",
            api_version: reference.kind.api_version(),
            kind: reference.kind.as_str(),
            action: "Reconcile",
        };
        context.events.send(about, &reference.object, &workload.uid, notice)
    });
    let (mut is_known, kept) = apply_every_mark(context, &plan.unmark).await;
    let mut failed = unread.or(kept);
    for policy in &plan.close {
        if let Err(error) = apply_policy(context, policy).await {
            failed = failed.or(Some(error));
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(policy) = &plan.open {
        apply_policy(context, policy).await?;
    }
    for object in &plan.remove {
        remove_policy(context, object).await?;
    }
    for mark in &plan.mark {
        is_known &= apply_mark(context, mark).await?;
    }
    Ok(match plan.missing {
        Missing::Nothing | Missing::Input if !is_known => Next::In(WATCH_LAG),
        Missing::Nothing if !is_told => Next::In(RETRY),
        Missing::Nothing => Next::Never,
        // The turn that isolates the namespace enqueues its workloads, and waits by itself after a failure.
        Missing::Input | Missing::NamespaceIsolation | Missing::ValidWorkload(_) => Next::In(RETRY),
        Missing::Evaluation => Next::In(RETRY_UNDECIDED),
        Missing::ValidCluster(error) => {
            tracing::error!(%error, "the cluster's facts cannot be planned with; no policy is changed");
            Next::In(RETRY)
        }
    })
}

/// Creates and deletes the AgentCards of a plan; true if there was one.
pub(crate) async fn apply_cards(
    context: &Context,
    reference: &WorkloadRef,
    plan: &WorkloadPlan,
) -> Result<bool, kube::Error> {
    if let Some(card) = &plan.create {
        let cards = &context.index.cards;
        let (before, removals) =
            (cards.get(&ObjectRef::from(&card.metadata)), cards.removals(&reference.object.namespace));
        let stored = context.writer.apply(card).await?;
        context.metrics.wrote("agentcards");
        // The index gets the card at once, so that the next plan sees a card without a verdict, and not no card.
        if let Some(stored) = IndexedCard::of(stored) {
            let object = ObjectRef::new(&reference.object.namespace, stored.reference.name());
            cards.insert_answer(object.clone(), (before.as_ref(), removals), stored);
            context.enqueue(card_key::evaluation(object), Urgency::Urgent);
        }
    }
    for (object, uid) in &plan.delete {
        context.writer.delete::<AgentCard>(object, Some(uid)).await?;
        context.metrics.wrote("agentcards");
    }
    Ok(plan.create.is_some() || !plan.delete.is_empty())
}
