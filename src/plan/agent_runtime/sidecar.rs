//! Sidecar of an enrolled workload: whether new Pods get one, and why not.

use super::config_hash::Data;
use super::runtime::IndexedRuntime;
use super::target::Target;
use crate::injection::{ConfigProblem, SidecarSources, plan_sidecar_config};
use crate::input::workload::WorkloadRef;
use countersign_api::agent_runtime::RuntimeReason as Why;
use countersign_api::keys::{
    Family, SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION, SIDECAR_CONFIG_KEY, SIDECAR_CONFIG_PREFIX,
};
use serde_json::{Value, json};

/// Mode of the sidecar that is injected.
const MODE: &str = "proxy-sidecar";

/// What is known about the sidecar of one workload.
#[derive(Clone, Copy, Debug)]
pub struct SidecarFacts<'a> {
    /// True if the operator has an image to inject.
    pub is_offered: bool,
    /// True if the namespace asks for injection.
    pub is_enabled: bool,
    /// Configuration of the namespace; `None` if it could not be read.
    pub sources: Option<SidecarSources<'a>>,
}

/// Plan for the sidecar of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SidecarPlan {
    /// The operator injects none.
    NotOffered,
    /// Nothing is known now, and what the workload has stays.
    Unknown,
    /// The namespace does not ask for injection.
    NotEnabled,
    /// There is no configuration for it. A workload that has the sidecar keeps it as it is.
    Unusable(Why, String),
    /// New Pods get it.
    Configured {
        /// Name of the ConfigMap.
        name: String,
        /// Configuration.
        text: String,
    },
}

/// Plans the sidecar of a workload.
pub fn plan_sidecar(runtime: &IndexedRuntime, facts: &SidecarFacts<'_>) -> SidecarPlan {
    if !facts.is_offered {
        return SidecarPlan::NotOffered;
    }
    if !facts.is_enabled {
        return SidecarPlan::NotEnabled;
    }
    if !runtime.sidecar.unsupported.is_empty() {
        let fields = runtime.sidecar.unsupported.join(", ");
        let message =
            format!("the sidecar cannot do what {fields} says: take it out, and new Pods get the sidecar");
        return SidecarPlan::Unusable(Why::UnsupportedField, message);
    }
    let Some(sources) = &facts.sources else { return SidecarPlan::Unknown };
    match plan_sidecar_config(sources) {
        Ok(text) => {
            SidecarPlan::Configured { name: format!("{SIDECAR_CONFIG_PREFIX}{}", runtime.target.name), text }
        }
        Err(problem) => SidecarPlan::Unusable(reason(&problem), problem.to_string()),
    }
}

const fn reason(problem: &ConfigProblem) -> Why {
    match problem {
        ConfigProblem::IssuerMissing => Why::IssuerMissing,
        ConfigProblem::SpireMissing => Why::SpireUnavailable,
        ConfigProblem::Malformed(_) | ConfigProblem::UnknownMode(_) => Why::InvalidSidecarConfig,
    }
}

/// ConfigMap of a sidecar with this name and configuration, as fields for server-side apply. The workload owns it, so that
/// no Pod of the workload is ever without it.
pub fn config_map((name, text): (&str, &str), workload: &WorkloadRef, target: &Target) -> Value {
    let owner = json!({ "apiVersion": workload.kind.api_version(), "kind": workload.kind.as_str(),
        "name": workload.object.name.as_str(), "uid": target.uid });
    json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": workload.object.namespace.as_str(), "name": name, "ownerReferences": [owner] },
        "data": { SIDECAR_CONFIG_KEY: text } })
}

