//! Reconciliation of `AgentRuntime`s: workloads are enrolled, kept enrolled, and put back.
//! No finalizer is used: what a workload carries names its `AgentRuntime`, so that one whose object is gone is found
//! whenever and however the object went (ADR 0024).

mod constraint;
mod dispatch;
mod key;
mod observe;
mod sandbox;
mod sidecar;

pub(crate) use dispatch::{card_changed, namespace_changed, settings_changed};

use super::constraint::Binding;
use super::context::Context;
use super::events::EventSource;
use super::index::{Index, IndexKey, IndexedRuntime, ObjectRef, WorkloadKind, WorkloadRef};
use super::registration::register_agents;
use countersign_api::agent_runtime::{AgentRuntime, AgentRuntimeStatus};
use countersign_api::keys::{AGENT_RUNTIME_API_VERSION, AGENT_RUNTIME_KIND};
use countersign_controller::api_error::Explained;
use countersign_controller::apply::merge_patch;
use countersign_controller::failure::is_passing;
use countersign_controller::next::Next;
use countersign_controller::registry::{AlreadyRegistered, Registry};
use countersign_io::clock::now;
use countersign_plan::agent_runtime::sidecar::SidecarPlan;
use countersign_plan::agent_runtime::skills::{Gates, Skills};
use countersign_plan::agent_runtime::status::{Done, plan_events, plan_status};
use countersign_plan::agent_runtime::turn::{Found, Observed, RuntimePlan, plan_runtime, read_again};
use countersign_plan::agent_runtime::{EnrolledBy, ShownCard, Target, lacks_content};
use countersign_plan::mesh::plan_mesh_event;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Field manager of what enrolment writes on workloads. Giving up its fields puts a workload back.
const FIELD_MANAGER: &str = "countersign-agentruntime";

/// Time until a turn that came before the settings of sidecars, or before the right to use them, is taken again.
const SETTINGS: Duration = Duration::from_secs(1);

/// Events about enrolment.
const SOURCE: EventSource = EventSource {
    controller: "agentruntime-controller",
    api_version: AGENT_RUNTIME_API_VERSION,
    kind: AGENT_RUNTIME_KIND,
    action: "Enrol",
};

/// Registers the turns of `AgentRuntime`s.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    dispatch::subscribe(context);
    register_agents(
        registry,
        &key::RUNTIME,
        context,
        Index::unread_for_enrolment,
        |context, object| async move { Ok(reconcile(&context, &object).await?) },
    )
}

/// Turn of the `AgentRuntime` with the label value `object.name`, or of what it left behind.
async fn reconcile(context: &Context, object: &ObjectRef) -> Result<Next, kube::Error> {
    let (namespace, label) = (object.namespace.as_str(), object.name.as_str());
    let enrolled = enrolled(context, namespace, label);
    let named = context.index.runtimes.with_key(namespace, IndexKey::Label, label).into_iter().next();
    let Some((name, runtime)) = named.as_ref().filter(|(_, runtime)| !runtime.is_leaving) else {
        let leaving = named.as_ref().map(|(_, runtime)| runtime);
        let plan = plan_runtime(&Observed { runtime: leaving, ..Observed::gone(namespace, &enrolled) });
        release(context, label, &plan).await?;
        if let (Some((name, runtime)), Some(rest)) = (&named, &plan.finalizers) {
            let change = (runtime.finalizers.as_slice(), rest.as_slice());
            context.writer.set_finalizers::<AgentRuntime>(name, &runtime.uid, change).await?;
        }
        return Ok(Next::Never);
    };
    if context.sidecars.settings().is_none() {
        // Pods would be replaced twice: without the sidecar, and with it once the cluster was looked at.
        return Ok(Next::In(SETTINGS));
    }
    let (hash, warning, config) = match observe::config(context, namespace).await {
        Ok(sources) => {
            let warning = Gates::parse(&sources).err().or_else(|| sources.warning());
            (sources.hash().map_err(|error| error.to_string()), warning, Some(sources))
        }
        Err(error) if is_passing(&error) => return Err(error),
        Err(error) => (Err(Explained(&error).to_string()), None, None),
    };
    let workload = runtime.workload(namespace);
    let target = match &workload {
        Some(workload) => observe::target(context, workload).await?,
        None => None,
    };
    let mut sidecar = match (&workload, &target) {
        (Some(workload), Some(target)) => {
            sidecar::plan(context, runtime, config.as_ref(), (workload, target)).await?
        }
        _ => SidecarPlan::Unknown,
    };
    let rivals = rivals(context, name, runtime);
    let plan_with = |sidecar: &SidecarPlan| {
        plan_runtime(&Observed {
            namespace,
            sidecar,
            runtime: Some(runtime),
            rivals: &rivals,
            enrolled: &enrolled,
            target: target.as_ref(),
            lacks_kind: workload.as_ref().is_some_and(|workload| {
                workload.kind == WorkloadKind::Sandbox && context.index.enrolled_sandboxes.is_absent()
            }),
            hash: hash.as_deref().ok(),
        })
    };
    let mut plan = plan_with(&sidecar);
    // A workload that cannot be given up, which an admission policy may refuse, holds nothing else up.
    let released = release(context, label, &plan).await;
    let enrols = target.as_ref().filter(|_| plan.found == Some(Found::Enrolled));
    let constrained = enrols.filter(|target| sidecar.is_injected(target));
    match constraint::binding(context, object, constrained.map(|target| target.service_account.as_str())) {
        Binding::Stands => {}
        // Its namespace tells of the end.
        Binding::Awaited => return Ok(Next::In(SETTINGS)),
        Binding::Refused(problem) => {
            sidecar = SidecarPlan::unbound(&problem);
            plan = plan_with(&sidecar);
        }
    }
    if let (Some(Found::Enrolled), Some(workload), Some(target)) = (&plan.found, &workload, &target) {
        // The configuration first: new Pods would wait for it. Without it the workload is enrolled all the same.
        match sidecar::apply(context, &sidecar, workload, target).await {
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => {
                sidecar = SidecarPlan::unwritten(&Explained(&error).to_string());
                plan = plan_with(&sidecar);
            }
            Ok(()) => {}
        }
    }
    let applied = match apply(context, (name, runtime), &plan, target.as_ref()).await {
        Err(error) if is_passing(&error) => return Err(error),
        applied => applied.map_err(|error| Explained(&error).to_string()),
    };
    let Some(found) = &plan.found else { return released.map(|()| Next::Never) };
    let skills = target.as_ref().zip(config.as_ref()).map(|(target, sources)| {
        // What is wrong with the gates is the warning.
        Skills::of(&target.skills, Gates::parse(sources).unwrap_or_default())
    });
    let cards = workload.map(|workload| context.index.cards_of(&workload)).unwrap_or_default();
    // Where a workload has several AgentCards, all of them have to be verified for it to be; the first by name is shown.
    let shown = cards.into_iter().next().map(|(card, indexed)| (card, indexed.status.read()));
    let card = shown.as_ref().map(|(card, status)| ShownCard { name: &card.name, status, content: None });
    let done = Done {
        card,
        found,
        target: target.as_ref(),
        hash: hash.as_deref().map_err(String::as_str),
        warning: warning.as_deref(),
        sidecar: &sidecar,
        mesh: &context.shown_mesh(namespace),
        skills: &skills.unwrap_or_default(),
        applied: applied.as_ref().map(|&()| ()).map_err(String::as_str),
    };
    write_status(context, (name, runtime), &done).await?;
    released?;
    Ok(Next::In(read_again(found, runtime, now())))
}

