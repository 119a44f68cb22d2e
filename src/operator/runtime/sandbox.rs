//! Enrolled Sandboxes: which version of them the cluster serves, and their Pods, which the operator has replaced.

use super::{SOURCE, apply_fields};
use crate::context::Context;
use crate::index::{IndexedRuntime, ObjectRef, WorkloadRef, sandboxes};
use crate::reduced::{ReducedMetadata, ReducedSandbox, sandbox_target};
use countersign_plan::agent_runtime::{PodRef, ReleaseStep, SandboxPod, Target, plan_release, plan_replaced};
use countersign_plan::input::pod::controller;
use countersign_plan::input::sandbox::sandbox_pod;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Error};

/// Answer of the API server for what it does not have, be it an object or a kind.
const NOT_FOUND: u16 = 404;

/// Reads a Sandbox with its Pod, in the first version that is served; `None` if it does not exist.
pub(super) async fn read(context: &Context, object: &ObjectRef) -> Result<Option<Target>, Error> {
    if context.index.enrolled_sandboxes.is_absent() {
        return Ok(None);
    }
    for (number, of) in sandboxes().into_iter().enumerate() {
        let api: Api<ReducedSandbox> = Api::namespaced_with(context.client.clone(), &object.namespace, &of);
        let found = match api.get(&object.name).await {
            Ok(found) => sandbox_target(found),
            Err(Error::Api(status)) if status.code == NOT_FOUND => None,
            Err(error) => return Err(error),
        };
        if let Some((target, pod)) = found {
            let name = sandbox_pod(&object.name, pod.as_deref());
            let pod = pod_of(context, &ObjectRef::new(&object.namespace, name), &target.uid).await?;
            let api_version = (number > 0).then_some(of.api_version);
            return Ok(Some(Target { api_version, pod, ..target }));
        }
    }
    Ok(None)
}

/// Pod of this name, if the Sandbox with this UID controls it.
async fn pod_of(context: &Context, object: &ObjectRef, uid: &str) -> Result<Option<SandboxPod>, Error> {
    let pods: Api<ReducedMetadata<Pod>> = Api::namespaced(context.client.clone(), &object.namespace);
    // The account may list Pods, and not get them.
    let named = ListParams::default().fields(&format!("metadata.name={}", object.name)).limit(1);
    let Some(found) = pods.list(&named).await?.items.into_iter().next() else { return Ok(None) };
    let metadata = found.metadata;
    let owner = controller(metadata.kept.owner_references.as_deref());
    if owner.is_none_or(|owner| owner.uid != uid) {
        return Ok(None);
    }
    Ok(metadata.kept.uid.map(|uid| SandboxPod {
        pod: PodRef { object: object.clone(), uid },
        is_leaving: metadata.kept.deletion_timestamp.is_some(),
        labels: metadata.kept.labels.unwrap_or_default(),
        annotations: metadata.annotations,
    }))
}

/// Gives up a Sandbox with this label value, by the steps that are next.
pub(super) async fn release(context: &Context, workload: &WorkloadRef, label: &str) -> Result<(), Error> {
    let Some(target) = read(context, &workload.object).await? else { return Ok(()) };
    for step in plan_release(workload, label, &target) {
        match step {
            ReleaseStep::Apply(fields) => apply_fields(context, (workload, Some(&target)), &fields).await?,
            ReleaseStep::Delete(pod) => delete(context, &pod).await?,
        }
    }
    Ok(())
}

/// Deletes the Pod of an enrolled Sandbox, which its controller makes anew.
pub(super) async fn replace(
    context: &Context,
    (name, runtime): (&ObjectRef, &IndexedRuntime),
    pod: &PodRef,
) -> Result<(), Error> {
    delete(context, pod).await?;
    context.events.send(SOURCE, name, &runtime.uid, &plan_replaced(&runtime.target.name, pod));
    Ok(())
}

async fn delete(context: &Context, pod: &PodRef) -> Result<(), Error> {
    context.writer.delete::<Pod>(&pod.object, Some(&pod.uid)).await?;
    context.metrics.wrote("pods of sandboxes");
    Ok(())
}
