//! Sidecar of an enrolled workload: its configuration as a ConfigMap of the workload.

use super::FIELD_MANAGER;
use super::observe::inherited;
use crate::context::Context;
use crate::index::{IndexedRuntime, ObjectRef, WorkloadRef};
use countersign_api::keys::{AUTHBRIDGE_CONFIG, SIDECAR_CONFIG_KEY};
use countersign_controller::failure::is_passing;
use countersign_plan::agent_runtime::Target;
use countersign_plan::agent_runtime::config_hash::{ConfigSources, Data};
use countersign_plan::agent_runtime::sidecar::{SidecarFacts, SidecarPlan, config_map, plan_sidecar};
use countersign_plan::injection::{SidecarSources, is_exempt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ApiResource;
use kube::{Api, Error};

/// Plans the sidecar from what this replica knows now, and from Keycloak's settings if one may be injected.
pub(super) async fn plan(
    context: &Context,
    runtime: &IndexedRuntime,
    config: Option<&ConfigSources>,
    (workload, target): (&WorkloadRef, &Target),
) -> Result<SidecarPlan, Error> {
    let namespace = workload.object.namespace.as_str();
    let is_offered = context.sidecars.is_offered();
    // A template that asks where the webhook is not called would get no new Pod any more.
    let is_enabled = !is_exempt(namespace, context.config.namespace.as_str())
        && context.index.injected.get(&ObjectRef::new("", namespace)).is_some();
    let keycloak = if is_offered && is_enabled { keycloak(context, namespace).await? } else { None };
    let settings = context.sidecars.settings();
    let known = settings.as_ref().zip(config).zip(keycloak.as_ref());
    let sources = known.map(|((settings, config), keycloak)| SidecarSources {
        base: &config.runtime,
        keycloak,
        mtls_mode: runtime.mtls_mode,
        allowed_audiences: &runtime.sidecar.allowed_audiences,
        has_spire: settings.spire.is_some(),
        has_credentials: target.has_credentials(),
    });
    Ok(plan_sidecar(runtime, &SidecarFacts { is_offered, is_enabled, sources }, workload, target))
}

/// Keycloak's settings of a namespace, empty if there are none; `None` if they may not be read.
async fn keycloak(context: &Context, namespace: &str) -> Result<Option<Data>, Error> {
    match inherited(context, namespace, AUTHBRIDGE_CONFIG).await {
        Ok(map) => Ok(Some(map.and_then(|map| map.data).unwrap_or_default())),
        Err(error) if is_passing(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Applies the ConfigMap of a plan, if it is another one than there is.
pub(super) async fn apply(
    context: &Context,
    plan: &SidecarPlan,
    workload: &WorkloadRef,
    target: &Target,
) -> Result<(), Error> {
    let SidecarPlan::Configured { name, text, .. } = plan else { return Ok(()) };
    let namespace = &workload.object.namespace;
    let found = maps(context, namespace).get_opt(name).await?;
    let is_same = found.is_some_and(|map| {
        let is_owned = map.metadata.owner_references.iter().flatten().any(|owner| owner.uid == target.uid);
        is_owned && map.data.as_ref().and_then(|data| data.get(SIDECAR_CONFIG_KEY)) == Some(text)
    });
    if !is_same {
        let fields = config_map((name, text), workload, target);
        let of = ApiResource::erase::<ConfigMap>(&());
        context.writer.apply_fields(&of, &ObjectRef::new(namespace, name), (FIELD_MANAGER, &fields)).await?;
        context.metrics.wrote("configurations of sidecars");
    }
    Ok(())
}

fn maps(context: &Context, namespace: &str) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), namespace)
}
