//! Sidecar of an enrolled workload: whether new Pods get one, and why not.

use super::config_hash::Data;
use super::runtime::IndexedRuntime;
use super::target::Target;
use crate::injection::{ConfigProblem, SidecarSources, plan_sidecar_config};
use crate::input::workload::{WorkloadKind, WorkloadRef};
use countersign_api::agent_runtime::{MtlsMode, RuntimeReason as Why, RuntimeType};
use countersign_api::keys::{
    Family, MTLS_MODE_ANNOTATION, SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION, SIDECAR_CONFIG_KEY,
    SIDECAR_CONFIG_PREFIX, SIDECAR_MODE, SIDECAR_SPIFFE, SIDECAR_SPIFFE_ANNOTATION,
};
use countersign_core::encoding::sha256;
use serde_json::{Value, json};

/// Hexadecimal digits of a hash in the name of a ConfigMap.
const NAME_DIGITS: usize = 10;
/// Longest name of an object, RFC 1123.
const NAME_CHARACTERS: usize = 253;

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
    /// The workload has this label, which keeps injection away from it.
    OptedOut(&'static str),
    /// There is no configuration for it. A workload that has the sidecar keeps it as it is.
    Unusable(Why, String),
    /// New Pods get it.
    Configured {
        /// Name of the ConfigMap.
        name: String,
        /// Configuration.
        text: String,
        /// True if it needs SPIRE's socket.
        needs_spire: bool,
    },
}

/// Plans the sidecar of a workload that is as `target` says.
pub fn plan_sidecar(
    runtime: &IndexedRuntime,
    facts: &SidecarFacts<'_>,
    workload: &WorkloadRef,
    target: &Target,
) -> SidecarPlan {
    if !facts.is_offered {
        return SidecarPlan::NotOffered;
    }
    if !facts.is_enabled {
        return SidecarPlan::NotEnabled;
    }
    let labels = Family::ALL.map(Family::inject_label).into_iter();
    let is_out = |labels: &Data, label: &str| labels.get(label).is_some_and(|value| value == "disabled");
    let mut opts_out =
        labels.filter(|label| is_out(&target.labels, label) || is_out(&target.template_labels, label));
    if let Some(label) = opts_out.next() {
        return SidecarPlan::OptedOut(label);
    }
    if !runtime.sidecar.unsupported.is_empty() {
        let fields = runtime.sidecar.unsupported.join(", ");
        let message =
            format!("the sidecar cannot do what {fields} says: take it out, and new Pods get the sidecar");
        return SidecarPlan::Unusable(Why::UnsupportedField, message);
    }
    let Some(sources) = &facts.sources else { return SidecarPlan::Unknown };
    let needs_spire = sources.has_spire;
    if !needs_spire && target.needs_spire() && sources.mtls_mode != MtlsMode::Disabled {
        // SPIRE may come back, and running Pods have its socket: nothing is changed under them.
        let message = "the cluster has no CSI driver csi.spiffe.io any more, and no new Pod starts without it: install it \
                       again, or set spec.mtlsMode: disabled";
        return SidecarPlan::Unusable(Why::SpireUnavailable, message.to_owned());
    }
    match plan_sidecar_config(sources) {
        Ok(text) => {
            SidecarPlan::Configured { name: config_map_name(workload, needs_spire), text, needs_spire }
        }
        Err(problem) => SidecarPlan::Unusable(reason(&problem), problem.to_string()),
    }
}

/// Name of the ConfigMap for the sidecar of a workload. Two workloads of one name have two, and so have Pods with SPIRE's
/// socket and Pods without it, which run side by side while a workload is rolled.
fn config_map_name(workload: &WorkloadRef, needs_spire: bool) -> String {
    let usual = format!("{SIDECAR_CONFIG_PREFIX}{}", workload.object.name);
    if workload.kind == WorkloadKind::Deployment && needs_spire && usual.len() <= NAME_CHARACTERS {
        return usual;
    }
    let of = format!("{}/{}/{needs_spire}", workload.kind.as_str(), workload.object.name);
    let digest: String = sha256(of.as_bytes()).to_string().chars().take(NAME_DIGITS).collect();
    let kept = NAME_CHARACTERS.saturating_sub(NAME_DIGITS).saturating_sub(1);
    let start: String = usual.chars().take(kept).collect();
    // A name may not end, nor go on after a dot, with a hyphen.
    format!("{}-{digest}", start.trim_end_matches(['.', '-']))
}

