//! Changes that concern an AgentCard, and the turns that they enqueue.

use super::key;
use crate::context::Context;
use crate::index::{IndexKey, IndexedCard, ObjectRef, Workload, WorkloadKind, WorkloadRef, is_request};
use countersign_controller::queue::Urgency::Urgent;
use countersign_controller::store::Change;
use countersign_plan::Mode;
use std::sync::Arc;

/// Subscribes to every list on which an evaluation or a status depends.
pub(super) fn subscribe(context: &Arc<Context>) {
    let index = &context.index;
    index.cards.subscribe(context, card_changed);
    for kind in WorkloadKind::ALL {
        index.workloads(kind).subscribe(context, move |context, change: &Change<'_, Workload>| {
            let workload = WorkloadRef { kind, object: change.object.clone() };
            for (object, _) in context.index.cards_of(&workload) {
                context.enqueue(key::evaluation(object), Urgent);
            }
        });
    }
    index.services.subscribe(context, |context, change| {
        enqueue_cards_behind(context, &change.object.namespace, &change.object.name);
    });
    // The replicas behind a Service may be others now.
    index.slices.subscribe(context, |context, change: &Change<'_, (String, String)>| {
        for (service, _) in [change.before, change.after].into_iter().flatten() {
            enqueue_cards_behind(context, &change.object.namespace, service);
        }
    });
    index.namespaces.subscribe(context, mode_changed);
}

fn card_changed(context: &Context, change: &Change<'_, IndexedCard>) {
    if is_request(change) {
        context.enqueue(key::evaluation(change.object.clone()), Urgent);
        // The status turn needs no fetch: it releases a deleted AgentCard and restores a status that others wrote.
        context.enqueue(key::status(change.object.clone()), Urgent);
    }
}

/// Enqueues the AgentCards whose workload has the name of a Service.
fn enqueue_cards_behind(context: &Context, namespace: &str, service: &str) {
    for (card, _) in context.index.cards.with_key(namespace, IndexKey::Target, service) {
        context.enqueue(key::evaluation(card), Urgent);
    }
}

/// Enqueues the statuses of a namespace, which show its mode.
fn mode_changed(context: &Context, change: &Change<'_, Mode>) {
    let all = |object: &ObjectRef, _: &IndexedCard| Some(object.clone());
    for object in context.index.cards.pick(&change.object.name, all) {
        context.enqueue(key::status(object), Urgent);
    }
}