/// Workloads that carry a label value.
fn enrolled(context: &Context, namespace: &str, label: &str) -> Vec<(WorkloadRef, EnrolledBy)> {
    let of = |kind| {
        let found = context.index.enrolled_by(kind).with_key(namespace, IndexKey::Label, label).into_iter();
        found.map(move |(object, by)| (WorkloadRef { kind, object }, by))
    };
    WorkloadKind::ALL.into_iter().flat_map(of).collect()
}

/// Other objects with a target of the same name that stay.
fn rivals(context: &Context, name: &ObjectRef, runtime: &IndexedRuntime) -> Vec<IndexedRuntime> {
    let found = context.index.runtimes.with_key(&name.namespace, IndexKey::Target, &runtime.target.name);
    let others = found.into_iter().filter(|(other, rival)| other != name && !rival.is_leaving);
    others.map(|(_, rival)| rival).collect()
}

/// Gives up the workloads that the plan names, which carry this label value. One that is gone meanwhile needs nothing.
async fn release(context: &Context, label: &str, plan: &RuntimePlan) -> Result<(), kube::Error> {
    let mut released = Ok(());
    for (workload, fields) in &plan.release {
        released = released.and(match workload.kind {
            WorkloadKind::Sandbox => sandbox::release(context, workload, label).await,
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
                apply_fields(context, (workload, None), fields).await
            }
        });
    }
    released
}

/// Writes the fields of enrolment, and then has the Pod of a Sandbox replaced.
async fn apply(
    context: &Context,
    runtime: (&ObjectRef, &IndexedRuntime),
    plan: &RuntimePlan,
    target: Option<&Target>,
) -> Result<(), kube::Error> {
    if let Some((workload, fields)) = &plan.apply {
        apply_fields(context, (workload, target), fields).await?;
    }
    match &plan.replace {
        Some(pod) => sandbox::replace(context, runtime, pod).await,
        None => Ok(()),
    }
}

async fn apply_fields(
    context: &Context,
    (workload, target): (&WorkloadRef, Option<&Target>),
    fields: &Value,
) -> Result<(), kube::Error> {
    let of = observe::resource(workload.kind, target);
    context.writer.apply_fields(&of, &workload.object, (FIELD_MANAGER, fields)).await?;
    context.metrics.wrote("enrolled workloads");
    Ok(())
}

/// Writes the difference of status, if there is one, and tells of a change of `Ready`.
async fn write_status(
    context: &Context,
    (name, runtime): (&ObjectRef, &IndexedRuntime),
    done: &Done<'_>,
) -> Result<(), kube::Error> {
    let before = runtime.status.read();
    let data = match done.card.filter(|card| lacks_content(&before, card)) {
        Some(card) => observe::content(context, &name.namespace, card.name).await?,
        None => None,
    };
    let card = done.card.map(|card| ShownCard { content: data.as_ref(), ..card });
    let after = plan_status(runtime, &before, &Done { card, ..*done }, now());
    let json = |status: &AgentRuntimeStatus| serde_json::to_value(status).map_err(kube::Error::SerdeError);
    let Some(mut patch) = merge_patch(&json(&before)?, &json(&after)?) else { return Ok(()) };
    if let (Some(data), Some(card)) = (&data, patch.get_mut("card").and_then(Value::as_object_mut)) {
        // `before` lacks the content of the last card, of which nothing may stay.
        card.extend(data.replacing().map_err(kube::Error::SerdeError)?);
    }
    context.writer.patch_status::<AgentRuntime>(name, &runtime.resource_version, patch).await?;
    context.metrics.wrote("agentruntimes/status");
    for transition in plan_events(&before, &after).into_iter().chain(plan_mesh_event(&before, &after)) {
        context.events.send(SOURCE, name, &runtime.uid, &transition);
    }
    Ok(())
}
