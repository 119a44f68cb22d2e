//! Writes of peer marks. They label running Pods, never templates, so that nothing is rolled out.

use crate::context::Context;
use crate::index::{ObjectRef, WorkloadKind};
use countersign_api::keys::PEER_MARK_LABEL;
use countersign_io::clock::instant;
use countersign_plan::input::pod::ControllerKind;
use countersign_plan::workload::Mark;
use k8s_openapi::api::core::v1::Pod;

/// Removes the peer mark of a Pod without a workload that justifies it. False while an equal write is in flight, or while
/// the Sandboxes that may justify it are not listed.
pub(crate) async fn clear(context: &Context, object: &ObjectRef) -> Result<bool, kube::Error> {
    let controller = context.index.pods.get(object).and_then(|pod| pod.controller);
    if controller.is_some_and(|owner| owner.kind == ControllerKind::Sandbox)
        && !context.index.is_listed(WorkloadKind::Sandbox)
    {
        return Ok(false);
    }
    let uid = match (context.index.marked_pods.get(object), context.index.pods.get(object)) {
        (Some(uid), _) => uid,
        (None, Some(pod))
            if pod.mark.is_some() && context.index.workload_of(&object.namespace, &pod).is_none() =>
        {
            pod.uid
        }
        _ => return Ok(true),
    };
    apply_mark(context, &Mark { pod: object.clone(), uid, value: None }).await
}

/// Writes the peer mark of a Pod. False, without a write, while an equal write is in flight.
pub(crate) async fn apply_mark(context: &Context, mark: &Mark) -> Result<bool, kube::Error> {
    let value = mark.value.as_deref();
    if context.marks.is_in_flight(&mark.uid, value, instant()) {
        return Ok(false);
    }
    context.writer.set_label::<Pod>(&mark.pod, &mark.uid, (PEER_MARK_LABEL, value)).await?;
    context.marks.wrote(&mark.uid, value, instant());
    context.metrics.wrote("pods");
    Ok(true)
}

/// Writes every one of these marks, whichever of them fails. False while one of them is in flight; the error is the first.
pub(super) async fn apply_every_mark(context: &Context, marks: &[Mark]) -> (bool, Option<kube::Error>) {
    let (mut is_known, mut failed) = (true, None);
    for mark in marks {
        match apply_mark(context, mark).await {
            Ok(known) => is_known &= known,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    (is_known, failed)
}
