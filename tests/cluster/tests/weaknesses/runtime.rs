//! `AgentRuntime`: a plain workload is enrolled, kept enrolled and put back, and its manifest is never touched.

use crate::scene;
use countersign_cluster_tests::{Agents, Scene, card_of, condition, holds, look_every};
use serde_json::{Value, json};

/// Workload, Service and account of an agent without a label that enrols it.
pub(crate) fn plain(team: &str, name: &str) -> Vec<Value> {
    let mut items = Agents::manifests(team, name);
    items[0]["metadata"]["labels"] = json!({ "app": name, "team": "own" });
    items[0]["spec"]["template"]["metadata"]["labels"] = json!({ "app": name });
    items
}

fn runtime(team: &str, name: &str, target: &str, kind: &str) -> Value {
    json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": name, "namespace": team },
        "spec": { "type": kind, "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target } } })
}

/// Takes the type label off the Deployment `weather`.
fn take_type_off(scene: &Scene, team: &str) {
    let none = json!({ "metadata": { "labels": { "kagenti.io/type": null } } });
    scene.patch("deployment", team, "weather", &none).unwrap();
}

/// Waits until the condition `Ready` has this reason; returns the object.
pub(crate) fn ready(scene: &Scene, team: &str, name: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    let waited = scene.rig.wait("the condition Ready", || {
        last = scene.get("agentruntime", team, name)?;
        Ok(condition(&last, "Ready")["reason"] == reason)
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{last:#}\n{}", scene.operator.log()));
    assert_eq!(holds(&last, "Ready"), reason == "Configured", "{last:#}");
    last
}

/// Metadata of a Deployment and of its template, without what changes by itself.
pub(crate) fn parts(scene: &Scene, team: &str, name: &str) -> (Value, Value) {
    let found = scene.get("deployment", team, name).unwrap();
    (found["metadata"]["labels"].clone(), found["spec"]["template"].clone())
}

#[test]
fn a_plain_workload_is_enrolled_verified_and_put_back() {
    let (scene, team) = (scene("enrolled"), "enrolled");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.apply_all(&plain(team, "weather")).unwrap();
    let before = parts(scene, team, "weather");
    scene.apply_all(&[runtime(team, "weather", "weather", "agent")]).unwrap();
    let shown = ready(scene, team, "weather", "Configured");
    assert_eq!(shown["status"]["observedGeneration"], 1, "{shown:#}");
    assert!(holds(&shown, "TargetResolved") && holds(&shown, "ConfigResolved"), "{shown:#}");
    let (labels, template) = parts(scene, team, "weather");
    assert_eq!(
        labels,
        json!({ "app": "weather", "team": "own", "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "",
            "app.kubernetes.io/managed-by": "kagenti-operator", "agent.kagenti.dev/runtime": "weather" })
    );
    assert_eq!(template["metadata"]["labels"], json!({ "app": "weather", "kagenti.io/type": "agent" }));
    let annotations = &template["metadata"]["annotations"];
    assert_eq!(annotations["kagenti.io/config-hash"].as_str().unwrap().len(), 64, "{annotations:#}");
    assert_eq!(annotations["kagenti.io/mtls-mode"], "permissive");
    // Its card is verified like that of any agent.
    scene.verified(team, "weather-deployment-card", "weather").unwrap();
    scene
        .rig
        .wait("the count of Pods", || {
            Ok(scene.get("agentruntime", team, "weather")?["status"]["configuredPods"] == 1)
        })
        .unwrap();
    let has_card = |content: &'static str, verified: &'static str| {
        let found = || {
            let shown = scene.get("agentruntime", team, "weather")?;
            let verified = condition(&shown, "Verified")["reason"] == verified;
            Ok(verified && shown["status"]["card"]["description"].as_str().unwrap_or_default() == content)
        };
        scene.rig.wait("the card in the status", found).unwrap_or_else(|error| {
            panic!("{error}: {:#}", scene.get("agentruntime", team, "weather").unwrap());
        });
    };
    has_card("An agent of the tests", "SignatureVerified");
    look_every(scene.rig, 1, team, "weather-deployment-card").unwrap();
    // What a refused card says is not shown, and another card takes the place of the first with nothing left of it.
    scene.agents.serve(team, "weather", card_of("weather", team).to_string().as_bytes()).unwrap();
    has_card("", "CardUnsigned");
    let mut other = card_of("weather", team);
    other["description"] = json!("Another one");
    other["skills"] = json!([]);
    scene.agents.serve(team, "weather", &scene.signed(&other, team, "weather")).unwrap();
    has_card("Another one", "SignatureVerified");
    let skills = &scene.get("agentruntime", team, "weather").unwrap()["status"]["card"]["skills"];
    assert!(skills.as_array().is_none_or(Vec::is_empty), "{skills:#}");
    // Nobody's restart is undone, and what somebody takes off comes back.
    let restart = json!({ "spec": { "template": { "metadata": { "annotations": { "example.org/restart": "now" } } } } });
    scene.patch("deployment", team, "weather", &restart).unwrap();
    take_type_off(scene, team);
    let enrolled = || Ok(parts(scene, team, "weather").0["kagenti.io/type"] == "agent");
    scene.rig.wait("the label", enrolled).unwrap();
    assert_eq!(parts(scene, team, "weather").1["metadata"]["annotations"]["example.org/restart"], "now");
    // A quiet cluster is written to by nobody.
    scene.settle(team, std::time::Duration::from_secs(3)).unwrap();

    scene.delete("agentruntime", team, "weather").unwrap();
    let (labels, mut template) = before;
    template["metadata"]["annotations"] = json!({ "example.org/restart": "now" });
    scene
        .rig
        .wait("the workload as it was", || {
            Ok(parts(scene, team, "weather") == (labels.clone(), template.clone()))
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", scene.get("deployment", team, "weather").unwrap()));
}

#[test]
fn a_target_that_is_missing_is_named_and_enrolled_once_it_comes() {
    let (scene, team) = (scene("awaited"), "awaited");
    scene.apply_all(&[runtime(team, "later", "weather", "agent")]).unwrap();
    let shown = ready(scene, team, "later", "TargetNotFound");
    let message = condition(&shown, "TargetResolved")["message"].as_str().unwrap();
    assert!(message.contains("Deployment \"weather\" does not exist"), "{message}");
    // Events wait until no turn is due.
    let told = || {
        let events = scene.list("events.events.k8s.io", team)?;
        Ok(events.iter().any(|event| event["reason"] == "TargetNotFound"))
    };
    scene.rig.wait("an event", told).unwrap();
    scene.apply_all(&plain(team, "weather")).unwrap();
    ready(scene, team, "later", "Configured");
    // A kind that cannot be enrolled is named, and what was enrolled is put back.
    let job =
        json!({ "spec": { "targetRef": { "apiVersion": "batch/v1", "kind": "Job", "name": "weather" } } });
    scene.patch("agentruntime", team, "later", &job).unwrap();
    ready(scene, team, "later", "TargetNotFound");
    let gone = || Ok(parts(scene, team, "weather").0 == json!({ "app": "weather", "team": "own" }));
    scene.rig.wait("the workload as it was", gone).unwrap();
}

#[test]
fn the_older_of_two_runtimes_enrols_and_the_other_one_follows_it() {
    let (scene, team) = (scene("claimed"), "claimed");
    scene.apply_all(&plain(team, "weather")).unwrap();
    scene.apply_all(&[runtime(team, "first", "weather", "tool")]).unwrap();
    ready(scene, team, "first", "Configured");
    scene.apply_all(&[runtime(team, "after", "weather", "agent")]).unwrap();
    let shown = ready(scene, team, "after", "TargetClaimed");
    assert!(
        condition(&shown, "Ready")["message"].as_str().unwrap().contains("AgentRuntime first"),
        "{shown:#}"
    );
    let labels = parts(scene, team, "weather").0;
    assert_eq!(
        (&labels["kagenti.io/type"], &labels["agent.kagenti.dev/runtime"]),
        (&json!("tool"), &json!("first"))
    );
    scene.delete("agentruntime", team, "first").unwrap();
    ready(scene, team, "after", "Configured");
    let is_taken = || Ok(parts(scene, team, "weather").0["agent.kagenti.dev/runtime"] == "after");
    scene.rig.wait("the other one", is_taken).unwrap();
    // Another target: the old workload is put back, the new one enrolled.
    scene.apply_all(&plain(team, "other")).unwrap();
    scene.apply_all(&[runtime(team, "after", "other", "agent")]).unwrap();
    let moved = || {
        let label = |name| parts(scene, team, name).0["agent.kagenti.dev/runtime"].clone();
        Ok(label("weather").is_null() && label("other") == "after")
    };
    scene.rig.wait("the move", moved).unwrap();
}

#[test]
fn a_type_that_somebody_else_gave_a_workload_is_not_changed() {
    let (scene, team) = (scene("contradicted"), "contradicted");
    let mut items = plain(team, "weather");
    items[0]["metadata"]["labels"]["kagenti.io/type"] = json!("tool");
    scene.apply_all(&items).unwrap();
    scene.apply_all(&[runtime(team, "weather", "weather", "agent")]).unwrap();
    let shown = ready(scene, team, "weather", "ConfigApplyError");
    let message = condition(&shown, "Ready")["message"].as_str().unwrap();
    assert!(
        message.contains("kagenti.io/type=\"tool\"") && message.contains("take the label off"),
        "{message}"
    );
    assert!(parts(scene, team, "weather").0["agent.kagenti.dev/runtime"].is_null());
    take_type_off(scene, team);
    ready(scene, team, "weather", "Configured");
}
