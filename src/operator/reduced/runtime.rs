//! `AgentRuntime` objects, and the workloads that they enrol: what is in use of each.

use super::Reduced;
use super::bounded::Labels;
use super::kinds::clip;
use countersign_api::agent_card::{AgentCardData, TargetRef};
use countersign_api::agent_runtime::{AgentRuntime, AgentRuntimeStatus, MtlsMode, RuntimeType};
use countersign_api::keys::{CONFIG_HASH_ANNOTATION, MTLS_MODE_ANNOTATION};
use countersign_plan::agent_runtime::{IndexedRuntime, Target};
use kube::api::DynamicObject;
use serde::Deserialize;
use std::collections::BTreeMap;

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
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateMetadata {
    labels: Labels,
    annotations: Option<TemplateAnnotations>,
}

/// Annotations that enrolment writes, of which a template may have 256 KiB.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateAnnotations {
    #[serde(rename = "kagenti.io/config-hash")]
    config_hash: Option<String>,
    #[serde(rename = "kagenti.io/mtls-mode")]
    mtls_mode: Option<String>,
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
    let RuntimePart { runtime_type, mut target_ref, mtls_mode } = spec?;
    [&mut target_ref.api_version, &mut target_ref.kind, &mut target_ref.name].into_iter().for_each(clip);
    let mut status = status.unwrap_or_default();
    // The content of the card is read when another one is to be shown.
    if let Some(card) = &mut status.card {
        card.data = AgentCardData::default();
    }
    IndexedRuntime::of(metadata.kept, (runtime_type, target_ref, mtls_mode), &status)
}

/// Workload to enrol; `None` without a UID.
pub(crate) fn target(object: ReducedTarget) -> Option<Target> {
    let Reduced { metadata, spec, status, .. } = object;
    let template = spec.unwrap_or_default().template.metadata.unwrap_or_default();
    let written = template.annotations.unwrap_or_default();
    let annotations =
        [(CONFIG_HASH_ANNOTATION, written.config_hash), (MTLS_MODE_ANNOTATION, written.mtls_mode)];
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
        updated_pods: status.and_then(|status| status.updated_replicas).unwrap_or_default(),
    })
}
