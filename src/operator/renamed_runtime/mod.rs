//! `AgentRuntime`s of the API group of after the renaming. Each has a copy in the group of before, which enrols the workload
//! and whose status is shown here; garbage collection deletes it with its twin (ADR 0027).

use super::context::Context;
use super::events::EventSource;
use super::index::{IndexedRuntime, ObjectRef};
use super::limits::TWIN_REFUSED_AGAIN;
use super::reduced::ReducedMetadata;
use super::registration::register_agents;
use super::renamed::Renamed;
use countersign_api::agent_runtime::{AgentRuntime, AgentRuntimeStatus};
use countersign_api::keys::{AGENT_RUNTIME_KIND, Family};
use countersign_controller::api_error::Explained;
use countersign_controller::apply::merge_patch;
use countersign_controller::failure::is_passing;
use countersign_controller::key::{Key, Reconciler};
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry, Watched};
use countersign_controller::store::Change;
use countersign_io::clock::now;
use countersign_plan::agent_runtime::status::plan_events;
use countersign_plan::agent_runtime::twin::{Raw, TwinPlan, plan_refused, plan_shown, plan_twin};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Resource};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Copy of one `AgentRuntime`, and its status.
static TWIN: Reconciler = Reconciler { name: "RenamedRuntime", controller: "renamedruntime", waits: false };

/// Events about what is copied.
const SOURCE: EventSource = EventSource {
    controller: "agentruntime-controller",
    api_version: Family::Rossoctl.agent_runtime_api_version(),
    kind: AGENT_RUNTIME_KIND,
    action: "Enrol",
};

type Twin = Renamed<AgentRuntime>;

/// Registers the watch and the turns of twins.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    let index = &context.index;
    let api = Api::<ReducedMetadata<Twin>>::all(context.watching.clone());
    let twins = Watched::metadata("agentruntimes of the newer group", api, "");
    registry.watch(
        Watched { is_optional: true, ..twins },
        index,
        |index| &index.renamed_runtimes,
        |object| {
            let metadata = object.metadata.kept;
            Some((
                metadata.uid?,
                metadata.generation.unwrap_or_default(),
                metadata.deletion_timestamp.is_some(),
            ))
        },
    );
    index.renamed_runtimes.subscribe(context, |context, change| {
        // The own status comes back.
        if change.before != change.after {
            enqueue(context, change.object, Urgency::Urgent);
        }
    });
    index.runtimes.subscribe(context, |context, change: &Change<'_, IndexedRuntime>| {
        enqueue(context, change.object, Urgency::Routine);
    });
    register_agents(
        registry,
        &TWIN,
        context,
        |_| Vec::new(),
        |context, object| async move { Ok(reconcile(&context, &object).await?) },
    )
}

/// Enqueues the twin of a name, if there is one.
fn enqueue(context: &Context, object: &ObjectRef, urgency: Urgency) {
    if context.index.renamed_runtimes.get(object).is_some() {
        context.enqueue(Key { reconciler: &TWIN, object: object.clone() }, urgency);
    }
}

/// Turn of one twin.
async fn reconcile(context: &Context, name: &ObjectRef) -> Result<Next, kube::Error> {
    let Some(twin) = read::<Twin>(context, name).await? else { return Ok(Next::Never) };
    let copy = read::<AgentRuntime>(context, name).await?;
    let plan = plan_twin(name, &twin, copy.as_ref(), now());
    let written = match (&plan, &copy) {
        (TwinPlan::Create(object), _) => create(context, name, object).await.map(|()| TwinPlan::Nothing),
        (TwinPlan::Replace, Some(copy)) => replace(context, name, &twin, copy).await,
        _ => Ok(plan),
    };
    match written {
        Err(error) if is_passing(&error) => Err(error),
        Err(error) => {
            let told = plan_refused(&twin, &Explained(&error).to_string(), now());
            finish(context, name, &twin, &told).await?;
            Ok(Next::In(TWIN_REFUSED_AGAIN))
        }
        Ok(plan) => {
            finish(context, name, &twin, &plan).await?;
            Ok(Next::Never)
        }
    }
}

async fn create(context: &Context, name: &ObjectRef, object: &Value) -> Result<(), kube::Error> {
    context.writer.create::<AgentRuntime>(&name.namespace, object).await?;
    context.metrics.wrote("agentruntimes");
    Ok(())
}

/// Gives the copy the spec of its twin. Where that changes nothing, because the API server fills in or leaves out what the
/// twin's definition does not, the status is about this spec already.
async fn replace(
    context: &Context,
    name: &ObjectRef,
    twin: &Raw,
    copy: &Raw,
) -> Result<TwinPlan, kube::Error> {
    let stored = context.writer.replace_spec::<AgentRuntime>(name, copy.uid(), &twin.spec).await?;
    if stored.generation == copy.metadata.generation {
        return Ok(plan_shown(twin, copy));
    }
    context.metrics.wrote("agentruntimes");
    Ok(TwinPlan::Nothing)
}

/// Writes what a plan says about the twin itself.
async fn finish(context: &Context, name: &ObjectRef, twin: &Raw, plan: &TwinPlan) -> Result<(), kube::Error> {
    match plan {
        TwinPlan::SetFinalizers(rest) => {
            let before = twin.metadata.finalizers.as_deref().unwrap_or_default();
            context.writer.set_finalizers::<Twin>(name, twin.uid(), (before, rest)).await
        }
        TwinPlan::Show(status) => show(context, name, twin, status).await,
        TwinPlan::Nothing | TwinPlan::Create(_) | TwinPlan::Replace => Ok(()),
    }
}

/// Writes the difference of status, and tells of a change of `Ready`.
async fn show(context: &Context, name: &ObjectRef, twin: &Raw, after: &Value) -> Result<(), kube::Error> {
    let none = Value::Object(Map::new());
    let before = if twin.status.is_object() { &twin.status } else { &none };
    let Some(patch) = merge_patch(before, after) else { return Ok(()) };
    let version = twin.metadata.resource_version.as_deref().unwrap_or_default();
    context.writer.patch_status::<Twin>(name, version, patch).await?;
    context.metrics.wrote("agentruntimes/status");
    let [before, after] =
        [before, after].map(|status| AgentRuntimeStatus::deserialize(status).unwrap_or_default());
    for transition in plan_events(&before, &after) {
        context.events.send(SOURCE, name, twin.uid(), &transition);
    }
    Ok(())
}

/// Reads an object as JSON; `None` if it does not exist, or the cluster lacks the kind.
async fn read<K>(context: &Context, name: &ObjectRef) -> Result<Option<Raw>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let of = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &name.namespace, &of);
    let Some(mut object) = api.get_opt(&name.name).await? else { return Ok(None) };
    let mut take = |member: &str| object.data.get_mut(member).map(Value::take).unwrap_or_default();
    let (spec, status) = (take("spec"), take("status"));
    Ok(Some(Raw { metadata: object.metadata, spec, status }))
}
