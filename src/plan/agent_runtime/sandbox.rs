//! Pod of an enrolled Sandbox. The controller of Sandboxes keeps a running Pod when the template changes, so the operator
//! deletes it once, and that controller makes another (ADR 0024).
//!
//! The UID of the Pod to delete is written into the Sandbox together with the template: whatever fails in between, the next
//! turn deletes that Pod, and no other one.

use super::config_hash::Data;
use super::fields::{identity, released};
use super::target::{PodRef, Target};
use crate::agent_card::transition::Transition;
use crate::input::workload::WorkloadRef;
use countersign_api::keys::{CONFIG_HASH_ANNOTATION, RELEASED_POD_ANNOTATION, RUNTIME_LABEL};
use countersign_core::text::Quoted;
use serde_json::{Value, json};

/// What becomes of the Pod of a Sandbox that is enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Replacement {
    /// UID to record on the Sandbox: that of the Pod to delete, or of the last one that was.
    pub(super) record: Option<String>,
    /// Pod to delete once the Sandbox has the record.
    pub(super) delete: Option<PodRef>,
    /// Why nothing is done about a Pod that runs another template.
    pub(super) problem: Option<String>,
}

impl Replacement {
    /// Plans the replacement of the Pod of `target`, whose template gets these labels and annotations; `is_new` if it does
    /// not have them yet.
    pub(super) fn of(target: &Target, (labels, annotations): (&Data, &Data), is_new: bool) -> Self {
        let before = target.replaced_pod.clone();
        let Some(found) = target.pod.as_ref().filter(|found| !found.is_leaving) else {
            // The next Pod is made from the template. One that was made of the template of before in this moment is replaced.
            return Self { record: before.filter(|_| !is_new), ..Self::default() };
        };
        let uid = &found.pod.uid;
        let is_recorded = before.as_ref() == Some(uid);
        let runs = found.runs(labels, annotations);
        if is_recorded || (!runs && (is_new || before.is_none())) {
            // A controller may copy a new template's annotations to the running Pod, so the record counts.
            return Self { record: Some(uid.clone()), delete: Some(found.pod.clone()), problem: None };
        }
        let record = before.filter(|_| !is_new);
        let problem = (!runs).then(|| {
            format!(
                "the Pod {} was replaced and has not the labels and annotations of the template still: let the controller of \
                 Sandboxes copy them, and delete the Pod",
                Quoted(&found.pod.object.name)
            )
        });
        Self { record, delete: None, problem }
    }
}

/// Event about a deleted Pod.
pub fn plan_replaced(sandbox: &str, pod: &PodRef) -> Transition {
    let name = &pod.object.name;
    let note = format!(
        "the Pod {name} was deleted, because the Pod template of Sandbox {sandbox} was changed by enrolment"
    );
    Transition::normal("SandboxRestarted", &note)
}

/// Step that gives up an enrolled Sandbox.
#[derive(Clone, Debug, PartialEq)]
pub enum ReleaseStep {
    /// These fields are applied.
    Apply(Value),
    /// This Pod is deleted.
    Delete(PodRef),
}

