//! Labels of Istio's ambient mesh on namespaces with an `AgentRuntime`, for an operator that is started with
//! `--istio-mesh-labels` (ADR 28). Each namespace has a turn of its own, whose finding its `AgentRuntime`s show.

use super::context::Context;
use super::index::{IndexedRuntime, ObjectRef};
use super::reduced::ReducedMetadata;
use super::registration::register_agents;
use super::runtime;
use countersign_controller::api_error::Explained;
use countersign_controller::failure::{Failure, is_passing};
use countersign_controller::key::{Key, Reconciler};
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry, Watched};
use countersign_controller::store::Change;
use countersign_plan::mesh::{Mesh, MeshNamespace, MeshPlan, plan_mesh};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ApiResource;
use serde_json::Value;
use std::sync::Arc;

/// Field manager of the labels.
const FIELD_MANAGER: &str = "countersign-mesh";

/// Labels of one namespace.
static MESH: Reconciler = Reconciler { name: "mesh", controller: "agentruntime", waits: false };

/// Registers the watch and the turns, if the operator labels namespaces.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    if !context.config.surroundings.istio_mesh_labels {
        return Ok(());
    }
    let index = &context.index;
    let api = Api::<ReducedMetadata<Namespace>>::all(context.watching.clone());
    registry.watch(
        Watched::metadata("namespaces of the mesh", api, ""),
        index,
        |index| &index.mesh_namespaces,
        |object| MeshNamespace::of(object.metadata.kept),
    );
    index.mesh_namespaces.subscribe(context, |context, change| enqueue(context, &change.object.name));
    index.runtimes.subscribe(context, |context, change: &Change<'_, IndexedRuntime>| {
        let stays = |runtime: Option<&IndexedRuntime>| runtime.is_some_and(|runtime| !runtime.is_leaving);
        if stays(change.before) != stays(change.after) {
            enqueue(context, &change.object.namespace);
        }
    });
    register_agents(
        registry,
        &MESH,
        context,
        |index| {
            let lists = [
                ("agentruntimes", index.runtimes.is_synced()),
                ("namespaces of the mesh", index.mesh_namespaces.is_synced()),
            ];
            lists.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind).collect()
        },
        |context, object| async move { reconcile(&context, &object).await },
    )
}

fn enqueue(context: &Context, namespace: &str) {
    if has_runtimes(context, namespace) || context.meshes.get(&namespace.to_owned()).is_some() {
        let object = ObjectRef::cluster_scoped(namespace);
        context.enqueue(Key { reconciler: &MESH, object }, Urgency::Routine);
    }
}

fn has_runtimes(context: &Context, namespace: &str) -> bool {
    context.index.runtimes.find(namespace, |runtime| !runtime.is_leaving).is_some()
}

/// Turn of one namespace. The labels stay when its last `AgentRuntime` goes, and are not looked after any more.
async fn reconcile(context: &Context, object: &ObjectRef) -> Result<Next, Failure> {
    let name = object.name.to_string();
    let known = context.index.mesh_namespaces.get(object).filter(|_| has_runtimes(context, &name));
    let Some(known) = known else {
        context.meshes.forget(&name);
        return Ok(Next::Never);
    };
    let (found, answer) = match plan_mesh(&name, &known) {
        MeshPlan::Leave => return Ok(Next::Never),
        MeshPlan::Stands(found) => (found, Ok(Next::Never)),
        MeshPlan::Label(fields) => match label(context, object, &fields).await {
            Ok(()) => (Mesh::Labelled, Ok(Next::Never)),
            Err(error) if is_passing(&error) => return Err(error.into()),
            // It is tried again, ever later.
            Err(error) => (Mesh::Refused(Explained(&error).to_string()), Err(error.into())),
        },
    };
    if context.meshes.set(name.clone(), found) {
        runtime::namespace_changed(context, &name);
    }
    answer
}

async fn label(context: &Context, object: &ObjectRef, fields: &Value) -> Result<(), kube::Error> {
    let of = ApiResource::erase::<Namespace>(&());
    context.writer.apply_fields(&of, object, (FIELD_MANAGER, fields)).await?;
    context.metrics.wrote("namespaces");
    Ok(())
}
