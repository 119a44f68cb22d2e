//! Changes that concern an enrolment, and the turns that they enqueue.

use super::key;
use crate::context::Context;
use crate::index::{EnrolledBy, IndexKey, IndexedCard, IndexedRuntime, WorkloadKind};
use crate::limits::ROLLOUTS;
use countersign_api::agent_card::TargetRef;
use countersign_controller::queue::Urgency::{Routine, Urgent};
use countersign_controller::store::Change;
use std::sync::Arc;

/// Subscribes to every list on which enrolment depends.
pub(super) fn subscribe(context: &Arc<Context>) {
    let index = &context.index;
    index.runtimes.subscribe(context, runtime_changed);
    // The status of an agent's AgentCard is shown in that of its AgentRuntime.
    index.cards.subscribe(context, |context, change: &Change<'_, IndexedCard>| {
        let mut targets: Vec<&TargetRef> =
            [change.before, change.after].into_iter().flatten().filter_map(IndexedCard::target).collect();
        targets.dedup();
        for target in targets {
            card_changed(context, &change.object.namespace, target);
        }
    });
    index.injected.subscribe(context, |context, change: &Change<'_, String>| {
        namespace_changed(context, &change.object.name);
    });
    for kind in WorkloadKind::ALL {
        index.enrolled_by(kind).subscribe(context, |context, change: &Change<'_, EnrolledBy>| {
            let labels = [change.before, change.after].map(|workload| workload.map(|one| one.label.as_str()));
            enqueue(context, &change.object.namespace, labels);
        });
    }
}

/// Enqueues the objects whose status shows an AgentCard with this target. Who writes the status of a card calls it too, since no watch reports
/// what the index has already.
pub(crate) fn card_changed(context: &Context, namespace: &str, target: &TargetRef) {
    for (_, runtime) in context.index.runtimes.with_key(namespace, IndexKey::Target, &target.name) {
        context.enqueue(key::enrolments(namespace, &runtime.label), Routine);
    }
}

/// Enqueues the objects of a namespace, because something about the namespace itself changed.
pub(crate) fn namespace_changed(context: &Context, namespace: &str) {
    for label in context.index.runtimes.pick(namespace, |_, runtime| Some(runtime.label.clone())) {
        context.enqueue(key::enrolments(namespace, &label), Routine);
    }
}

/// Enqueues every object, because what the cluster offers to sidecars changed: each at a random time, so that workloads are not all
/// rolled at once.
pub(crate) fn settings_changed(context: &Context) {
    let objects = context.index.runtimes.objects();
    let (apart, longest) = ROLLOUTS;
    let within = apart.saturating_mul(u32::try_from(objects.len()).unwrap_or(u32::MAX)).min(longest);
    for object in objects {
        if let Some(runtime) = context.index.runtimes.get(&object) {
            let key = key::enrolments(&object.namespace, &runtime.label);
            context.enqueue_in(within.mul_f64(fastrand::f64()), key, Routine);
        }
    }
}

/// Enqueues a changed object, and those that have a target of the same name: the oldest of them enrols it.
fn runtime_changed(context: &Context, change: &Change<'_, IndexedRuntime>) {
    let namespace = change.object.namespace.as_str();
    let asked = |runtime: &IndexedRuntime| (runtime.generation, runtime.is_leaving, runtime.uid.clone());
    if change.before.map(asked) == change.after.map(asked) {
        // The own status comes back.
        return;
    }
    for runtime in [change.before, change.after].into_iter().flatten() {
        context.enqueue(key::enrolments(namespace, &runtime.label), Urgent);
        for (_, rival) in context.index.runtimes.with_key(namespace, IndexKey::Target, &runtime.target.name) {
            context.enqueue(key::enrolments(namespace, &rival.label), Urgent);
        }
    }
}

fn enqueue(context: &Context, namespace: &str, [before, after]: [Option<&str>; 2]) {
    for label in before.filter(|_| before != after).into_iter().chain(after) {
        context.enqueue(key::enrolments(namespace, label), Routine);
    }
}