/// Plans the next steps that give up a Sandbox with the label value `label`: the fields of enrolment but for the label, so that
/// it is found again, then the Pod that ran with them, then the label. The change of the Sandbox leads to the next turn.
pub fn plan_release(workload: &WorkloadRef, label: &str, target: &Target) -> Vec<ReleaseStep> {
    if target.labels.get(RUNTIME_LABEL).is_none_or(|found| found != label) {
        // Somebody else enrolled it meanwhile.
        return Vec::new();
    }
    let running = target.pod.as_ref().filter(|found| !found.is_leaving);
    let give_up = || {
        let version = target.api_version.as_deref();
        ReleaseStep::Apply(released((workload, version), &target.uid, &target.resource_version))
    };
    match (&target.released_pod, running) {
        (Some(uid), Some(found)) if *uid == found.pod.uid => {
            vec![ReleaseStep::Delete(found.pod.clone()), give_up()]
        }
        (None, Some(found)) if found.annotations.contains_key(CONFIG_HASH_ANNOTATION) => {
            let mut object = identity((workload, target.api_version.as_deref()), &target.uid);
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                metadata.insert("resourceVersion".to_owned(), json!(target.resource_version));
                metadata.insert("labels".to_owned(), json!({ RUNTIME_LABEL: label }));
                metadata.insert("annotations".to_owned(), json!({ RELEASED_POD_ANNOTATION: found.pod.uid }));
            }
            vec![ReleaseStep::Apply(Value::Object(object)), ReleaseStep::Delete(found.pod.clone())]
        }
        _ => vec![give_up()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_runtime::target::SandboxPod;
    use crate::input::workload::WorkloadKind;
    use countersign_api::ObjectRef;
    use std::collections::BTreeMap;

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Pod with the label and the hash of an enrolment; an empty hash for one without.
    fn pod(uid: &str, hash: &str, is_leaving: bool) -> SandboxPod {
        let (labels, annotations) = match hash {
            "" => (Data::new(), Data::new()),
            _ => (data(&[("kagenti.io/type", "agent")]), data(&[("kagenti.io/config-hash", hash)])),
        };
        let pod = PodRef { object: ObjectRef::new("team", "weather"), uid: uid.to_owned() };
        SandboxPod { pod, is_leaving, labels, annotations }
    }

    #[test]
    fn a_pod_of_another_template_is_replaced_once_whatever_fails_in_between() {
        let wanted = (data(&[("kagenti.io/type", "agent")]), data(&[("kagenti.io/config-hash", "new")]));
        // The template is new, the UID that is recorded, the Pod; then the record, the Pod to delete, and whether it is told.
        for (case, (is_new, before, found, record, delete, is_told)) in [
            // Enrolment: the Pod is recorded with the template, and deleted.
            (true, None, Some(pod("p1", "", false)), Some("p1"), Some("p1"), false),
            // The operator ended before it deleted the Pod, whatever its controller wrote on it.
            (false, Some("p1"), Some(pod("p1", "", false)), Some("p1"), Some("p1"), false),
            (false, Some("p1"), Some(pod("p1", "new", false)), Some("p1"), Some("p1"), false),
            (true, Some("p1"), Some(pod("p1", "new", false)), Some("p1"), Some("p1"), false),
            // It goes, and the next one comes: nothing more is written.
            (false, Some("p1"), Some(pod("p1", "", true)), Some("p1"), None, false),
            (false, Some("p1"), None, Some("p1"), None, false),
            (false, Some("p1"), Some(pod("p2", "new", false)), Some("p1"), None, false),
            // Another configuration.
            (true, Some("p1"), Some(pod("p2", "old", false)), Some("p2"), Some("p2"), false),
            // Paused, or not made yet.
            (true, None, None, None, None, false),
            (true, Some("p1"), None, None, None, false),
            // Made from the template of before while the new one was written.
            (false, None, Some(pod("p1", "old", false)), Some("p1"), Some("p1"), false),
            // The template was taken away and comes back, and the Pod runs with it.
            (true, None, Some(pod("p1", "new", false)), None, None, false),
            (true, Some("p0"), Some(pod("p1", "new", false)), None, None, false),
            // A controller that copies no annotations: no Pod is deleted for ever.
            (false, Some("p1"), Some(pod("p2", "", false)), Some("p1"), None, true),
        ]
        .into_iter()
        .enumerate()
        {
            let target = Target { pod: found, replaced_pod: before.map(str::to_owned), ..Target::default() };
            let planned = Replacement::of(&target, (&wanted.0, &wanted.1), is_new);
            let shown = (planned.record.as_deref(), planned.delete.as_ref().map(|pod| pod.uid.as_str()));
            assert_eq!((shown, planned.problem.is_some()), ((record, delete), is_told), "case {case}");
        }
    }

    #[test]
    fn a_pod_counts_as_configured_once_it_was_made_from_the_template() {
        let enrolled = |pod: SandboxPod, replaced: &str| Target {
            template_labels: data(&[("kagenti.io/type", "agent")]),
            template_annotations: data(&[("kagenti.io/config-hash", "new")]),
            pod: Some(pod),
            replaced_pod: Some(replaced.to_owned()),
            updated_pods: 7,
            ..Target::default()
        };
        for (target, count) in [
            (enrolled(pod("p2", "new", false), "p1"), 1),
            (enrolled(pod("p2", "old", false), "p1"), 0),
            (enrolled(pod("p2", "new", true), "p1"), 0),
            (enrolled(pod("p1", "new", false), "p1"), 0),
            (Target { pod: Some(pod("p1", "", false)), ..Target::default() }, 0),
            (Target { updated_pods: 3, ..Target::default() }, 3),
        ] {
            assert_eq!(target.configured_pods(), count, "{target:?}");
        }
    }

    #[test]
    fn a_sandbox_keeps_its_label_until_the_pod_that_ran_enrolled_goes() {
        let workload = WorkloadRef { kind: WorkloadKind::Sandbox, object: ObjectRef::new("team", "weather") };
        let of = |label: &str, released: Option<&str>, pod: Option<SandboxPod>| Target {
            uid: "uid-weather".to_owned(),
            resource_version: "9".to_owned(),
            labels: data(&[("agent.kagenti.dev/runtime", label)]),
            released_pod: released.map(str::to_owned),
            pod,
            ..Target::default()
        };
        let steps = |target: &Target| {
            let name = |step: ReleaseStep| match step {
                ReleaseStep::Delete(pod) => format!("delete {}", pod.uid),
                ReleaseStep::Apply(object) => {
                    assert_eq!(object["metadata"]["resourceVersion"], "9");
                    assert_eq!(object["apiVersion"], "agents.x-k8s.io/v1alpha1");
                    assert!(object["spec"].is_null(), "{object}");
                    let labels = &object["metadata"]["labels"];
                    let released = &object["metadata"]["annotations"]["countersign.dev/released-pod"];
                    if let Some(uid) = released.as_str() {
                        assert_eq!(labels, &json!({ "agent.kagenti.dev/runtime": "a" }));
                        format!("keep the label for {uid}")
                    } else {
                        assert!(labels.is_null(), "{object}");
                        "give up".to_owned()
                    }
                }
            };
            plan_release(&workload, "a", target).into_iter().map(name).collect::<Vec<_>>()
        };
        for (target, expected) in [
            (of("a", None, Some(pod("p1", "h", false))), &["keep the label for p1", "delete p1"][..]),
            // The operator ended in between, or the write was slower than the Pod.
            (of("a", Some("p1"), Some(pod("p1", "h", false))), &["delete p1", "give up"]),
            (of("a", Some("p1"), Some(pod("p1", "", false))), &["delete p1", "give up"]),
            (of("a", Some("p1"), Some(pod("p1", "h", true))), &["give up"]),
            (of("a", Some("p1"), Some(pod("p2", "", false))), &["give up"]),
            (of("a", Some("p1"), None), &["give up"]),
            // No Pod ran with it.
            (of("a", None, None), &["give up"]),
            (of("a", None, Some(pod("p1", "", false))), &["give up"]),
            (of("a", None, Some(pod("p1", "h", true))), &["give up"]),
            // Somebody else's.
            (of("b", None, Some(pod("p1", "h", false))), &[]),
            (Target { labels: BTreeMap::new(), ..of("a", None, None) }, &[]),
        ] {
            assert_eq!(steps(&target), expected, "{target:?}");
        }
    }
}
