//! `AgentRuntime` objects, and the workloads that they enrol: what is in use of each.

use super::bounded::{Annotations, Labels};
use super::kinds::{ReducedSandbox, clip, read};
use super::{Metadata, Reduced};
use countersign_api::agent_card::{AgentCardData, TargetRef};
use countersign_api::agent_runtime::{
    AgentRuntime, AgentRuntimeStatus, AuthBridgeMode, EgressEnforcement, MtlsMode, PluginPreset, RuntimeType,
    TlsBridgeMode,
};
use countersign_api::keys::{Family, RELEASED_POD_ANNOTATION, REPLACED_POD_ANNOTATION};
use countersign_plan::agent_runtime::{IndexedRuntime, RuntimeParts, SidecarRequest, Target};
use countersign_plan::input::sandbox::SANDBOX_POD_ANNOTATION;
use countersign_plan::limits::ITEMS;
use kube::api::DynamicObject;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Service account of Pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

/// `AgentRuntime` with what decides about enrolment.
pub(crate) type ReducedRuntime = Reduced<AgentRuntime, RuntimePart, AgentRuntimeStatus>;
/// Workload of Kubernetes' own kinds with what enrolment reads and writes.
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
    annotations: Annotations,
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
    let updated_pods = status.and_then(|status| status.updated_replicas).unwrap_or_default();
    Some(Target { updated_pods, ..of(metadata, spec.unwrap_or_default().template)? })
}

/// Sandbox to enrol, and the annotation that names its Pod; `None` without a UID. A template that cannot be read has nothing
/// of enrolment, and the API server says what is wrong with it.
pub(crate) fn sandbox_target(object: ReducedSandbox) -> Option<(Target, Option<String>)> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Spec {
        pod_template: Template,
    }
    let Reduced { mut metadata, spec, .. } = object;
    let pod = metadata.annotations.remove(SANDBOX_POD_ANNOTATION);
    let spec: Spec = read(spec.as_deref());
    Some((of(metadata, spec.pod_template)?, pod))
}

fn of(metadata: Metadata, template: Template) -> Option<Target> {
    let Metadata { kept, mut annotations, .. } = metadata;
    let Template { metadata: template, spec: pod } = template;
    let template = template.unwrap_or_default();
    let account = pod.unwrap_or_default().service_account_name.filter(|name| !name.is_empty());
    let mut service_account = account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned());
    clip(&mut service_account);
    Some(Target {
        uid: kept.uid?,
        resource_version: kept.resource_version.unwrap_or_default(),
        is_leaving: kept.deletion_timestamp.is_some(),
        labels: kept.labels.unwrap_or_default(),
        template_labels: template.labels.kept,
        service_account,
        template_annotations: template.annotations.0,
        replaced_pod: annotations.remove(REPLACED_POD_ANNOTATION),
        released_pod: annotations.remove(RELEASED_POD_ANNOTATION),
        skills: Family::ALL.map(|family| annotations.remove(family.skills_annotation())),
        ..Target::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_api::keys::CONFIG_HASH_ANNOTATION;
    use countersign_plan::limits::SKILLS_BYTES;
    use serde_json::{Value, json};

    fn read(template: &Value, annotations: &Value) -> (Target, Option<String>) {
        let object = json!({ "metadata": { "name": "a", "uid": "u", "resourceVersion": "3", "labels": { "a": "b" },
            "annotations": annotations }, "spec": { "template": 7, "podTemplate": template } });
        sandbox_target(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn a_sandbox_is_read_in_what_enrolment_writes_and_of_any_shape() {
        let metadata = json!({ "labels": { "app": "a" },
            "annotations": { "kagenti.io/config-hash": "h", "other": "x" } });
        let noted =
            json!({ "agents.x-k8s.io/pod-name": "warm", "countersign.dev/replaced-pod": "p", "other": "x" });
        let (target, pod) = read(&json!({ "metadata": metadata, "spec": {} }), &noted);
        let expected = Target {
            uid: "u".to_owned(),
            service_account: "default".to_owned(),
            resource_version: "3".to_owned(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            template_labels: [("app".to_owned(), "a".to_owned())].into(),
            template_annotations: [(CONFIG_HASH_ANNOTATION.to_owned(), "h".to_owned())].into(),
            replaced_pod: Some("p".to_owned()),
            ..Target::default()
        };
        assert_eq!((target, pod.as_deref()), (expected, Some("warm")));
        for shape in [json!(7), json!({ "metadata": { "annotations": { "a": 1 } } }), Value::Null] {
            assert!(read(&shape, &Value::Null).0.template_annotations.is_empty(), "{shape}");
        }
    }

    #[test]
    fn a_long_annotation_is_cut_and_stays_longer_than_it_may_be() {
        let (target, _) = read(&json!({}), &json!({ "rossoctl.io/skills": "é".repeat(100_000) }));
        let [none, Some(kept)] = target.skills else { panic!("{target:?}") };
        assert_eq!(none, None);
        assert!(kept.len() > SKILLS_BYTES && kept.len() <= SKILLS_BYTES + 4, "{} bytes", kept.len());
    }
}
