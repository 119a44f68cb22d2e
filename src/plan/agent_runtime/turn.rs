//! Turn of an `AgentRuntime`: which workloads it gives up, which one it enrols, and what is written there.

use super::enrolment::{Enrolment, contradiction};
use super::fields::released;
use super::runtime::{EnrolledBy, IndexedRuntime};
use super::sandbox::Replacement;
use super::sidecar::SidecarPlan;
use super::target::{PodRef, Target};
use crate::input::workload::WorkloadRef;
use crate::limits::{CONFIG_READ_AGAIN, TARGET_READ_AGAIN};
use countersign_api::keys::{Family, RUNTIME_LABEL};
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Observed state of one turn.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Namespace of the `AgentRuntime`.
    pub namespace: &'a str,
    /// The `AgentRuntime`; `None` if it is gone.
    pub runtime: Option<&'a IndexedRuntime>,
    /// Other objects of this namespace with a target of this name that are not being deleted.
    pub rivals: &'a [IndexedRuntime],
    /// Workloads that carry the label of the `AgentRuntime`.
    pub enrolled: &'a [(WorkloadRef, EnrolledBy)],
    /// Workload to enrol, if it exists.
    pub target: Option<&'a Target>,
    /// True if the cluster lacks the kind of that workload.
    pub lacks_kind: bool,
    /// Hash of the configuration; `None` if it could not be read, and then nothing is written.
    pub hash: Option<&'a str>,
    /// What is known about the sidecar.
    pub sidecar: &'a SidecarPlan,
}

impl<'a> Observed<'a> {
    /// What an `AgentRuntime` that is gone left behind.
    pub const fn gone(namespace: &'a str, enrolled: &'a [(WorkloadRef, EnrolledBy)]) -> Self {
        let sidecar = &SidecarPlan::NotOffered;
        Self {
            namespace,
            runtime: None,
            rivals: &[],
            enrolled,
            target: None,
            lacks_kind: false,
            hash: None,
            sidecar,
        }
    }
}

/// Writes of one turn, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimePlan {
    /// Workloads to give up, each with the object to apply. A Sandbox needs more steps: [`super::plan_release`].
    pub release: Vec<(WorkloadRef, Value)>,
    /// Finalizers that stay on an object that is being deleted, if some go.
    pub finalizers: Option<Vec<String>>,
    /// Workload to enrol with the object to apply; `None` if there is nothing to write.
    pub apply: Option<(WorkloadRef, Value)>,
    /// Pod of a Sandbox to delete after that, because it runs another template.
    pub replace: Option<PodRef>,
    /// What was found; `None` for an object that is gone or going.
    pub found: Option<Found>,
}

/// What was found about the workload of an `AgentRuntime`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is enrolled, or will be once the plan is applied.
    Enrolled,
    /// It is missing, or of a kind that cannot be enrolled.
    Missing(String),
    /// Another object enrols it.
    Claimed(String),
    /// It carries what contradicts the enrolment.
    Contradicted(String),
}

/// Plans the writes of one turn.
pub fn plan_runtime(observed: &Observed<'_>) -> RuntimePlan {
    let present = observed.runtime.filter(|runtime| !runtime.is_leaving);
    let Enrols { wanted, found, apply, replace } =
        present.map(|runtime| enrol(observed, runtime)).unwrap_or_default();
    let release = observed
        .enrolled
        .iter()
        .filter(|(workload, _)| Some(workload) != wanted.as_ref())
        .map(|(workload, by)| (workload.clone(), released((workload, None), &by.uid, &by.resource_version)))
        .collect();
    let leaving = observed.runtime.filter(|runtime| runtime.is_leaving);
    let finalizers = leaving.and_then(|runtime| rest_of(&runtime.finalizers, Family::Kagenti));
    RuntimePlan { release, finalizers, apply, replace, found }
}

/// Finalizers without that of the existing operator; `None` if it is not among them.
pub(super) fn rest_of(finalizers: &[String], family: Family) -> Option<Vec<String>> {
    let own = family.runtime_finalizer();
    let rest: Vec<String> = finalizers.iter().filter(|name| *name != own).cloned().collect();
    (rest.len() < finalizers.len()).then_some(rest)
}

