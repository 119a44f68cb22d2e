//! Writes of marks: labels on running Pods alone, so nothing is rolled out.

use crate::context::Context;
use crate::index::ObjectRef;
use countersign_api::keys::PEER_MARK_LABEL;
use countersign_io::clock::instant;
use countersign_plan::workload::Mark;
use k8s_openapi::api::core::v1::Pod;

/// Takes the mark from a Pod that no workload vouches for. False while it is not known yet whether the Pod has it.
pub(crate) async fn clear(context: &Context, object: &ObjectRef) -> Result<bool, kube::Error> {
    let uid = match (context.index.strays.get(object), context.index.pods.get(object)) {
        (Some(uid), _) => uid,
        (None, Some(pod))
            if pod.mark().is_some() && context.index.workload_of(&object.namespace, &pod).is_none() =>
        {
            pod.uid
        }
        _ => return Ok(true),
    };
    apply_mark(context, &Mark { pod: object.clone(), uid, value: None }).await
}

/// Brings the mark of a Pod in step. False while it is not known yet whether it is: a write is on its way.
pub(crate) async fn apply_mark(context: &Context, mark: &Mark) -> Result<bool, kube::Error> {
    let value = mark.value.as_deref();
    if context.marks.is_on_its_way(&mark.uid, value, instant()) {
        return Ok(false);
    }
    context.writer.set_label::<Pod>(&mark.pod, &mark.uid, (PEER_MARK_LABEL, value)).await?;
    context.marks.wrote(&mark.uid, value, instant());
    context.metrics.wrote("pods");
    Ok(true)
}
