//! Labels of Istio's ambient mesh on namespaces with an `AgentRuntime`: set, kept, and never taken off.

use crate::runtime::{plain, ready};
use crate::{scene, witnessed};
use countersign_cluster_tests::{Scene, condition};
use serde_json::{Value, json};
use std::time::Duration;

const FIRST: &str = "istio-discovery";
const SECOND: &str = "istio.io/dataplane-mode";

fn runtime(team: &str) -> Value {
    json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": "weather", "namespace": team },
        "spec": { "type": "tool", "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } } })
}

fn namespace(scene: &Scene, team: &str) -> Value {
    scene.rig.get(&format!("/api/v1/namespaces/{team}")).unwrap().unwrap()
}

fn change(scene: &Scene, team: &str, metadata: &Value) {
    scene.rig.patch(&format!("/api/v1/namespaces/{team}"), &json!({ "metadata": metadata })).unwrap();
}

fn mesh_of(scene: &Scene, team: &str) -> (Value, Value) {
    let labels = namespace(scene, team)["metadata"]["labels"].take();
    (labels[FIRST].clone(), labels[SECOND].clone())
}

fn is_meshed(scene: &Scene, team: &str) -> bool {
    mesh_of(scene, team) == (json!("enabled"), json!("ambient"))
}

/// Waits until the condition has this reason; returns its message.
fn told(scene: &Scene, team: &str, reason: &str) -> String {
    let mut last = Value::Null;
    let waited = scene.rig.wait("the condition IstioMeshEnrolled", || {
        last = condition(&scene.get("agentruntime", team, "weather")?, "IstioMeshEnrolled").clone();
        Ok(last["reason"] == reason)
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{last:#}\n{}", scene.operator.log()));
    assert_eq!(last["status"] == "True", reason == "NamespaceLabeled", "{last:#}");
    last["message"].as_str().unwrap().to_owned()
}

fn events(scene: &Scene, team: &str, reason: &str) -> usize {
    let events = scene.list("events.events.k8s.io", team).unwrap();
    events.iter().filter(|event| event["reason"] == reason).count()
}

#[test]
fn a_namespace_with_an_agent_runtime_is_in_the_mesh_and_stays_there() {
    let (scene, team) = (scene("meshed"), "meshed");
    change(scene, team, &json!({ "labels": { "team": "own" } }));
    scene.apply_all(&plain(team, "weather")).unwrap();
    assert!(!is_meshed(scene, team), "no AgentRuntime is there");
    scene.apply_all(&[runtime(team)]).unwrap();
    ready(scene, team, "weather", "Configured");
    told(scene, team, "NamespaceLabeled");
    assert!(is_meshed(scene, team));
    assert_eq!(namespace(scene, team)["metadata"]["labels"]["team"], "own");
    let fields = namespace(scene, team)["metadata"]["managedFields"].take();
    let own =
        fields.as_array().unwrap().iter().find(|one| one["manager"] == "countersign-mesh").unwrap().clone();
    let label = |key: &str| format!("f:{key}");
    assert_eq!(
        own["fieldsV1"],
        json!({ "f:metadata": { "f:labels": { label(FIRST): {}, label(SECOND): {} } } }),
        "these fields and no others"
    );
    // What somebody takes off, or sets otherwise, comes back.
    for other in [json!(null), json!("none")] {
        change(scene, team, &json!({ "labels": { SECOND: other } }));
        scene.rig.wait("the label", || Ok(is_meshed(scene, team))).unwrap();
    }
    // A quiet cluster is written to by nobody, and the event was sent once.
    scene.settle(team, Duration::from_secs(3)).unwrap();
    assert_eq!(events(scene, team, "IstioMeshEnrolled"), 1);
    let mut audit = scene.audit(team).unwrap();
    let note = json!({ "metadata": { "annotations": { "example.org/looked": "at" } } });
    scene.patch("agentruntime", team, "weather", &note).unwrap();
    change(scene, team, &json!({ "annotations": { "example.org/looked": "at" } }));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(audit.writes().unwrap().len(), 0, "{:#?}", audit.writes().unwrap());

    // The labels survive the last AgentRuntime, and are looked after no more.
    scene.delete("agentruntime", team, "weather").unwrap();
    let put_back =
        || Ok(scene.get("deployment", team, "weather")?["metadata"]["labels"]["kagenti.io/type"].is_null());
    scene.rig.wait("the workload as it was", put_back).unwrap();
    assert!(is_meshed(scene, team));
    change(scene, team, &json!({ "labels": { FIRST: null } }));
    scene.settle(team, Duration::from_secs(2)).unwrap();
    assert!(!is_meshed(scene, team), "nobody asks for it any more");
}

#[test]
fn a_namespace_that_opts_out_is_left_alone_under_either_name() {
    for (team, key) in [("unmeshed", "kagenti.io/istio-mesh"), ("unmeshed-newer", "rossoctl.io/istio-mesh")] {
        let scene = scene(team);
        change(scene, team, &json!({ "annotations": { key: "disabled" } }));
        scene.apply_all(&plain(team, "weather")).unwrap();
        scene.apply_all(&[runtime(team)]).unwrap();
        ready(scene, team, "weather", "Configured");
        let message = told(scene, team, "OptedOut");
        assert!(message.contains(key), "{message}");
        assert_eq!(mesh_of(scene, team), (Value::Null, Value::Null));
        // Any other value means nothing.
        change(scene, team, &json!({ "annotations": { key: "enabled" } }));
        told(scene, team, "NamespaceLabeled");
        assert!(is_meshed(scene, team));
        // Whoever opts out later is told that the labels stay, and takes them off for good.
        change(scene, team, &json!({ "annotations": { key: "disabled" } }));
        let message = told(scene, team, "OptedOut");
        assert!(message.contains(FIRST), "{message}");
        change(scene, team, &json!({ "labels": { FIRST: null, SECOND: null } }));
        scene.settle(team, Duration::from_secs(2)).unwrap();
        assert_eq!(mesh_of(scene, team), (Value::Null, Value::Null));
    }
}

#[test]
fn a_namespace_that_may_not_be_labelled_is_told_and_the_workload_is_enrolled_all_the_same() {
    let (scene, team) = (scene("mesh-refused"), "mesh-refused");
    let policy = |kind: &str, spec: Value| json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": "no-mesh" }, "spec": spec });
    scene
        .apply_all(&[
            policy(
                "ValidatingAdmissionPolicy",
                json!({ "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["UPDATE"], "resources": ["namespaces"] }] },
                    "matchConditions": [{ "name": "one", "expression": "request.name == 'mesh-refused'" }],
                    "validations": [{ "expression": "!('istio-discovery' in object.metadata.?labels.orValue({}))",
                        "message": "nobody is in the mesh here" }] }),
            ),
            policy(
                "ValidatingAdmissionPolicyBinding",
                json!({ "policyName": "no-mesh", "validationActions": ["Deny"] }),
            ),
        ])
        .unwrap();
    let labelled = json!({ "metadata": { "labels": { FIRST: "enabled" } } });
    let is_refused = || {
        let dry = format!("/api/v1/namespaces/{team}?dryRun=All");
        Ok(scene.rig.patch(&dry, &labelled).is_err())
    };
    scene.rig.wait("the policy to be in force", is_refused).unwrap();
    scene.apply_all(&plain(team, "weather")).unwrap();
    scene.apply_all(&[runtime(team)]).unwrap();
    ready(scene, team, "weather", "Configured");
    let message = told(scene, team, "PatchFailed");
    assert!(message.contains("'no-mesh'"), "{message}");
    scene.rig.wait("an event", || Ok(events(scene, team, "IstioMeshLabelError") == 1)).unwrap();
    scene
        .rig
        .kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "no-mesh"])
        .unwrap();
    told(scene, team, "NamespaceLabeled");
    assert_eq!(events(scene, team, "IstioMeshLabelError"), 1, "it is told once, however often it is tried");
}

#[test]
fn without_the_switch_no_namespace_is_labelled_and_nothing_is_said() {
    let (scene, team) = (witnessed("mesh-off"), "mesh-off");
    scene.apply_all(&plain(team, "weather")).unwrap();
    scene.apply_all(&[runtime(team)]).unwrap();
    let shown = ready(scene, team, "weather", "Configured");
    assert_eq!(condition(&shown, "IstioMeshEnrolled"), &Value::Null);
    scene.settle(team, Duration::from_secs(2)).unwrap();
    assert_eq!(mesh_of(scene, team), (Value::Null, Value::Null));
}