/// Time after which a turn reads again what no watch follows: a missing workload, sooner while the object is young, and the
/// configuration of an enrolled one.
pub fn read_again(found: &Found, runtime: &IndexedRuntime, now: Timestamp) -> Duration {
    if *found == Found::Enrolled {
        return CONFIG_READ_AGAIN;
    }
    let age = now.as_unix().saturating_sub(runtime.created.as_unix());
    let wait = Duration::from_secs(u64::try_from(age.div_euclid(4)).unwrap_or_default());
    wait.clamp(TARGET_READ_AGAIN.0, TARGET_READ_AGAIN.1)
}

/// What becomes of the workload that an object names.
#[derive(Default)]
struct Enrols {
    wanted: Option<WorkloadRef>,
    found: Option<Found>,
    apply: Option<(WorkloadRef, Value)>,
    replace: Option<PodRef>,
}

fn enrol(observed: &Observed<'_>, runtime: &IndexedRuntime) -> Enrols {
    let (kind, name) = (&runtime.target.kind, &runtime.target.name);
    let Some(workload) = runtime.workload(observed.namespace) else {
        let what = Quoted(&format!("{} {kind}", runtime.target.api_version)).to_string();
        let fix = "give apps/v1 with Deployment or StatefulSet, or agents.x-k8s.io/v1alpha1 with Sandbox";
        let found = Found::Missing(format!("spec.targetRef names the kind {what}: {fix}"));
        return Enrols { found: Some(found), ..Enrols::default() };
    };
    let finds = |found| Enrols { wanted: Some(workload.clone()), found: Some(found), ..Enrols::default() };
    let mut rivals =
        observed.rivals.iter().filter(|rival| rival.workload(observed.namespace).as_ref() == Some(&workload));
    // Who enrols the workload keeps it: its label tells, whatever the order of creation.
    let holder = observed.target.and_then(|target| target.labels.get(RUNTIME_LABEL));
    let is_held = |label: &String| Some(label) == holder;
    let is_free = !is_held(&runtime.label) && !rivals.clone().any(|rival| is_held(&rival.label));
    let first = rivals.find(|rival| is_held(&rival.label) || (is_free && rival.precedes(runtime)));
    if let Some(first) = first {
        let fix = "delete one of the two, or give one another target";
        let message = format!("AgentRuntime {} enrols {kind} {} already: {fix}", first.label, Quoted(name));
        // The label that stands on the workload is for the other one to change.
        return finds(Found::Claimed(message));
    }
    let Some(target) = observed.target.filter(|target| !target.is_leaving) else {
        let message = if observed.lacks_kind {
            let version = workload.kind.api_version();
            let fix = "install its definition, or change spec.targetRef";
            format!(
                "the cluster does not have the kind {kind} ({version}), of which {} is to be: {fix}",
                Quoted(name)
            )
        } else {
            let fix = "create it in this namespace, or change spec.targetRef";
            format!("{kind} {} does not exist: {fix}", Quoted(name))
        };
        return finds(Found::Missing(message));
    };
    let Some(hash) = observed.hash else { return finds(Found::Enrolled) };
    if let Some(contradiction) = contradiction(runtime, target) {
        return finds(Found::Contradicted(contradiction));
    }
    let enrolment = Enrolment::of(runtime, target, hash, observed.sidecar);
    let apply =
        (!enrolment.is_applied(target)).then(|| (workload.clone(), enrolment.object(&workload, target)));
    let Replacement { delete: replace, problem, .. } = enrolment.replacement;
    let found = match problem {
        Some(problem) if apply.is_none() => Found::Contradicted(problem),
        _ => Found::Enrolled,
    };
    Enrols { apply, replace, ..finds(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::transition::Transition;
    use crate::agent_runtime::runtime::{RuntimeParts, SidecarRequest};
    use crate::agent_runtime::skills::Skills;
    use crate::agent_runtime::status::{Done, plan_events, plan_status};
    use crate::agent_runtime::target::SandboxPod;
    use crate::input::workload::WorkloadKind;
    use crate::mesh::ShownMesh;
    use countersign_api::ObjectRef;
    use countersign_api::agent_card::TargetRef;
    use countersign_api::agent_runtime::{AgentRuntimeStatus, MtlsMode, RuntimeType};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use k8s_openapi::jiff;
    use serde_json::json;
    use std::collections::BTreeMap;

    const HASH: &str = "0123456789abcdef";

    fn runtime(name: &str, kind: RuntimeType, created: i64, target: &str) -> IndexedRuntime {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some("7".to_owned()),
            generation: Some(3),
            creation_timestamp: Some(Time(jiff::Timestamp::from_second(created).unwrap())),
            finalizers: Some(vec![Family::Kagenti.runtime_finalizer().to_owned(), "other".to_owned()]),
            ..ObjectMeta::default()
        };
        let (kind_of, name) = target.split_once(' ').unwrap();
        let api_version = if kind_of == "Sandbox" { "agents.x-k8s.io/v1beta1" } else { "apps/v1" };
        let target = TargetRef {
            api_version: api_version.to_owned(),
            kind: kind_of.to_owned(),
            name: name.to_owned(),
        };
        let parts = RuntimeParts {
            runtime_type: kind,
            target,
            mtls_mode: MtlsMode::Strict,
            sidecar: SidecarRequest::default(),
        };
        IndexedRuntime::of(metadata, parts, &AgentRuntimeStatus::default()).unwrap()
    }

    fn workload(name: &str) -> WorkloadRef {
        WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", name) }
    }

    fn enrolled(name: &str) -> (WorkloadRef, EnrolledBy) {
        let by = EnrolledBy {
            uid: format!("uid-{name}"),
            resource_version: "9".to_owned(),
            label: "a".to_owned(),
        };
        (workload(name), by)
    }

    fn target(labels: &[(&str, &str)]) -> Target {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Target { uid: "uid-weather".to_owned(), labels, updated_pods: 2, ..Target::default() }
    }

    fn observed<'a>(runtime: &'a IndexedRuntime, target: &'a Target) -> Observed<'a> {
        Observed {
            runtime: Some(runtime),
            target: Some(target),
            hash: Some(HASH),
            ..Observed::gone("team", &[])
        }
    }

    #[test]
    fn an_agent_gets_what_enrols_it_and_a_protocol_if_it_names_none() {
        let agent = runtime("a", RuntimeType::Agent, 0, "Deployment weather");
        let (workload, object) = plan_runtime(&observed(&agent, &target(&[]))).apply.unwrap();
        assert_eq!(workload.object.name, "weather");
        assert_eq!(
            object,
            json!({ "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "namespace": "team", "name": "weather", "uid": "uid-weather", "labels": {
                    "kagenti.io/type": "agent", "agent.kagenti.dev/runtime": "a",
                    "app.kubernetes.io/managed-by": "kagenti-operator", "protocol.kagenti.io/a2a": "" } },
                "spec": { "template": { "metadata": { "labels": { "kagenti.io/type": "agent" },
                    "annotations": { "kagenti.io/config-hash": HASH, "kagenti.io/mtls-mode": "strict" } } } } })
        );
        for (found, has_protocol, has_manager) in [
            (&[("app.kubernetes.io/managed-by", "Helm")][..], true, false),
            (&[("app.kubernetes.io/managed-by", "kagenti-operator")], true, true),
            (&[("protocol.kagenti.io/a2a", "")], true, true),
            (&[("protocol.kagenti.io/a2a", "1.0")], false, true),
            (&[("protocol.rossoctl.io/a2a", "")], false, true),
            (&[("kagenti.io/protocol", "a2a")], false, true),
        ] {
            let (_, object) = plan_runtime(&observed(&agent, &target(found))).apply.unwrap();
            let labels = &object["metadata"]["labels"];
            assert_eq!(!labels["protocol.kagenti.io/a2a"].is_null(), has_protocol, "{found:?}");
            assert_eq!(!labels["app.kubernetes.io/managed-by"].is_null(), has_manager, "{found:?}");
        }
        let tool = runtime("a", RuntimeType::Tool, 0, "StatefulSet weather");
        let (_, object) = plan_runtime(&observed(&tool, &target(&[]))).apply.unwrap();
        assert_eq!(object["metadata"]["labels"]["kagenti.io/type"], "tool");
        assert!(object["metadata"]["labels"]["protocol.kagenti.io/a2a"].is_null(), "a tool has no card");
    }

    #[test]
    fn nothing_is_written_where_all_stands_or_the_configuration_could_not_be_read() {
        let agent = runtime("a", RuntimeType::Agent, 0, "Deployment weather");
        let found = [
            ("kagenti.io/type", "agent"),
            ("agent.kagenti.dev/runtime", "a"),
            ("app.kubernetes.io/managed-by", "kagenti-operator"),
            ("protocol.kagenti.io/a2a", ""),
            ("more", "kept"),
        ];
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let whole = Target {
            template_labels: map(&[("kagenti.io/type", "agent")]),
            template_annotations: map(&[
                ("kagenti.io/config-hash", HASH),
                ("kagenti.io/mtls-mode", "strict"),
            ]),
            ..target(&found)
        };
        let plan = plan_runtime(&observed(&agent, &whole));
        assert_eq!((plan.apply, plan.found), (None, Some(Found::Enrolled)));
        for (at, lacking) in [
            Target { template_labels: map(&[]), ..whole.clone() },
            Target { template_annotations: map(&[("kagenti.io/config-hash", "other")]), ..whole.clone() },
            target(&found),
        ]
        .iter()
        .enumerate()
        {
            assert!(plan_runtime(&observed(&agent, lacking)).apply.is_some(), "{at}");
            let unread = Observed { hash: None, ..observed(&agent, lacking) };
            assert_eq!(plan_runtime(&unread).apply, None);
        }
    }

    #[test]
    fn who_enrols_a_workload_keeps_it_and_else_the_oldest_object_enrols() {
        let found = target(&[]);
        let own = runtime("b", RuntimeType::Agent, 5, "Deployment weather");
        for (rival, claims) in [
            (runtime("a", RuntimeType::Tool, 4, "Deployment weather"), true),
            (runtime("a", RuntimeType::Tool, 5, "Deployment weather"), true),
            (runtime("c", RuntimeType::Tool, 5, "Deployment weather"), false),
            (runtime("a", RuntimeType::Tool, 6, "Deployment weather"), false),
            (runtime("a", RuntimeType::Tool, 4, "StatefulSet weather"), false),
        ] {
            let rivals = [rival];
            let plan = plan_runtime(&Observed { rivals: &rivals, ..observed(&own, &found) });
            assert_eq!(matches!(plan.found, Some(Found::Claimed(_))), claims, "{rivals:?}");
            assert_eq!(plan.apply.is_none(), claims);
            for (holder, claims) in [("a", rivals[0].label == "a"), ("b", false), ("gone", claims)] {
                let held = target(&[("agent.kagenti.dev/runtime", holder)]);
                let plan = plan_runtime(&Observed { rivals: &rivals, ..observed(&own, &held) });
                let claims = claims && rivals[0].target.kind == "Deployment";
                assert_eq!(matches!(plan.found, Some(Found::Claimed(_))), claims, "{holder} {rivals:?}");
            }
        }
    }

    #[test]
    fn what_an_object_does_not_enrol_any_more_is_given_up() {
        let held = [enrolled("weather"), enrolled("old")];
        let found = target(&[]);
        let released = |plan: RuntimePlan| -> Vec<String> {
            plan.release.iter().map(|(workload, _)| workload.object.name.to_string()).collect()
        };
        let own = runtime("a", RuntimeType::Agent, 0, "Deployment weather");
        let moved = Observed { enrolled: &held, ..observed(&own, &found) };
        assert_eq!(released(plan_runtime(&moved)), ["old"]);
        assert_eq!(released(plan_runtime(&Observed::gone("team", &held))), ["weather", "old"]);
        let leaving = IndexedRuntime { is_leaving: true, ..own.clone() };
        let plan = plan_runtime(&Observed { runtime: Some(&leaving), ..moved });
        assert_eq!(plan.finalizers, Some(vec!["other".to_owned()]));
        assert_eq!(
            plan.release[0].1,
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "namespace": "team",
                "name": "weather", "uid": "uid-weather", "resourceVersion": "9" } }),
            "every field is given up, if nobody wrote since"
        );
        assert_eq!(released(plan), ["weather", "old"]);
        // Configuration that could not be read, or a target that is away for a moment, gives nothing up.
        for unsure in [Observed { hash: None, ..moved }, Observed { target: None, ..moved }] {
            assert_eq!(released(plan_runtime(&unsure)), ["old"]);
        }
    }

    #[test]
    fn a_type_of_others_is_not_overwritten_and_the_own_one_is() {
        let own = runtime("a", RuntimeType::Agent, 0, "Deployment weather");
        let found = target(&[("kagenti.io/type", "tool\u{202e}")]);
        let plan = plan_runtime(&observed(&own, &found));
        let Some(Found::Contradicted(message)) = &plan.found else { panic!("{plan:?}") };
        assert!(message.contains(r#"kagenti.io/type="tool\u{202e}""#) && plan.apply.is_none(), "{message}");
        let found = target(&[("kagenti.io/type", "tool"), ("agent.kagenti.dev/runtime", "a")]);
        assert!(plan_runtime(&observed(&own, &found)).apply.is_some(), "spec.type was changed");
    }

    #[test]
    fn the_status_says_what_was_found_and_an_event_tells_of_a_change() {
        let own = runtime("a", RuntimeType::Agent, 0, "Deployment weather");
        let (found, at) = (target(&[]), Timestamp::from_unix(100));
        let done = Done {
            found: &Found::Enrolled,
            target: Some(&found),
            hash: Ok(HASH),
            warning: None,
            card: None,
            applied: Ok(()),
            mesh: &ShownMesh::Off,
            sidecar: &SidecarPlan::NotOffered,
            skills: &Skills::None,
        };
        let missing = Found::Missing("Deployment \"x\" does not exist".to_owned());
        let claimed = Found::Claimed("AgentRuntime b enrols it".to_owned());
        for (done, words, pods) in [
            (done, "True TargetFound, True ConfigResolved, False CardMissing, True Configured", 2),
            (
                Done { warning: Some("two"), ..done },
                "True TargetFound, True ConfigWarning, False CardMissing, True Configured",
                2,
            ),
            (
                Done { found: &missing, ..done },
                "False TargetNotFound, True ConfigResolved, False TargetNotFound",
                0,
            ),
            (
                Done { found: &claimed, ..done },
                "False TargetClaimed, True ConfigResolved, False TargetClaimed",
                0,
            ),
            (
                Done { hash: Err("no"), ..done },
                "True TargetFound, False ConfigHashError, False CardMissing, False ConfigHashError",
                2,
            ),
            (
                Done { applied: Err("no"), ..done },
                "True TargetFound, True ConfigResolved, False CardMissing, False ConfigApplyError",
                2,
            ),
        ] {
            let after = plan_status(&own, &AgentRuntimeStatus::default(), &done, at);
            let all = after.conditions.iter();
            let said: Vec<String> = all.map(|one| format!("{} {}", one.status, one.reason)).collect();
            assert_eq!((said.join(", ").as_str(), after.configured_pods), (words, Some(pods)));
            let events = plan_events(&AgentRuntimeStatus::default(), &after);
            let warns: Vec<bool> = events.iter().map(Transition::is_warning).collect();
            assert_eq!(warns, [!words.ends_with("True Configured")]);
            assert_eq!(plan_events(&after, &after), [], "it is told once");
        }
    }

    #[test]
    fn a_sandbox_is_enrolled_in_its_own_fields_together_with_the_pod_to_replace() {
        let own = runtime("a", RuntimeType::Tool, 0, "Sandbox weather");
        let pod = PodRef { object: ObjectRef::new("team", "weather"), uid: "uid-pod".to_owned() };
        let running = SandboxPod {
            pod: pod.clone(),
            is_leaving: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        let found = Target { pod: Some(running), ..target(&[]) };
        let plan = plan_runtime(&observed(&own, &found));
        let (workload, object) = plan.apply.unwrap();
        assert_eq!((workload.kind, plan.replace), (WorkloadKind::Sandbox, Some(pod)));
        let annotations = json!({ "kagenti.io/config-hash": HASH, "kagenti.io/mtls-mode": "strict" });
        let mut expected = json!({ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
            "metadata": { "namespace": "team", "name": "weather", "uid": "uid-weather", "labels": {
                "kagenti.io/type": "tool", "agent.kagenti.dev/runtime": "a",
                "app.kubernetes.io/managed-by": "kagenti-operator" },
                "annotations": { "countersign.dev/replaced-pod": "uid-pod" } },
            "spec": { "podTemplate": { "metadata": {
                "labels": { "kagenti.io/type": "tool" }, "annotations": annotations } } } });
        assert_eq!(object, expected);
        // Without a Pod there is nothing to replace, and the version is the one that was read.
        let newer = Target { api_version: Some("agents.x-k8s.io/v1beta1".to_owned()), ..target(&[]) };
        let plan = plan_runtime(&observed(&own, &newer));
        expected["apiVersion"] = json!("agents.x-k8s.io/v1beta1");
        expected["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!((plan.apply.unwrap().1, plan.replace), (expected, None));
        // A cluster without the kind is told so, and nothing is written.
        let none = Observed { target: None, lacks_kind: true, ..observed(&own, &found) };
        let plan = plan_runtime(&none);
        let Some(Found::Missing(message)) = plan.found else { panic!("{plan:?}") };
        assert!(message.contains("does not have the kind Sandbox (agents.x-k8s.io/v1alpha1)"), "{message}");
        assert_eq!((plan.apply, plan.replace, plan.release.len()), (None, None, 0));
    }

    #[test]
    fn skills_are_shown_and_what_cannot_be_read_of_them_is_told_and_costs_nothing_else() {
        let own = runtime("a", RuntimeType::Tool, 0, "Deployment weather");
        let (found, at) = (target(&[]), Timestamp::from_unix(100));
        let (linked, bad) =
            (Skills::Linked(vec!["translate".to_owned()]), Skills::Unreadable("Failed to parse".to_owned()));
        let done = |skills| Done {
            mesh: &ShownMesh::Off,
            found: &Found::Enrolled,
            target: Some(&found),
            hash: Ok(HASH),
            warning: None,
            card: None,
            applied: Ok(()),
            sidecar: &SidecarPlan::NotOffered,
            skills,
        };
        let shown = plan_status(&own, &AgentRuntimeStatus::default(), &done(&linked), at);
        let word = |status: &AgentRuntimeStatus, kind: &str| {
            let one = status.conditions.iter().find(|one| one.type_ == kind);
            one.map(|one| format!("{} {}", one.status, one.reason))
        };
        assert_eq!(shown.linked_skills, ["translate"]);
        assert_eq!(word(&shown, "SkillsLinked").as_deref(), Some("True SkillsLinked"));
        let told = plan_status(&own, &shown, &done(&bad), at);
        assert_eq!(told.linked_skills, [""; 0]);
        assert_eq!(word(&told, "SkillsLinked").as_deref(), Some("False SkillAnnotationParseError"));
        assert_eq!(word(&told, "Ready").as_deref(), Some("True Configured"));
        let events = plan_events(&shown, &told);
        assert_eq!(events.iter().map(Transition::reason).collect::<Vec<_>>(), ["SkillAnnotationParseError"]);
        let none = plan_status(&own, &told, &done(&Skills::None), at);
        assert_eq!((none.linked_skills.len(), word(&none, "SkillsLinked")), (0, None));
        assert_eq!(plan_events(&told, &none), []);
        let missing = Found::Missing(String::new());
        let gone = plan_status(&own, &shown, &Done { found: &missing, ..done(&linked) }, at);
        assert_eq!((gone.linked_skills.len(), word(&gone, "SkillsLinked")), (0, None));
    }

    #[test]
    fn a_young_object_is_looked_after_sooner() {
        let own = runtime("a", RuntimeType::Agent, 100, "Deployment weather");
        let missing = Found::Missing(String::new());
        for (at, seconds) in [(90, 1), (100, 1), (140, 10), (10_000, 60)] {
            assert_eq!(read_again(&missing, &own, Timestamp::from_unix(at)), Duration::from_secs(seconds));
        }
        assert_eq!(read_again(&Found::Enrolled, &own, Timestamp::from_unix(100)), CONFIG_READ_AGAIN);
    }
}
