//! Changes that concern the isolation of a namespace or an orphaned policy, and the turns that they enqueue.

use super::key;
use crate::context::Context;
use crate::index::{IndexKey, ObjectRef, StoredPolicy, Workload, WorkloadKind, changed_policy};
use countersign_api::keys::Family;
use countersign_controller::queue::Urgency::{Closing, Routine, Urgent};
use countersign_controller::store::Change;
use std::sync::Arc;

/// Subscribes to every list on which isolation depends.
pub(super) fn subscribe(context: &Arc<Context>) {
    let index = &context.index;
    for kind in WorkloadKind::ALL {
        index.workloads(kind).subscribe(context, |context, change: &Change<'_, Workload>| {
            if appeared_or_went(change) || families(change.before) != families(change.after) {
                context.enqueue(key::namespace(change.object.namespace.clone()), Closing);
            }
        });
    }
    index.pods.subscribe(context, |context, change| {
        if appeared_or_went(change) {
            context.enqueue(key::namespace(change.object.namespace.clone()), Routine);
        }
    });
    index.policies.subscribe(context, policy_changed);
    index.namespaces.subscribe(context, |context, change| {
        let namespace = &change.object.name;
        context.enqueue(key::namespace(namespace.clone()), Closing);
        // A leftover that stayed in audit mode goes once verdicts are enforced.
        let leftovers =
            |object: &ObjectRef, policy: &StoredPolicy| policy.is_leftover.then(|| object.clone());
        for object in context.index.policies.pick(namespace, leftovers) {
            context.enqueue(key::orphan(object), Closing);
        }
    });
    index.enrolled.subscribe(context, |context, change| {
        if appeared_or_went(change) {
            context.enqueue(key::namespace(change.object.name.clone()), Closing);
        }
    });
    // Isolation allows the endpoints of the API server.
    index.api_servers.subscribe(context, |context, _| {
        let workloads = WorkloadKind::ALL.into_iter().map(|kind| context.index.workloads(kind).objects());
        for object in workloads.chain([context.index.pods.objects()]).flatten() {
            context.enqueue(key::namespace(object.namespace), Urgent);
        }
        for object in context.index.enrolled.objects() {
            context.enqueue(key::namespace(object.name), Urgent);
        }
    });
}

/// Families of which a workload is, by [`Workload::is_of`]: each has policies of its own in the namespace.
fn families(workload: Option<&Workload>) -> Option<[bool; 2]> {
    workload.map(|workload| Family::ALL.map(|family| workload.is_of(family)))
}

const fn appeared_or_went<V>(change: &Change<'_, V>) -> bool {
    change.before.is_none() || change.after.is_none()
}

/// Enqueues the namespace of a changed policy, or the policy itself if its workload is unknown.
fn policy_changed(context: &Context, change: &Change<'_, StoredPolicy>) {
    let Some(policy) = changed_policy(change) else { return };
    let namespace = &change.object.namespace;
    match &policy.workload {
        _ if policy.is_leftover => context.enqueue(key::orphan(change.object.clone()), Closing),
        None => context.enqueue(key::namespace(namespace.clone()), Closing),
        Some(label) if context.index.workload_by(namespace, IndexKey::Label, label).is_none() => {
            context.enqueue(key::orphan(change.object.clone()), Routine);
        }
        Some(_) => {}
    }
}
