//! Reconciliation of the isolation of a namespace, and of policies whose workload is gone.
//! Isolation stays while a workload or Pod of an agent exists or the namespace is enrolled as a whole.

mod dispatch;
pub(crate) mod key;

use super::context::Context;
use super::events::EventSource;
use super::index::{Index, IndexKey, ObjectRef, StoredPolicy, WorkloadKind};
use super::registration::register_agents;
use super::workload::{apply_policy, key as workload_key, remove_policy};
use countersign_api::keys::{Family, MODE_ENFORCE, MODE_LABEL};
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry};
use countersign_plan::agent_card::transition::Transition;
use countersign_plan::input::pod::selector_text;
use countersign_plan::namespace::{Observed, plan_namespace};
use countersign_plan::{ClusterAccess, Mode, Namespace};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::ListParams;
use std::sync::Arc;
use std::time::Duration;

/// Wait until the next turn while input is missing or Pods still end.
const RETRY: Duration = Duration::from_secs(10);

/// Events about policies of the existing operator.
const LEFTOVER: EventSource = EventSource {
    controller: "agentcard-controller",
    api_version: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    action: "CleanUp",
};

/// Wait until the next turn while Pods without an agent label are isolated by a leftover alone.
const RETRY_LEFTOVER: Duration = Duration::from_mins(5);

/// Registers the reconcilers of namespaces and orphaned policies.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    dispatch::subscribe(context);
    // Isolation does not wait for AgentCards: agents must not be open while that list is missing.
    let unread = Index::unread_for_isolation;
    register_agents(registry, &key::NAMESPACE, context, unread, |context, object| async move {
        Ok(reconcile(&context, &object.name).await?)
    })?;
    register_agents(registry, &key::ORPHAN, context, Index::unread, |context, object| async move {
        Ok(reconcile_orphan(&context, &object).await?)
    })
}

async fn reconcile(context: &Context, namespace: &str) -> Result<Next, kube::Error> {
    let cluster = context.cluster().and_then(Result::ok);
    let Ok(name) = Namespace::parse(namespace) else { return Ok(Next::Never) };
    let plans = Family::ALL.map(|family| plan_namespace(&observe(context, &name, family, cluster.as_ref())));
    // Every policy isolates, so that none waits for another.
    let mut failed = None;
    for policy in plans.iter().flat_map(|plan| &plan.apply) {
        if let Err(error) = apply_policy(context, policy).await {
            failed = failed.or(Some(error));
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    for object in plans.iter().flat_map(|plan| &plan.remove) {
        remove_policy(context, object).await?;
    }
    if plans.iter().any(|plan| !plan.apply.is_empty()) {
        // Access waits for isolation.
        for workload in context.index.workloads_in(namespace) {
            context.enqueue(workload_key::workload(workload), Urgency::Urgent);
        }
    }
    let is_whole = plans.iter().all(|plan| plan.is_whole) && context.index.is_listed(WorkloadKind::Sandbox);
    Ok(if is_whole { Next::Never } else { Next::In(RETRY) })
}

fn observe<'a>(
    context: &Context,
    namespace: &'a Namespace,
    family: Family,
    cluster: Option<&'a ClusterAccess>,
) -> Observed<'a> {
    let (index, name) = (&context.index, namespace.as_str());
    let stored = |policy: &str| index.policies.get(&ObjectRef::new(name, policy));
    let (baseline, minimum) = (stored(family.baseline()), stored(family.minimum()));
    // Isolation that stands may be that of a Sandbox.
    let may_have = !index.is_listed(WorkloadKind::Sandbox) && (baseline.is_some() || minimum.is_some());
    Observed {
        namespace,
        family,
        has_agents: index.has_agents(name, family) || may_have,
        is_enrolled: index.enrolled.get(&ObjectRef::cluster_scoped(name)).is_some(),
        mode: context.mode(name),
        cluster,
        baseline,
        minimum,
    }
}