impl SidecarPlan {
    /// Annotations of the Pod template that ask for the sidecar.
    pub(super) fn annotations(&self, target: &Target) -> Data {
        match self {
            Self::Configured { name, .. } => [(SIDECAR_ANNOTATION, MODE), (SIDECAR_CONFIG_ANNOTATION, name)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            Self::NotEnabled => Data::new(),
            // On our own failure nobody loses the sidecar.
            Self::NotOffered | Self::Unknown | Self::Unusable(..) => {
                [SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION]
                    .into_iter()
                    .filter_map(|key| Some((key.to_owned(), target.template_annotations.get(key)?.clone())))
                    .collect()
            }
        }
    }

    /// What status says about it.
    pub(super) fn condition(&self) -> Option<(bool, Why, String)> {
        Some(match self {
            Self::NotOffered | Self::Unknown => return None,
            Self::NotEnabled => {
                let label = Family::Kagenti.namespace_label();
                let message = format!(
                    "the namespace does not ask for sidecars: give it the label {label}=true for new Pods to get one"
                );
                (false, Why::NamespaceNotEnabled, message)
            }
            Self::Unusable(why, message) => (false, *why, message.clone()),
            Self::Configured { name, .. } => (
                true,
                Why::SidecarConfigured,
                format!(
                    "the configuration of the sidecar is in the ConfigMap {name}; this release injects none yet"
                ),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_runtime::{RuntimeParts, SidecarRequest};
    use countersign_api::agent_card::TargetRef;
    use countersign_api::agent_runtime::{AgentRuntimeStatus, MtlsMode, RuntimeType};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use k8s_openapi::jiff;
    use std::collections::BTreeMap;

    fn runtime(unsupported: &[&'static str]) -> IndexedRuntime {
        let metadata = ObjectMeta {
            name: Some("weather".to_owned()),
            uid: Some("uid".to_owned()),
            resource_version: Some("1".to_owned()),
            creation_timestamp: Some(Time(jiff::Timestamp::from_second(0).unwrap())),
            ..ObjectMeta::default()
        };
        let parts = RuntimeParts {
            runtime_type: RuntimeType::Agent,
            target: TargetRef {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: "weather".to_owned(),
            },
            mtls_mode: MtlsMode::Strict,
            sidecar: SidecarRequest { unsupported: unsupported.to_vec(), ..SidecarRequest::default() },
        };
        IndexedRuntime::of(metadata, parts, &AgentRuntimeStatus::default()).unwrap()
    }

    fn annotated(pairs: &[(&str, &str)]) -> Target {
        let template_annotations =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Target { uid: "uid-weather".to_owned(), template_annotations, ..Target::default() }
    }

    #[test]
    fn new_pods_get_a_sidecar_or_status_says_why_not_and_nobody_loses_it_by_our_failure() {
        let none = BTreeMap::new();
        let sources = |base, has_spire| SidecarSources {
            base,
            keycloak: &none,
            mtls_mode: MtlsMode::Strict,
            allowed_audiences: &[],
            has_spire,
        };
        let good = SidecarFacts {
            is_offered: true,
            is_enabled: true,
            sources: Some(sources("pipeline: {dangerously_allow_unauthenticated: true}", true)),
        };
        let has = annotated(&[
            (SIDECAR_ANNOTATION, MODE),
            (SIDECAR_CONFIG_ANNOTATION, "authbridge-config-weather"),
        ]);
        let off = |facts| plan_sidecar(&runtime(&[]), &facts);
        for (plan, said, keeps) in [
            (off(good), Some("SidecarConfigured"), true),
            (off(SidecarFacts { is_offered: false, ..good }), None, true),
            (off(SidecarFacts { sources: None, ..good }), None, true),
            (off(SidecarFacts { is_enabled: false, ..good }), Some("NamespaceNotEnabled"), false),
            (off(SidecarFacts { sources: Some(sources("", true)), ..good }), Some("IssuerMissing"), true),
            (
                off(SidecarFacts { sources: Some(sources("- a", true)), ..good }),
                Some("InvalidSidecarConfig"),
                true,
            ),
            (
                off(SidecarFacts { sources: Some(sources("pipeline: {}", false)), ..good }),
                Some("SPIREUnavailable"),
                true,
            ),
            (plan_sidecar(&runtime(&["spec.auth"]), &good), Some("UnsupportedField"), true),
        ] {
            let condition = plan.condition();
            assert_eq!(condition.as_ref().map(|(_, why, _)| why.as_str()), said, "{plan:?}");
            let holds = condition.is_some_and(|(holds, ..)| holds);
            assert_eq!(holds, matches!(plan, SidecarPlan::Configured { .. }));
            assert_eq!(plan.annotations(&has) == has.template_annotations, keeps, "{plan:?}");
            assert_eq!(plan.annotations(&annotated(&[])).is_empty(), !holds, "{plan:?}");
        }
        let SidecarPlan::Unusable(_, message) = plan_sidecar(&runtime(&["spec.auth", "spec.plugins"]), &good)
        else {
            panic!("it is unusable")
        };
        assert!(message.contains("what spec.auth, spec.plugins says"), "{message}");
    }

    #[test]
    fn the_configuration_belongs_to_the_workload() {
        let workload = WorkloadRef {
            kind: crate::input::workload::WorkloadKind::Deployment,
            object: countersign_api::ObjectRef::new("team", "weather"),
        };
        let map = config_map(("authbridge-config-weather", "mode: x"), &workload, &annotated(&[]));
        assert_eq!(
            map,
            json!({ "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "namespace": "team", "name": "authbridge-config-weather", "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "uid-weather" }] },
                "data": { "countersign.yaml": "mode: x" } })
        );
    }
}
