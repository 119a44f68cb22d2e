//! `RoleBinding`s of OpenShift's security context constraint for the sidecar, for an operator that is started with
//! `--scc-binding` (ADR 29). Each namespace has a turn of its own, for which turns of `AgentRuntime`s wait.

use super::constraint::{self, Bound, SCC};
use super::context::Context;
use super::index::{IndexedRuntime, ObjectRef};
use super::registration::register_agents;
use super::runtime;
use countersign_api::keys::SCC_ROLE;
use countersign_controller::api_error::Explained;
use countersign_controller::failure::{Failure, is_passing};
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry};
use countersign_controller::store::Change;
use countersign_plan::scc::{BindingPlan, Observed, StoredBinding, plan_binding};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::Api;
use kube::api::ApiResource;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Field manager of the `RoleBinding`s.
const FIELD_MANAGER: &str = "countersign-scc";
/// Time until the cluster is asked again whether it has the role.
const PERIOD: Duration = Duration::from_secs(30);
/// The same while nothing is known yet.
const SOON: Duration = Duration::from_secs(1);
/// Time until a `RoleBinding` is read again, which no watch follows: the right to list those of others is not needed.
const READ_AGAIN: Duration = Duration::from_mins(5);
/// The same where another one has its name.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);

/// Registers the turns, if the operator binds.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    if !context.config.surroundings.scc_binding {
        return Ok(());
    }
    context.index.runtimes.subscribe(context, |context, change: &Change<'_, IndexedRuntime>| {
        let leaves = |runtime: &&IndexedRuntime| change.after.is_none() || runtime.is_leaving;
        if let Some(runtime) = change.after.or(change.before).filter(leaves) {
            let namespace = &change.object.namespace;
            context.scc.needs.forget(&ObjectRef::new(namespace, &runtime.label));
            enqueue(context, namespace);
        }
    });
    register_agents(
        registry,
        &SCC,
        context,
        |index| if index.runtimes.is_synced() { Vec::new() } else { vec!["agentruntimes"] },
        |context, object| async move { reconcile(&context, &object).await },
    )
}

/// Asks the cluster again and again whether it has the role, until dropped.
pub(crate) async fn follow(context: &Context) {
    if !context.config.surroundings.scc_binding {
        return std::future::pending().await;
    }
    let roles = Api::<ClusterRole>::all(context.client.clone());
    loop {
        let is_first = context.scc.has_role().is_none();
        let found = match roles.get_metadata_opt(SCC_ROLE).await {
            Ok(found) => Some(found.is_some()),
            // What was found last stays.
            Err(error) if is_passing(&error) => None,
            Err(error) => {
                if is_first {
                    tracing::warn!(
                        "ClusterRole {SCC_ROLE} cannot be read, and counts as absent: {}",
                        Explained(&error)
                    );
                }
                Some(false)
            }
        };
        if found.is_some_and(|found| context.scc.set_role(found)) {
            tracing::info!(found, "whether the cluster has the security context constraint of the sidecar");
            for object in context.index.runtimes.objects() {
                enqueue(context, &object.namespace);
            }
        }
        sleep(if context.scc.has_role().is_some() { PERIOD } else { SOON }).await;
    }
}

fn enqueue(context: &Context, namespace: &str) {
    context.enqueue(constraint::key(namespace), Urgency::Routine);
}

/// Turn of one namespace.
async fn reconcile(context: &Context, object: &ObjectRef) -> Result<Next, Failure> {
    let namespace = object.namespace.to_string();
    if context.scc.has_role() != Some(true) {
        context.scc.bound.forget(&namespace);
        return Ok(Next::Never);
    }
    let labels = context
        .index
        .runtimes
        .pick(&namespace, |_, runtime| (!runtime.is_leaving).then(|| runtime.label.clone()));
    let needs: Vec<_> =
        labels.iter().map(|label| context.scc.needs.get(&ObjectRef::new(&namespace, label))).collect();
    let is_whole = needs.iter().all(Option::is_some);
    let accounts: BTreeSet<String> = needs.into_iter().flatten().flatten().collect();
    let is_needed = !accounts.is_empty();
    let (bound, answer) = match write(context, object, &accounts, is_whole).await {
        Ok(None) => {
            (Bound::Accounts(accounts), Ok(if is_needed { Next::In(READ_AGAIN) } else { Next::Never }))
        }
        Ok(Some(refusal)) => (Bound::Refused(refusal), Ok(Next::In(REFUSED_AGAIN))),
        Err(error) if is_passing(&error) => return Err(error.into()),
        // It is tried again, ever later.
        Err(error) => (Bound::Refused(Explained(&error).to_string()), Err(error.into())),
    };
    if context.scc.bound.set(namespace.clone(), bound) {
        runtime::namespace_changed(context, &namespace);
    }
    answer
}

/// Gives the `RoleBinding` its subjects, or removes it; returns why that is not possible, if it is not.
async fn write(
    context: &Context,
    object: &ObjectRef,
    accounts: &BTreeSet<String>,
    is_whole: bool,
) -> Result<Option<String>, kube::Error> {
    let bindings: Api<RoleBinding> = Api::namespaced(context.client.clone(), &object.namespace);
    let stored = bindings.get_opt(&object.name).await?.and_then(StoredBinding::of);
    let namespace = object.namespace.as_str();
    match plan_binding(&Observed { namespace, stored: stored.as_ref(), accounts, is_whole }) {
        BindingPlan::Stands => return Ok(None),
        BindingPlan::Refuse(refusal) => return Ok(Some(refusal)),
        BindingPlan::Apply(fields) => {
            let of = ApiResource::erase::<RoleBinding>(&());
            context.writer.apply_fields(&of, object, (FIELD_MANAGER, &fields)).await?;
        }
        BindingPlan::Remove(uid) => context.writer.delete::<RoleBinding>(object, Some(&uid)).await?,
    }
    context.metrics.wrote("rolebindings");
    Ok(None)
}
