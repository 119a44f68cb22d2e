//! `AgentRuntime` objects, and the workloads that they enrol: what is in use of each.

use super::Reduced;
use super::bounded::Labels;
use super::kinds::clip;
use countersign_api::agent_card::{AgentCardData, TargetRef};
use countersign_api::agent_runtime::{
    AgentRuntime, AgentRuntimeStatus, AuthBridgeMode, EgressEnforcement, MtlsMode, PluginPreset, RuntimeType,
    TlsBridgeMode,
};
use countersign_api::keys::{
    CONFIG_HASH_ANNOTATION, CREDENTIALS_ANNOTATION, MTLS_MODE_ANNOTATION, SIDECAR_ANNOTATION,
    SIDECAR_CONFIG_ANNOTATION, SIDECAR_SPIFFE_ANNOTATION,
};
use countersign_plan::agent_runtime::{IndexedRuntime, RuntimeParts, SidecarRequest, Target};
use countersign_plan::limits::ITEMS;
use kube::api::DynamicObject;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Service account of Pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

/// `AgentRuntime` with what decides about enrolment.
pub(crate) type ReducedRuntime = Reduced<AgentRuntime, RuntimePart, AgentRuntimeStatus>;
/// Workload of any kind with what enrolment reads and writes.
pub(crate) type ReducedTarget = Reduced<DynamicObject, TargetPart, TargetState>;

/// What is in use of the specification of an `AgentRuntime`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimePart {
    #[serde(rename = "type")]
    runtime_type: RuntimeType,
    target_ref: TargetRef,
    #[serde(default)]
    mtls_mode: MtlsMode,
    #[serde(default)]
    identity: Option<IdentityPart>,
    #[serde(default)]
    auth_bridge_mode: Option<AuthBridgeMode>,
    #[serde(default)]
    tls_bridge_mode: TlsBridgeMode,
    #[serde(default)]
    egress_enforcement: Option<EgressEnforcement>,
    #[serde(default)]
    auth: Option<IgnoredAny>,
    #[serde(default)]
    plugin_preset: Option<PluginPreset>,
    #[serde(default)]
    plugins: Option<IgnoredAny>,
    #[serde(default)]
    on_error: Option<IgnoredAny>,
}

/// What is in use of the identity of a workload.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IdentityPart {
    allowed_audiences: Vec<String>,
}

impl RuntimePart {
    /// Members that ask for what the sidecar cannot do.
    fn unsupported(&self) -> Vec<&'static str> {
        let mode = self.auth_bridge_mode;
        [
            (
                matches!(mode, Some(AuthBridgeMode::EnvoySidecar | AuthBridgeMode::Waypoint)),
                "spec.authBridgeMode",
            ),
            (self.tls_bridge_mode == TlsBridgeMode::Enabled, "spec.tlsBridgeMode"),
            (self.egress_enforcement == Some(EgressEnforcement::EnforceRedirect), "spec.egressEnforcement"),
            (self.auth.is_some(), "spec.auth"),
            (
                matches!(self.plugin_preset, Some(PluginPreset::IbacOnly | PluginPreset::Full)),
                "spec.pluginPreset",
            ),
            (self.plugins.is_some(), "spec.plugins"),
            (self.on_error.is_some(), "spec.onError"),
        ]
        .into_iter()
        .filter_map(|(asks, name)| asks.then_some(name))
        .collect()
    }
}

/// What is in use of the specification of a workload to enrol.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetPart {
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    metadata: Option<TemplateMetadata>,
    spec: Option<TemplateSpec>,
}

/// What is in use of the specification in a Pod template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TemplateSpec {
    service_account_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateMetadata {
    labels: Labels,
    annotations: Option<TemplateAnnotations>,
}

/// Annotations that enrolment writes or reads, of which a template may have 256 KiB.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateAnnotations {
    #[serde(rename = "kagenti.io/config-hash")]
    config_hash: Option<String>,
    #[serde(rename = "kagenti.io/mtls-mode")]
    mtls_mode: Option<String>,
    #[serde(rename = "countersign.dev/sidecar")]
    sidecar: Option<String>,
    #[serde(rename = "countersign.dev/sidecar-config")]
    sidecar_config: Option<String>,
    #[serde(rename = "countersign.dev/sidecar-spiffe")]
    sidecar_spiffe: Option<String>,
    #[serde(rename = "kagenti.io/keycloak-client-credentials-secret-name")]
    credentials: Option<String>,
}

/// What is in use of the status of a workload to enrol.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TargetState {
    updated_replicas: Option<i32>,
}

/// Observed `AgentRuntime`; `None` if metadata or spec are incomplete.
pub(crate) fn runtime(object: ReducedRuntime) -> Option<IndexedRuntime> {
    let Reduced { metadata, spec, status, .. } = object;
    let spec = spec?;
    let unsupported = spec.unsupported();
    let RuntimePart { runtime_type, mut target_ref, mtls_mode, identity, .. } = spec;
    let mut allowed_audiences = identity.unwrap_or_default().allowed_audiences;
    allowed_audiences.truncate(ITEMS);
    allowed_audiences.iter_mut().for_each(clip);
    [&mut target_ref.api_version, &mut target_ref.kind, &mut target_ref.name].into_iter().for_each(clip);
    let mut status = status.unwrap_or_default();
    // The content of the card is read when another one is to be shown.
    if let Some(card) = &mut status.card {
        card.data = AgentCardData::default();
    }
    let sidecar = SidecarRequest { allowed_audiences, unsupported };
    let parts = RuntimeParts { runtime_type, target: target_ref, mtls_mode, sidecar };
    IndexedRuntime::of(metadata.kept, parts, &status)
}

/// Workload to enrol; `None` without a UID.
pub(crate) fn target(object: ReducedTarget) -> Option<Target> {
    let Reduced { metadata, spec, status, .. } = object;
    let Template { metadata: template, spec: pod } = spec.unwrap_or_default().template;
    let template = template.unwrap_or_default();
    let account = pod.unwrap_or_default().service_account_name.filter(|name| !name.is_empty());
    let mut service_account = account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned());
    clip(&mut service_account);
    let written = template.annotations.unwrap_or_default();
    let annotations = [
        (CONFIG_HASH_ANNOTATION, written.config_hash),
        (MTLS_MODE_ANNOTATION, written.mtls_mode),
        (SIDECAR_ANNOTATION, written.sidecar),
        (SIDECAR_CONFIG_ANNOTATION, written.sidecar_config),
        (SIDECAR_SPIFFE_ANNOTATION, written.sidecar_spiffe),
        (CREDENTIALS_ANNOTATION, written.credentials),
    ];
    let annotations: BTreeMap<String, String> = annotations
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key.to_owned(), value)))
        .collect();
    Some(Target {
        uid: metadata.kept.uid?,
        is_leaving: metadata.kept.deletion_timestamp.is_some(),
        labels: metadata.kept.labels.unwrap_or_default(),
        template_labels: template.labels.kept,
        template_annotations: annotations,
        service_account,
        updated_pods: status.and_then(|status| status.updated_replicas).unwrap_or_default(),
    })
}
