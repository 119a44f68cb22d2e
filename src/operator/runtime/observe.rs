//! Reads of an enrolment that no watch answers: the workload with its Pod template, and the configuration.

use super::sandbox;
use crate::context::Context;
use crate::index::{WorkloadKind, WorkloadRef, sandboxes};
use crate::limits::DEFAULTS_READ;
use crate::reduced::{self, ReducedTarget};
use countersign_api::agent_card::{AgentCard, AgentCardData};
use countersign_api::keys::{
    DEFAULTS_LABEL, FEATURE_GATES, PLATFORM_CONFIG, RUNTIME_CONFIG, RUNTIME_CONFIG_KEY,
};
use countersign_plan::agent_runtime::Target;
use countersign_plan::agent_runtime::config_hash::{ConfigSources, Data};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, ListParams};
use kube::{Api, Error};

/// API resource of a kind that can be enrolled, in the version of `target` if that is not the first.
pub(super) fn resource(kind: WorkloadKind, target: Option<&Target>) -> ApiResource {
    match kind {
        WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
        WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        WorkloadKind::Sandbox => {
            let [first, second] = sandboxes();
            let version = target.and_then(|target| target.api_version.as_ref());
            if version == Some(&second.api_version) { second } else { first }
        }
    }
}

/// Reads a workload; `None` if it does not exist.
pub(super) async fn target(context: &Context, workload: &WorkloadRef) -> Result<Option<Target>, Error> {
    if workload.kind == WorkloadKind::Sandbox {
        return sandbox::read(context, &workload.object).await;
    }
    let of = resource(workload.kind, None);
    let api: Api<ReducedTarget> =
        Api::namespaced_with(context.client.clone(), &workload.object.namespace, &of);
    Ok(api.get_opt(&workload.object.name).await?.and_then(reduced::target))
}

/// Reads the configuration that sidecars of a namespace are made from.
pub(super) async fn config(context: &Context, namespace: &str) -> Result<ConfigSources, Error> {
    let api = |namespace: &str| Api::<ConfigMap>::namespaced(context.client.clone(), namespace);
    let (own, tenants) = (api(context.config.namespace.as_str()), api(namespace));
    let data = |map: Option<ConfigMap>| map.and_then(|map| map.data).unwrap_or_default();
    let defaults = ListParams::default().labels(&format!("{DEFAULTS_LABEL}=true")).limit(DEFAULTS_READ);
    let (gates, platform, runtime, defaults) = tokio::try_join!(
        own.get_opt(FEATURE_GATES),
        own.get_opt(PLATFORM_CONFIG),
        inherited(context, namespace, RUNTIME_CONFIG),
        tenants.list(&defaults),
    )?;
    let named = |map: ConfigMap| Some((map.metadata.name?, map.data.unwrap_or_default()));
    let namespace: Vec<Option<(String, Data)>> = defaults.items.into_iter().map(named).collect();
    Ok(ConfigSources {
        feature_gates: data(gates),
        platform: data(platform),
        namespace: namespace.into_iter().flatten().collect(),
        runtime: data(runtime).remove(RUNTIME_CONFIG_KEY).unwrap_or_default(),
    })
}

/// Reads a ConfigMap of a namespace; where it has none, that of this name in the operator's namespace counts. The existing
/// operator copies that one, and a copy stays as it was.
pub(super) async fn inherited(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<ConfigMap>, Error> {
    for namespace in [namespace, context.config.namespace.as_str()] {
        let found = Api::<ConfigMap>::namespaced(context.client.clone(), namespace).get_opt(name).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Reads the content of a card, which the index does not keep.
pub(super) async fn content(
    context: &Context,
    namespace: &str,
    card: &str,
) -> Result<Option<AgentCardData>, Error> {
    let cards: Api<AgentCard> = Api::namespaced(context.client.clone(), namespace);
    Ok(cards.get_opt(card).await?.and_then(|card| card.status?.card))
}
