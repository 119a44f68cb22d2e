//! Enrolment of namespaces in the ambient mode of Istio's mesh: two labels, and the condition and event that tell of them.
//! The labels are set and never taken off: Pods that lost the mesh while they talk would be cut off.

use crate::agent_card::transition::Transition;
use crate::condition::{Values, word};
use countersign_api::agent_runtime::{AgentRuntimeStatus, RuntimeCondition, RuntimeReason as Why};
use countersign_api::keys::{Family, MESH_DISABLED, MESH_LABELS};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde_json::{Map, Value, json};

/// What of a Namespace decides about the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshNamespace {
    /// UID of the Namespace.
    pub uid: String,
    /// True if it is being deleted.
    pub is_leaving: bool,
    /// True if both labels stand.
    pub is_labelled: bool,
    /// Annotation that keeps it out of the mesh, if one does.
    pub opted_out: Option<&'static str>,
}

impl MeshNamespace {
    /// Namespace by its metadata; `None` without a UID.
    pub fn of(metadata: ObjectMeta) -> Option<Self> {
        let labels = metadata.labels.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();
        let mut keys = Family::ALL.into_iter().map(Family::mesh_annotation);
        Some(Self {
            uid: metadata.uid?,
            is_leaving: metadata.deletion_timestamp.is_some(),
            is_labelled: MESH_LABELS
                .iter()
                .all(|(key, value)| labels.get(*key).is_some_and(|found| found == value)),
            opted_out: keys.find(|key| annotations.get(*key).is_some_and(|value| value == MESH_DISABLED)),
        })
    }
}

/// What was found about the mesh in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// The labels stand.
    Labelled,
    /// This annotation keeps the namespace out; the labels stand all the same if the flag is true.
    OptedOut(&'static str, bool),
    /// The API server refused the labels, as it says.
    Refused(String),
}

/// What an `AgentRuntime` shows about the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownMesh {
    /// Nothing: the operator labels no namespace.
    Off,
    /// What was shown before: the operator has not looked yet.
    Unknown,
    /// What was found.
    Found(Mesh),
}

/// Plan for one namespace with an `AgentRuntime`.
#[derive(Clone, Debug, PartialEq)]
pub enum MeshPlan {
    /// Nothing: it is being deleted.
    Leave,
    /// Nothing to write.
    Stands(Mesh),
    /// Object for server-side apply.
    Label(Value),
}

/// Plans the labels of a namespace. Its UID keeps the write from making a namespace of this name anew.
pub fn plan_mesh(name: &str, namespace: &MeshNamespace) -> MeshPlan {
    if namespace.is_leaving {
        return MeshPlan::Leave;
    }
    match namespace.opted_out {
        Some(key) => MeshPlan::Stands(Mesh::OptedOut(key, namespace.is_labelled)),
        None if namespace.is_labelled => MeshPlan::Stands(Mesh::Labelled),
        None => {
            let labels: Map<String, Value> =
                MESH_LABELS.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            MeshPlan::Label(json!({ "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": name, "uid": namespace.uid, "labels": labels } }))
        }
    }
}

/// What the condition `IstioMeshEnrolled` says; `None` for none.
pub(crate) fn plan_condition(before: &[Condition], mesh: &ShownMesh) -> Option<Values> {
    let (holds, why, message) = match mesh {
        ShownMesh::Off => return None,
        ShownMesh::Unknown => return shown(before).map(again),
        ShownMesh::Found(Mesh::Labelled) => {
            (true, Why::NamespaceLabeled, "the namespace has the labels of Istio's ambient mesh".to_owned())
        }
        ShownMesh::Found(Mesh::OptedOut(key, is_labelled)) => {
            let labels = if *is_labelled {
                let [(first, _), (second, _)] = MESH_LABELS;
                format!(
                    "; its labels {first} and {second} stand from before, and keep its Pods in the mesh until somebody takes \
                     them off"
                )
            } else {
                String::new()
            };
            let message = format!("the namespace has the annotation {key}={MESH_DISABLED}{labels}");
            (false, Why::OptedOut, message)
        }
        ShownMesh::Found(Mesh::Refused(said)) => {
            (false, Why::PatchFailed, format!("the namespace could not be labelled: {said}"))
        }
    };
    Some(Values { status: word(holds), reason: why.as_str().to_owned(), message })
}

/// Event about a change of the condition `IstioMeshEnrolled`: that the labels stand, or were refused. An annotation that
/// keeps the namespace out is told in the condition alone.
pub fn plan_mesh_event(before: &AgentRuntimeStatus, after: &AgentRuntimeStatus) -> Option<Transition> {
    let [before, after] = [before, after].map(|status| shown(&status.conditions));
    let after = after?;
    if before.is_some_and(|before| before.reason == after.reason) {
        return None;
    }
    if after.reason == Why::NamespaceLabeled.as_str() {
        return Some(Transition::normal("IstioMeshEnrolled", &after.message));
    }
    let [(first, first_value), (second, second_value)] = MESH_LABELS;
    let fix = format!(
        "Give the operator's account the right that is missing, label the namespace {first}={first_value} and \
         {second}={second_value}, or annotate it {}={MESH_DISABLED}.",
        Family::Kagenti.mesh_annotation()
    );
    let is_refused = after.reason == Why::PatchFailed.as_str();
    is_refused.then(|| Transition::warning("IstioMeshLabelError", &after.message, &fix))
}