const fn reason(problem: &ConfigProblem) -> Why {
    match problem {
        ConfigProblem::IssuerMissing => Why::IssuerMissing,
        ConfigProblem::AudienceMissing => Why::AudienceMissing,
        ConfigProblem::SpireMissing(_) => Why::SpireUnavailable,
        ConfigProblem::Malformed(_) | ConfigProblem::UnknownMode(_) | ConfigProblem::Unguarded => {
            Why::InvalidSidecarConfig
        }
    }
}

/// ConfigMap of a sidecar with this name and configuration, as fields for server-side apply. The workload owns it, so that
/// no Pod of the workload is ever without it.
pub fn config_map((name, text): (&str, &str), workload: &WorkloadRef, target: &Target) -> Value {
    let version = target.api_version.as_deref().unwrap_or_else(|| workload.kind.api_version());
    let owner = json!({ "apiVersion": version, "kind": workload.kind.as_str(),
        "name": workload.object.name.as_str(), "uid": target.uid });
    json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": workload.object.namespace.as_str(), "name": name, "ownerReferences": [owner] },
        "data": { SIDECAR_CONFIG_KEY: text } })
}

impl SidecarPlan {
    /// Plan after the API server refused the configuration with this answer.
    pub fn unwritten(answer: &str) -> Self {
        Self::Unusable(
            Why::SidecarConfigError,
            format!("the configuration of the sidecar cannot be written: {answer}"),
        )
    }

    /// Plan after the service account could not be bound to the security context constraint that the sidecar needs.
    pub fn unbound(problem: &str) -> Self {
        Self::Unusable(
            Why::SccBindingError,
            format!("Pods may not use the security context constraint of the sidecar: {problem}"),
        )
    }

    /// True if new Pods of the workload get the sidecar.
    pub fn is_injected(&self, target: &Target) -> bool {
        match self {
            Self::Configured { .. } => true,
            Self::NotEnabled | Self::OptedOut(_) => false,
            Self::NotOffered | Self::Unknown | Self::Unusable(..) => target.has_sidecar(),
        }
    }

    /// Annotations of the Pod template about the sidecar of a workload under `runtime`.
    pub(super) fn annotations(&self, runtime: &IndexedRuntime, target: &Target) -> Data {
        let mut annotations =
            Data::from([(MTLS_MODE_ANNOTATION.to_owned(), runtime.mtls_mode.as_str().to_owned())]);
        match self {
            Self::Configured { name, needs_spire, .. } => {
                annotations.insert(SIDECAR_ANNOTATION.to_owned(), SIDECAR_MODE.to_owned());
                annotations.insert(SIDECAR_CONFIG_ANNOTATION.to_owned(), name.clone());
                if *needs_spire {
                    annotations.insert(SIDECAR_SPIFFE_ANNOTATION.to_owned(), SIDECAR_SPIFFE.to_owned());
                }
            }
            Self::NotEnabled | Self::OptedOut(_) => {}
            // On our own failure nobody loses the sidecar, and none says what its configuration is not.
            Self::NotOffered | Self::Unknown | Self::Unusable(..) => {
                annotations.extend(target.sidecar_annotations());
            }
        }
        annotations
    }

