//! Sidecar of an enrolled workload: its configuration as a ConfigMap of the workload.

use super::FIELD_MANAGER;
use super::observe::NamespaceConfig;
use crate::context::Context;
use crate::index::{IndexedRuntime, ObjectRef, WorkloadRef};
use countersign_api::keys::SIDECAR_CONFIG_KEY;
use countersign_plan::agent_runtime::Target;
use countersign_plan::agent_runtime::sidecar::{SidecarFacts, SidecarPlan, plan_sidecar};
use countersign_plan::injection::SidecarSources;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ApiResource;

/// Plans the sidecar from what this replica knows now.
pub(super) fn plan(
    context: &Context,
    namespace: &str,
    runtime: &IndexedRuntime,
    config: Option<&NamespaceConfig>,
) -> SidecarPlan {
    let settings = context.sidecars.settings();
    let sources = settings.as_ref().zip(config).map(|(settings, config)| SidecarSources {
        base: &config.sources.runtime,
        keycloak: &config.keycloak,
        mtls_mode: runtime.mtls_mode,
        allowed_audiences: &runtime.sidecar.allowed_audiences,
        has_spire: settings.spire.is_some(),
    });
    let facts = SidecarFacts {
        is_offered: !context.config.sidecar_image.is_empty(),
        is_enabled: context.index.injected.get(&ObjectRef::new("", namespace)).is_some(),
        sources,
    };
    plan_sidecar(runtime, &runtime.target.name, &facts)
}

/// Applies the ConfigMap of a plan, if it is another one than there is.
pub(super) async fn apply(
    context: &Context,
    plan: &SidecarPlan,
    workload: &WorkloadRef,
    target: &Target,
) -> Result<(), kube::Error> {
    let (Some((name, fields)), SidecarPlan::Configured { text, .. }) =
        (plan.config_map(workload, target), plan)
    else {
        return Ok(());
    };
    let namespace = &workload.object.namespace;
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let found = maps.get_opt(&name).await?;
    let is_same = found.is_some_and(|map| {
        let is_owned = map.metadata.owner_references.iter().flatten().any(|owner| owner.uid == target.uid);
        is_owned && map.data.as_ref().and_then(|data| data.get(SIDECAR_CONFIG_KEY)) == Some(text)
    });
    if !is_same {
        let of = ApiResource::erase::<ConfigMap>(&());
        context.writer.apply_fields(&of, &ObjectRef::new(namespace, &name), (FIELD_MANAGER, &fields)).await?;
        context.metrics.wrote("configurations of sidecars");
    }
    Ok(())
}