/// Removes a policy whose workload is gone, once the policy selects no Pod any more.
async fn reconcile_orphan(context: &Context, object: &ObjectRef) -> Result<Next, kube::Error> {
    let Some(known) = context.index.policies.get(object) else { return Ok(Next::Never) };
    if known.is_leftover {
        return remove_leftover(context, object, &known).await;
    }
    let owner = known
        .workload
        .as_ref()
        .and_then(|label| context.index.workload_by(&object.namespace, IndexKey::Label, label));
    if owner.is_some() {
        return Ok(Next::Never);
    }
    if !context.index.is_synced() || may_be_of_a_sandbox(&context.index, object, &known) {
        return Ok(Next::In(RETRY));
    }
    let policies: Api<NetworkPolicy> = Api::namespaced(context.client.clone(), &object.namespace);
    let Some(policy) = policies.get_opt(&object.name).await? else { return Ok(Next::Never) };
    let selector = policy.spec.and_then(|spec| spec.pod_selector).unwrap_or_default();
    let only = ListParams::default().labels(&selector_text(&selector)).limit(1);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &object.namespace);
    if pods.list_metadata(&only).await?.items.is_empty() {
        remove_policy(context, object).await?;
        return Ok(Next::Never);
    }
    Ok(Next::In(RETRY))
}

/// True if a policy may be that of a Sandbox that is not listed. Nobody waits for that list but whom it concerns: the right to
/// it may be missing for ever, and its definition broken.
fn may_be_of_a_sandbox(index: &Index, object: &ObjectRef, known: &StoredPolicy) -> bool {
    let others = [WorkloadKind::Deployment, WorkloadKind::StatefulSet];
    !index.is_listed(WorkloadKind::Sandbox) && !others.into_iter().any(|kind| known.is_of(object, kind))
}

/// Removes a policy that the existing operator left, once the isolation of the namespace stands in its place. In audit
/// mode it stays, because nothing would isolate the Pods after it, and an event tells of it.
async fn remove_leftover(
    context: &Context,
    object: &ObjectRef,
    known: &StoredPolicy,
) -> Result<Next, kube::Error> {
    let tell = |transition: &Transition| {
        context.events.send(LEFTOVER, object, known.uid.as_deref().unwrap_or_default(), transition);
    };
    if context.mode(&object.namespace) == Mode::Audit {
        tell(&Transition::warning(
            "LeftoverPolicy",
            "a policy of the operator that was replaced, which follows no verdict any more; it is removed once verdicts \
             are enforced here",
            &format!(
                "Label the namespace {MODE_LABEL}={MODE_ENFORCE} when its agents are ready for it, or delete this policy \
                 if nothing else needs it."
            ),
        ));
        return Ok(Next::Never);
    }
    let index = &context.index;
    let (isolated, open): (Vec<Family>, Vec<Family>) =
        Family::ALL.into_iter().partition(|family| index.is_isolated(&object.namespace, *family));
    if isolated.is_empty() || open.into_iter().any(|family| index.has_agents(&object.namespace, family)) {
        return Ok(Next::In(RETRY));
    }
    let policies: Api<NetworkPolicy> = Api::namespaced(context.client.clone(), &object.namespace);
    let Some(policy) = policies.get_opt(&object.name).await? else { return Ok(Next::Never) };
    // The isolation of the namespace holds Pods with an agent label alone; what else this policy selects would be open
    // without it.
    let selector = selector_text(&policy.spec.and_then(|spec| spec.pod_selector).unwrap_or_default());
    let others: Vec<String> = isolated.into_iter().map(Family::others_selector).collect();
    let others = others.join(",");
    let others = if selector.is_empty() { others } else { format!("{selector},{others}") };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &object.namespace);
    let unlabelled = pods.list_metadata(&ListParams::default().labels(&others).limit(1)).await?;
    if !unlabelled.items.is_empty() {
        return Ok(Next::In(RETRY_LEFTOVER));
    }
    // The UID spares a policy of ours that has taken the name meanwhile.
    context.writer.delete::<NetworkPolicy>(object, known.uid.as_deref()).await?;
    context.metrics.wrote("networkpolicies");
    tell(&Transition::normal(
        "LeftoverPolicyRemoved",
        "a policy of the operator that was replaced: what it admitted follows the verdict now",
    ));
    Ok(Next::Never)
}
