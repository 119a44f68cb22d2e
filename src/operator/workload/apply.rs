//! Writes of a workload's plan, in planned order: isolation, then closing, then access.

use super::marks::apply_mark;
use super::policies::{apply_policy, remove_policy};
use crate::card::key as card_key;
use crate::context::Context;
use crate::events::EventSource;
use crate::index::{IndexedCard, ObjectRef, Workload, WorkloadKind, WorkloadRef};
use crate::namespace::key as namespace_key;
use crate::written::WATCH_LAG;
use countersign_api::agent_card::AgentCard;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_plan::agent_card::turn::Transition;
use countersign_plan::workload::{Missing, WorkloadPlan};
use std::time::Duration;

/// Wait until the next turn while the isolation of the namespace is missing.
const RETRY_ISOLATION: Duration = Duration::from_millis(200);
/// Wait until the next turn while Pods of an unlabelled template run or input is missing or invalid.
const RETRY: Duration = Duration::from_secs(10);

/// Applies policies, then peer marks of a plan, and returns when the next turn is due.
pub(crate) async fn apply_plan(
    context: &Context,
    reference: &WorkloadRef,
    workload: &Workload,
    plan: WorkloadPlan,
) -> Result<Next, kube::Error> {
    for policy in &plan.apply {
        apply_policy(context, policy).await?;
    }
    for object in &plan.remove {
        remove_policy(context, object).await?;
    }
    let mut is_known = true;
    for mark in &plan.marks {
        is_known &= apply_mark(context, mark).await?;
    }
    Ok(match plan.missing {
        Missing::Nothing | Missing::Input if !is_known => Next::In(WATCH_LAG),
        Missing::Nothing => Next::Never,
        Missing::Input => Next::In(RETRY),
        Missing::NamespaceIsolation => {
            let namespace = namespace_key::namespace(&reference.object.namespace);
            context.enqueue(namespace, Urgency::Closing);
            Next::In(RETRY_ISOLATION)
        }
        Missing::ValidWorkload(error) => {
            let (reason, note) = ("WorkloadError".to_owned(), error.to_string());
            let about = EventSource {
                controller: "agentcard-controller",
                api_version: WorkloadKind::API_VERSION,
                kind: reference.kind.as_str(),
                action: "Reconcile",
            };
            let transition = Transition { is_warning: true, reason, note };
            context.events.send(about, &reference.object, &workload.uid, transition);
            Next::In(RETRY)
        }
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
        let stored = context.writer.apply(card).await?;
        context.metrics.wrote("agentcards");
        // The index gets the card at once, so that the next plan sees a card without a verdict, and not no card.
        if let Some(stored) = IndexedCard::of(stored) {
            let object = ObjectRef::new(&reference.object.namespace, stored.reference.name());
            context.index.cards.insert_new(object.clone(), stored);
            context.enqueue(card_key::evaluation(object), Urgency::Urgent);
        }
    }
    for (object, uid) in &plan.delete {
        context.writer.delete::<AgentCard>(object, Some(uid)).await?;
        context.metrics.wrote("agentcards");
    }
    Ok(plan.create.is_some() || !plan.delete.is_empty())
}