    /// What status says about it, of a workload of this type.
    pub(super) fn condition(&self, of: RuntimeType) -> Option<(bool, Why, String)> {
        Some(match self {
            Self::NotOffered | Self::Unknown => return None,
            Self::NotEnabled => {
                let label = Family::Kagenti.namespace_label();
                let message = format!(
                    "the namespace does not ask for sidecars: give it the label {label}=true for new Pods to get one, unless it is the \
                     operator's own or one of the cluster, where nothing is injected"
                );
                (false, Why::NamespaceNotEnabled, message)
            }
            Self::OptedOut(label) => {
                let message = format!(
                    "the workload has the label {label}=disabled: take it off for new Pods to get a sidecar"
                );
                (false, Why::InjectionDisabled, message)
            }
            Self::Unusable(why, message) => (false, *why, message.clone()),
            Self::Configured { name, .. } => {
                let mut message =
                    format!("new Pods get the sidecar, with the configuration in the ConfigMap {name}");
                if of == RuntimeType::Tool {
                    message.push_str(
                        "; no verdict isolates Pods of tools, so whoever reaches one reaches its own port past the sidecar, \
                         unless a NetworkPolicy of yours closes it",
                    );
                }
                (true, Why::SidecarConfigured, message)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_runtime::{RuntimeParts, SidecarRequest};
    use countersign_api::agent_card::TargetRef;
    use countersign_api::agent_runtime::AgentRuntimeStatus;
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

    fn workload(kind: WorkloadKind, name: &str) -> WorkloadRef {
        WorkloadRef { kind, object: countersign_api::ObjectRef::new("team", name) }
    }

    fn sources<'a>(
        base: &'a str,
        (mtls_mode, has_spire): (MtlsMode, bool),
        keycloak: &'a BTreeMap<String, String>,
    ) -> SidecarSources<'a> {
        let allowed_audiences = &[];
        SidecarSources { base, keycloak, mtls_mode, allowed_audiences, has_spire, has_credentials: false }
    }

    const OPEN: &str = "pipeline: {dangerously_allow_unauthenticated: true}";

    #[test]
    fn new_pods_get_a_sidecar_or_status_says_why_not_and_nobody_loses_it_by_our_failure() {
        let none = BTreeMap::new();
        let sources = |base, has_spire| Some(sources(base, (MtlsMode::Strict, has_spire), &none));
        let good = SidecarFacts { is_offered: true, is_enabled: true, sources: sources(OPEN, true) };
        let has = annotated(&[
            (SIDECAR_ANNOTATION, SIDECAR_MODE),
            (SIDECAR_CONFIG_ANNOTATION, "authbridge-config-weather"),
            (SIDECAR_SPIFFE_ANNOTATION, SIDECAR_SPIFFE),
            (MTLS_MODE_ANNOTATION, "permissive"),
        ]);
        let weather = workload(WorkloadKind::Deployment, "weather");
        let plan = |runtime: &IndexedRuntime, facts| plan_sidecar(runtime, &facts, &weather, &has);
        let off = |facts| plan(&runtime(&[]), facts);
        for (plan, said, keeps) in [
            (off(good), Some("SidecarConfigured"), false),
            (off(SidecarFacts { is_offered: false, ..good }), None, true),
            (off(SidecarFacts { sources: None, ..good }), None, true),
            (off(SidecarFacts { is_enabled: false, ..good }), Some("NamespaceNotEnabled"), false),
            (off(SidecarFacts { sources: sources("", true), ..good }), Some("IssuerMissing"), true),
            (off(SidecarFacts { sources: sources("- a", true), ..good }), Some("InvalidSidecarConfig"), true),
            (off(SidecarFacts { sources: sources(OPEN, false), ..good }), Some("SPIREUnavailable"), true),
            (plan(&runtime(&["spec.auth"]), good), Some("UnsupportedField"), true),
            (SidecarPlan::unwritten("no"), Some("SidecarConfigError"), true),
        ] {
            let condition = plan.condition(RuntimeType::Agent);
            assert_eq!(condition.as_ref().map(|(_, why, _)| why.as_str()), said, "{plan:?}");
            let holds = condition.is_some_and(|(holds, ..)| holds);
            let of_tool =
                plan.condition(RuntimeType::Tool).is_some_and(|(.., told)| told.contains("past the sidecar"));
            assert_eq!(of_tool, holds, "nothing isolates tools: {plan:?}");
            assert_eq!(holds, matches!(plan, SidecarPlan::Configured { .. }));
            let runtime = runtime(&[]);
            // A mode that is not in force is not written either.
            assert_eq!(plan.annotations(&runtime, &has) == has.template_annotations, keeps, "{plan:?}");
            let bare = plan.annotations(&runtime, &annotated(&[]));
            assert_eq!(bare[MTLS_MODE_ANNOTATION], "strict");
            assert_eq!(bare.len() == 1, !holds, "{plan:?}");
        }
        for (family, is_template) in
            Family::ALL.into_iter().flat_map(|family| [(family, true), (family, false)])
        {
            let label = Data::from([(family.inject_label().to_owned(), "disabled".to_owned())]);
            let mut target = has.clone();
            *(if is_template { &mut target.template_labels } else { &mut target.labels }) = label;
            let plan = plan_sidecar(&runtime(&[]), &good, &weather, &target);
            assert!(matches!(plan, SidecarPlan::OptedOut(_)), "{plan:?}");
            assert_eq!(plan.annotations(&runtime(&[]), &target).len(), 1, "the mode of mTLS alone");
        }
        let SidecarPlan::Unusable(_, message) = plan(&runtime(&["spec.auth", "spec.plugins"]), good) else {
            panic!("it is unusable")
        };
        assert!(message.contains("what spec.auth, spec.plugins says"), "{message}");
    }

    #[test]
    fn spire_that_comes_rolls_the_workload_and_spire_that_goes_changes_nothing_under_running_pods() {
        let none = BTreeMap::new();
        let weather = workload(WorkloadKind::Deployment, "weather");
        let planned = |mode, has_spire, target: &Target| {
            let sources = Some(sources(OPEN, (mode, has_spire), &none));
            plan_sidecar(
                &runtime(&[]),
                &SidecarFacts { is_offered: true, is_enabled: true, sources },
                &weather,
                target,
            )
        };
        let annotations = |plan: &SidecarPlan| plan.annotations(&runtime(&[]), &annotated(&[]));
        let without = planned(MtlsMode::Permissive, false, &annotated(&[]));
        let plain = Target { template_annotations: annotations(&without), ..annotated(&[]) };
        assert!(plain.has_sidecar() && !plain.needs_spire(), "{plain:?}");
        let with = planned(MtlsMode::Permissive, true, &plain);
        let spire = Target { template_annotations: annotations(&with), ..annotated(&[]) };
        assert!(spire.needs_spire());
        let config = |target: &Target| target.template_annotations[SIDECAR_CONFIG_ANNOTATION].clone();
        assert_ne!(config(&plain), config(&spire), "Pods of both run while it is rolled");
        for mode in [MtlsMode::Permissive, MtlsMode::Strict] {
            let gone = planned(mode, false, &spire);
            assert!(matches!(gone, SidecarPlan::Unusable(Why::SpireUnavailable, _)), "{gone:?}");
        }
        let disabled = planned(MtlsMode::Disabled, false, &spire);
        assert!(matches!(disabled, SidecarPlan::Configured { needs_spire: false, .. }), "{disabled:?}");
    }

    #[test]
    fn each_workload_has_a_config_map_of_its_own_with_a_name_that_the_api_server_takes() {
        let long = format!("{}.{}", "a".repeat(223), "b".repeat(29));
        let mut names = std::collections::BTreeSet::new();
        for name in ["weather", &long] {
            for kind in [WorkloadKind::Deployment, WorkloadKind::StatefulSet] {
                for needs_spire in [true, false] {
                    let made = config_map_name(&workload(kind, name), needs_spire);
                    assert!(made.len() <= NAME_CHARACTERS && !made.contains(".-"), "{made}");
                    assert!(names.insert(made));
                }
            }
        }
        assert!(names.contains("authbridge-config-weather"), "the name of the existing operator's");
    }

    #[test]
    fn the_configuration_belongs_to_the_workload() {
        let workload = workload(WorkloadKind::Deployment, "weather");
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
