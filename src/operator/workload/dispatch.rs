//! Changes that concern a workload or the peer mark of a Pod, and the turns that they enqueue.

use super::key;
use crate::context::Context;
use crate::index::{
    Controller, IndexKey, IndexedCard, Pod, StoredPolicy, Workload, WorkloadKind, WorkloadRef,
    changed_policy, is_request,
};
use countersign_controller::queue::Urgency::{Closing, Routine, Urgent};
use countersign_controller::store::Change;
use countersign_plan::Mode;
use std::sync::Arc;

/// Subscribes to every list on which the plan of a workload depends.
pub(super) fn subscribe(context: &Arc<Context>) {
    let index = &context.index;
    index.cards.subscribe(context, card_changed);
    for kind in WorkloadKind::ALL {
        index.workloads(kind).subscribe(context, move |context, change: &Change<'_, Workload>| {
            context.enqueue(key::workload(WorkloadRef { kind, object: change.object.clone() }), Closing);
        });
    }
    index.pods.subscribe(context, pod_changed);
    index.marked_pods.subscribe(context, |context, change| {
        if change.after.is_some() {
            context.enqueue(key::pod(change.object.clone()), Closing);
        }
    });
    index.replica_sets.subscribe(context, replica_set_changed);
    index.policies.subscribe(context, policy_changed);
    index.namespaces.subscribe(context, |context, change: &Change<'_, Mode>| {
        for workload in context.index.workloads_in(&change.object.name) {
            context.enqueue(key::workload(workload), Closing);
        }
    });
    // Every policy allows the endpoints of the API server.
    index.api_servers.subscribe(context, |context, _| {
        for kind in WorkloadKind::ALL {
            for object in context.index.workloads(kind).objects() {
                context.enqueue(key::workload(WorkloadRef { kind, object }), Urgent);
            }
        }
    });
}

/// Enqueues the workload of an AgentCard whose target or existence changed: the set of its cards decides about a
/// workload as much as their content.
fn card_changed(context: &Context, change: &Change<'_, IndexedCard>) {
    if !is_request(change) {
        return;
    }
    let targets = [change.before, change.after]
        .map(|card| card.and_then(|card| card.workload(&change.object.namespace)));
    if targets[0] != targets[1] || change.after.is_none_or(|card| card.is_leaving) {
        for target in targets.into_iter().flatten() {
            context.enqueue(key::workload(target), Closing);
        }
    }
}

/// Enqueues the workload of a changed Pod, or the Pod itself if marked without a workload.
fn pod_changed(context: &Context, change: &Change<'_, Pod>) {
    let namespace = &change.object.namespace;
    let Some(pod) = change.after else {
        // With the last marked Pod, nothing of the workload is a peer any more, which its AgentCards show.
        let gone = change.before.filter(|pod| pod.mark.is_some());
        if let Some(workload) = gone.and_then(|pod| context.index.workload_of(namespace, pod)) {
            context.enqueue(key::workload(workload), Routine);
        }
        return;
    };
    match context.index.workload_of(namespace, pod) {
        Some(workload) => context.enqueue(key::workload(workload), Urgent),
        None if pod.mark.is_some() => context.enqueue(key::pod(change.object.clone()), Closing),
        None => {}
    }
}

/// Enqueues the workload of a `ReplicaSet`, whose Pods can now be traced to the workload.
fn replica_set_changed(context: &Context, change: &Change<'_, (String, Option<Controller>)>) {
    let Some((_, Some(owner))) = change.after else { return };
    if let Some(workload) = context.index.workload_by(&change.object.namespace, IndexKey::Uid, &owner.uid) {
        context.enqueue(key::workload(workload), Urgent);
    }
}

/// Enqueues the workload of a policy that others changed. A new policy of the namespace enqueues all its workloads, whose
/// access waits for isolation.
fn policy_changed(context: &Context, change: &Change<'_, StoredPolicy>) {
    let Some(policy) = changed_policy(change) else { return };
    let namespace = &change.object.namespace;
    match &policy.workload {
        Some(label) => {
            if let Some(workload) = context.index.workload_by(namespace, IndexKey::Label, label) {
                context.enqueue(key::workload(workload), Closing);
            }
        }
        None if change.before.is_none() && !policy.is_leftover => {
            for workload in context.index.workloads_in(namespace) {
                context.enqueue(key::workload(workload), Urgent);
            }
        }
        None => {}
    }
}