fn shown(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == RuntimeCondition::IstioMeshEnrolled.as_str())
}

fn again(condition: &Condition) -> Values {
    let (reason, message) = (condition.reason.clone(), condition.message.clone());
    Values { status: word(condition.status == word(true)), reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::following;
    use countersign_core::time::Timestamp;
    use std::collections::BTreeMap;

    const BOTH: [(&str, &str); 2] = [("istio-discovery", "enabled"), ("istio.io/dataplane-mode", "ambient")];

    fn namespace(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> MeshNamespace {
        let map = |pairs: &[(&str, &str)]| -> Option<BTreeMap<String, String>> {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        MeshNamespace::of(ObjectMeta {
            uid: Some("uid-team".to_owned()),
            labels: map(labels),
            annotations: map(annotations),
            ..ObjectMeta::default()
        })
        .unwrap()
    }

    #[test]
    fn labels_are_written_where_they_are_missing_or_others_unless_the_namespace_says_otherwise() {
        let label = MeshPlan::Label(json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "team", "uid": "uid-team", "labels": {
                "istio-discovery": "enabled", "istio.io/dataplane-mode": "ambient" } } }));
        let stands = MeshPlan::Stands(Mesh::Labelled);
        let out = |key, is_labelled| MeshPlan::Stands(Mesh::OptedOut(key, is_labelled));
        let (older, newer) = ("kagenti.io/istio-mesh", "rossoctl.io/istio-mesh");
        for (labels, annotations, plan) in [
            (&[][..], &[][..], label.clone()),
            (&BOTH, &[], stands.clone()),
            (&BOTH[..1], &[], label.clone()),
            (&[BOTH[0], ("istio.io/dataplane-mode", "none")], &[], label.clone()),
            (&[("team", "own")], &[(older, "enabled")], label.clone()),
            (&BOTH, &[(older, "Disabled"), (newer, "")], stands),
            (&[], &[(older, "disabled")], out(older, false)),
            (&BOTH, &[(newer, "disabled")], out(newer, true)),
        ] {
            assert_eq!(
                plan_mesh("team", &namespace(labels, annotations)),
                plan,
                "{labels:?} {annotations:?}"
            );
        }
        let leaving = MeshNamespace { is_leaving: true, ..namespace(&[], &[]) };
        assert_eq!(plan_mesh("team", &leaving), MeshPlan::Leave);
    }

    /// Status with the condition, as it follows `before`.
    fn status(before: &AgentRuntimeStatus, mesh: &ShownMesh) -> AgentRuntimeStatus {
        let kind = RuntimeCondition::IstioMeshEnrolled.as_str();
        let values = plan_condition(&before.conditions, mesh);
        let at = (1, Timestamp::from_unix(0));
        let conditions = values.map(|values| following(&before.conditions, kind, values, at));
        AgentRuntimeStatus { conditions: conditions.into_iter().collect(), ..AgentRuntimeStatus::default() }
    }

    #[test]
    fn the_condition_says_what_was_found_and_an_event_tells_of_a_change_once() {
        let none = AgentRuntimeStatus::default();
        let found = ShownMesh::Found;
        let refused = found(Mesh::Refused("the account lacks a right".to_owned()));
        for (mesh, said, event) in [
            (ShownMesh::Off, None, None),
            (ShownMesh::Unknown, None, None),
            (found(Mesh::Labelled), Some("True NamespaceLabeled"), Some("IstioMeshEnrolled")),
            (found(Mesh::OptedOut("kagenti.io/istio-mesh", false)), Some("False OptedOut"), None),
            (refused.clone(), Some("False PatchFailed"), Some("IstioMeshLabelError")),
        ] {
            let after = status(&none, &mesh);
            let words = after.conditions.first().map(|one| format!("{} {}", one.status, one.reason));
            assert_eq!(words.as_deref(), said);
            let told = plan_mesh_event(&none, &after);
            assert_eq!(told.as_ref().map(Transition::reason), event);
            assert_eq!(plan_mesh_event(&after, &after), None, "it is told once");
            // What was shown stays until the operator has looked again, and goes with the switch.
            assert_eq!(status(&after, &ShownMesh::Unknown), after);
            assert!(status(&after, &ShownMesh::Off).conditions.is_empty());
        }
        let told = plan_mesh_event(&none, &status(&none, &refused)).unwrap();
        assert!(
            told.is_warning() && told.note().contains("kagenti.io/istio-mesh=disabled"),
            "{}",
            told.note()
        );
    }

    #[test]
    fn an_annotation_that_comes_late_says_that_the_labels_stay() {
        let said = |is_labelled| {
            let mesh = ShownMesh::Found(Mesh::OptedOut("kagenti.io/istio-mesh", is_labelled));
            plan_condition(&[], &mesh).unwrap().message
        };
        assert!(!said(false).contains("istio-discovery") && said(true).contains("istio-discovery"));
    }
}
