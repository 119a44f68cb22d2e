//! Reconciliation of a workload: AgentCard, policies and peer marks, all under one key.
//! Isolation comes first, then what closes, then what opens, so that a failed turn opens nothing.

mod apply;
mod dispatch;
pub(crate) mod key;
mod marks;
mod observe;
mod policies;
mod unlisted;

pub(crate) use policies::{apply_policy, remove_policy};

use super::card::key as card_key;
use super::context::Context;
use super::index::{Index, IndexKey, Workload, WorkloadKind, WorkloadRef};
use super::namespace::key as namespace_key;
use super::registration::register_agents;
use super::written::WATCH_LAG;
use apply::{apply_cards, apply_plan};
use countersign_controller::api_error::Explained;
use countersign_controller::failure::is_passing;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry};
use countersign_io::clock::instant;
use countersign_plan::agent_card::enforcement::Enforcement;
use countersign_plan::workload::{Observed, ObservedCard, WorkloadPlan, plan_workload};
use observe::observe;
use std::sync::Arc;

/// Registers the reconcilers of workloads, and of marked Pods without a workload.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    dispatch::subscribe(context);
    let unread = Index::unread;
    register_agents(registry, &key::DEPLOYMENT, context, unread, |context, object| async move {
        Ok(reconcile(&context, &WorkloadRef { kind: WorkloadKind::Deployment, object }).await?)
    })?;
    register_agents(registry, &key::STATEFUL_SET, context, unread, |context, object| async move {
        Ok(reconcile(&context, &WorkloadRef { kind: WorkloadKind::StatefulSet, object }).await?)
    })?;
    // Nobody lists Sandboxes while their definition is broken, and what one does not prove any more is closed all the same.
    register_agents(registry, &key::SANDBOX, context, unread, |context, object| async move {
        let key = WorkloadRef { kind: WorkloadKind::Sandbox, object };
        if !context.index.is_listed(key.kind) {
            return Ok(unlisted::reconcile(&context, &key).await?);
        }
        context.unlisted.end(&key);
        Ok(reconcile(&context, &key).await?)
    })?;
    register_agents(registry, &key::POD, context, unread, |context, object| async move {
        let known = marks::clear(&context, &object).await?;
        Ok(if known { Next::Never } else { Next::In(WATCH_LAG) })
    })
}

/// Reconciles one workload. One that is gone or no agent any more is cleaned up; one whose deletion does not finish is
/// closed, because it runs on.
async fn reconcile(context: &Context, key: &WorkloadRef) -> Result<Next, kube::Error> {
    let Some(workload) = context.index.workload(key).filter(Workload::is_agent) else {
        context.undecided.end(key);
        context.enforcements.forget(key);
        context.notices.forget(key);
        return Ok(enqueue_cleanup(context, key));
    };
    let (observed, unread) = observe(context, key, &workload).await;
    let plan = plan_workload(&observed);
    let made = apply_cards(context, key, &plan).await;
    // A failed creation must leave nothing open, so the plan is made again for a workload without a card.
    let (observed, plan, unread) = match &made {
        Err(_) => replanned(Observed { may_make_card: false, ..observed }, unread),
        Ok(false) => (observed, plan, unread),
        // A write may have taken long, and what it was answered may be an AgentCard that is going.
        Ok(true) => {
            let (observed, unread) = observe(context, key, &workload).await;
            replanned(observed, unread)
        }
    };
    let enforcement = plan.enforcement.clone();
    let next = apply_plan(context, key, &workload, (plan, unread)).await;
    match &next {
        Ok(_) => report(context, key, &observed.cards, enforcement),
        Err(error) => report_failure(context, key, &observed.cards, error),
    }
    made.and(next)
}

fn replanned(
    observed: Observed<'_>,
    unread: Option<kube::Error>,
) -> (Observed<'_>, WorkloadPlan, Option<kube::Error>) {
    let plan = plan_workload(&observed);
    (observed, plan, unread)
}

/// Records how the decision is enforced. A change enqueues the statuses of the workload's AgentCards, which show it.
fn report(context: &Context, key: &WorkloadRef, cards: &[ObservedCard], enforcement: Enforcement) {
    if context.enforcements.record(key, cards, enforcement) {
        enqueue_statuses(context, cards);
    }
}

/// Records a turn that failed, with the API server's answer if it refuses what was asked.
fn report_failure(context: &Context, key: &WorkloadRef, cards: &[ObservedCard], error: &kube::Error) {
    let answer = match error {
        kube::Error::Api(_) if !is_passing(error) => Explained(error).to_string(),
        _ => {
            let waiting = Enforcement::Waiting("an answer of the API server to what enforces".to_owned());
            if context.enforcements.fail(key, cards, waiting, instant()) {
                enqueue_statuses(context, cards);
            }
            return;
        }
    };
    report(context, key, cards, Enforcement::Rejected(answer));
}

fn enqueue_statuses(context: &Context, cards: &[ObservedCard]) {
    for one in cards {
        context.enqueue(card_key::status(one.object.clone()), Urgency::Urgent);
    }
}

/// Enqueues the cleanup of a workload that is gone or no agent any more: peer marks go now, policies once no Pod is
/// left.
fn enqueue_cleanup(context: &Context, key: &WorkloadRef) -> Next {
    let (namespace, label) = (&key.object.namespace, key.label());
    for (object, _) in context.index.policies.with_key(namespace, IndexKey::Label, &label) {
        context.enqueue(namespace_key::orphan(object), Urgency::Routine);
    }
    for object in context.index.pods.pick(namespace, |object, pod| {
        (pod.mark.is_some() && context.index.workload_of(namespace, pod).is_none()).then(|| object.clone())
    }) {
        context.enqueue(key::pod(object), Urgency::Closing);
    }
    context.enqueue(namespace_key::namespace(namespace.clone()), Urgency::Routine);
    Next::Never
}
