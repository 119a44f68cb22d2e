//! The marks on the Pods of a workload: put on while it is verified, taken away otherwise.
//! A mark is a label on the running Pod alone, so nothing is rolled out.

use crate::context::Context;
use crate::index::{ObjectRef, Pod, Workload, selects};
use crate::key::WorkloadKey;
use countersign_api::keys::PEER_MARK_LABEL;
use countersign_io::clock::instant;
use countersign_plan::{CardOutcome, EnrolledWorkload, PodInput, plan_peer_mark};
use k8s_openapi::api::core::v1::Pod as ApiPod;

/// Brings the marks of all Pods of the workload in step. False while it is not known yet whether they are.
pub(crate) async fn keep(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
    cards: &[CardOutcome],
    enrolled: &EnrolledWorkload,
) -> Result<bool, kube::Error> {
    let mut known = true;
    for (object, pod) in context.index.pods_of(key, workload) {
        let facts = PodInput {
            controlled_by_workload: true,
            runs_as_workload: pod.service_account == workload.service_account,
            matches_selector: selects(&workload.selector, &pod.labels),
            host_network: pod.host_network,
        };
        let wanted = plan_peer_mark(cards, enrolled, facts);
        known &= set(context, &object, &pod, wanted.as_deref()).await?;
    }
    Ok(known)
}

/// Takes the mark from a Pod that no workload vouches for. False as for [`keep`].
pub(crate) async fn clear(context: &Context, object: &ObjectRef) -> Result<bool, kube::Error> {
    if let Some(uid) = context.index.strays.get(object) {
        return write(context, object, &uid, None).await;
    }
    match context.index.pods.get(object) {
        Some(pod) if context.index.workload_of(&object.namespace, &pod).is_none() => {
            set(context, object, &pod, None).await
        }
        _ => Ok(true),
    }
}

async fn set(
    context: &Context,
    object: &ObjectRef,
    pod: &Pod,
    wanted: Option<&str>,
) -> Result<bool, kube::Error> {
    if pod.mark() == wanted {
        return Ok(true);
    }
    write(context, object, &pod.uid, wanted).await
}

async fn write(
    context: &Context,
    object: &ObjectRef,
    uid: &str,
    mark: Option<&str>,
) -> Result<bool, kube::Error> {
    if context.marks.is_on_its_way(uid, mark, instant()) {
        return Ok(false);
    }
    context.writer.set_label::<ApiPod>(object, uid, (PEER_MARK_LABEL, mark)).await?;
    context.marks.wrote(uid, mark, instant());
    context.metrics.wrote("pods");
    Ok(true)
}
