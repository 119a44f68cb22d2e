//! `AgentRuntime` of the group of after the renaming: applied unchanged, it enrols as the other one does.

use crate::runtime::{parts, plain, ready};
use crate::scene;
use countersign_cluster_tests::{Scene, condition};
use serde_json::{Value, json};
use std::time::Duration;

/// The kind as kubectl takes it where two groups have one.
const TWIN: &str = "agentruntimes.agent.rossoctl.dev";

fn twin(team: &str, name: &str, mode: &str) -> Value {
    json!({ "apiVersion": "agent.rossoctl.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": name, "namespace": team },
        "spec": { "type": "agent", "mtlsMode": mode,
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } } })
}

/// The same object in the group of before.
fn of_older(mut twin: Value) -> Value {
    twin["apiVersion"] = json!("agent.kagenti.dev/v1alpha1");
    twin
}

/// Waits until the condition `Ready` of a twin is about its spec and has this reason; returns the object.
fn shown(scene: &Scene, team: &str, name: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    let waited = scene.rig.wait("the condition Ready of the twin", || {
        last = scene.get(TWIN, team, name)?;
        let is_read = last["status"]["observedGeneration"] == last["metadata"]["generation"];
        Ok(is_read && condition(&last, "Ready")["reason"] == reason)
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{last:#}\n{}", scene.operator.log()));
    last
}

#[test]
fn a_runtime_of_the_newer_group_enrols_follows_its_spec_and_puts_the_workload_back() {
    let (scene, team) = (scene("twin"), "twin");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.apply_all(&plain(team, "weather")).unwrap();
    let before = parts(scene, team, "weather");
    scene.apply_all(&[twin(team, "weather", "permissive")]).unwrap();
    shown(scene, team, "weather", "Configured");
    let is_verified = || {
        let found = scene.get(TWIN, team, "weather")?;
        Ok(condition(&found, "Verified")["status"] == "True" && found["status"]["card"]["name"] == "weather")
    };
    scene.rig.wait("the card in the status", is_verified).unwrap();
    let row = scene.rig.kubectl(&["get", "-n", team, TWIN, "weather", "--no-headers"]).unwrap();
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[..3], ["weather", "agent", "weather"], "{row:?}");
    assert_eq!(row[3], "True", "{row:?}");
    let mode = || parts(scene, team, "weather").1["metadata"]["annotations"]["kagenti.io/mtls-mode"].clone();
    assert_eq!(mode(), "permissive");
    scene.settle(team, Duration::from_secs(3)).unwrap();

    // The spec of the twin is that of the copy, and nobody else changes it.
    scene.apply_all(&[twin(team, "weather", "strict")]).unwrap();
    let found = shown(scene, team, "weather", "Configured");
    scene.rig.wait("the mode", || Ok(mode() == "strict")).unwrap();
    assert_eq!(
        condition(&found, "Ready")["observedGeneration"],
        found["metadata"]["generation"],
        "{found:#}"
    );
    let other = json!({ "spec": { "mtlsMode": "disabled" } });
    scene.patch("agentruntime", team, "weather", &other).unwrap();
    let spec = || Ok(scene.get("agentruntime", team, "weather")?["spec"]["mtlsMode"] == "strict");
    scene.rig.wait("the spec of the twin", spec).unwrap();
    scene.rig.wait("the mode of the twin", || Ok(mode() == "strict")).unwrap();
    // Nor does the copy go alone.
    scene
        .rig
        .kubectl(&["delete", "-n", team, "agentruntimes.agent.kagenti.dev", "weather", "--wait=false"])
        .unwrap();
    ready(scene, team, "weather", "Configured");
    scene.settle(team, Duration::from_secs(3)).unwrap();

    scene.delete(TWIN, team, "weather").unwrap();
    let is_back = || {
        let copy = scene.get("agentruntime", team, "weather")?;
        Ok(copy.is_null() && parts(scene, team, "weather") == before)
    };
    scene
        .rig
        .wait("the workload as it was", is_back)
        .unwrap_or_else(|error| panic!("{error}: {:#}", scene.get("deployment", team, "weather").unwrap()));
}

#[test]
fn a_twin_whose_name_is_taken_changes_nothing_says_so_and_takes_over_once_it_is_free() {
    let (scene, team) = (scene("twin-taken"), "twin-taken");
    scene.apply_all(&plain(team, "weather")).unwrap();
    let mut own = of_older(twin(team, "weather", "permissive"));
    own["spec"]["type"] = json!("tool");
    scene.apply_all(&[own]).unwrap();
    let before = ready(scene, team, "weather", "Configured");
    scene.apply_all(&[twin(team, "weather", "strict")]).unwrap();
    let found = shown(scene, team, "weather", "TargetClaimed");
    let told = condition(&found, "Ready")["message"].as_str().unwrap();
    assert!(told.contains("AgentRuntime weather of agent.kagenti.dev/v1alpha1"), "{told}");
    let events = || {
        let events = scene.list("events.events.k8s.io", team)?;
        Ok(events.iter().any(|event| event["reason"] == "TargetClaimed"))
    };
    scene.rig.wait("an event", events).unwrap();
    let after = scene.get("agentruntime", team, "weather").unwrap();
    assert_eq!((&after["spec"], &after["metadata"]["uid"]), (&before["spec"], &before["metadata"]["uid"]));
    assert!(after["metadata"]["ownerReferences"].is_null(), "{after:#}");
    scene.delete("agentruntime", team, "weather").unwrap();
    shown(scene, team, "weather", "Configured");
    let labels = parts(scene, team, "weather").0;
    assert_eq!(labels["kagenti.io/type"], "agent", "{labels:#}");
}

#[test]
fn a_copy_that_the_api_server_refuses_is_told_and_made_later() {
    let (scene, team) = (scene("twin-refused"), "twin-refused");
    scene.apply_all(&plain(team, "weather")).unwrap();
    let none = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none", "namespace": team },
        "spec": { "hard": { "count/agentruntimes.agent.kagenti.dev": "0" } } });
    scene.rig.apply(&none.to_string()).unwrap();
    let mut tried = 0;
    let is_known = || {
        tried += 1;
        let mut one = of_older(twin(team, &format!("try-{tried}"), "strict"));
        one["spec"]["targetRef"]["name"] = json!("nothing");
        Ok(scene.apply_all(&[one]).is_err())
    };
    scene.rig.wait("the quota", is_known).unwrap();
    scene.apply_all(&[twin(team, "weather", "permissive")]).unwrap();
    let found = shown(scene, team, "weather", "ConfigApplyError");
    let told = condition(&found, "Ready")["message"].as_str().unwrap();
    assert!(told.contains("was not written") && told.contains("quota: none"), "{told}");
    scene.rig.kubectl(&["delete", "quota", "none", "-n", team]).unwrap();
    // A change is a reason to try at once.
    scene.apply_all(&[twin(team, "weather", "strict")]).unwrap();
    shown(scene, team, "weather", "Configured");
}

#[test]
fn a_copy_stays_enrolled_when_its_twin_goes_without_it() {
    let (scene, team) = (scene("twin-orphan"), "twin-orphan");
    scene.apply_all(&plain(team, "weather")).unwrap();
    // Garbage collection looks for new kinds every 30 s, and orphans nothing of those that it does not know.
    scene.apply_all(&[twin(team, "first", "permissive")]).unwrap();
    shown(scene, team, "first", "Configured");
    scene.delete(TWIN, team, "first").unwrap();
    let is_gone = || Ok(scene.get("agentruntime", team, "first")?.is_null());
    scene.rig.wait("the end of the first copy", is_gone).unwrap();
    scene.apply_all(&[twin(team, "weather", "permissive")]).unwrap();
    shown(scene, team, "weather", "Configured");
    let before = parts(scene, team, "weather");
    scene.rig.kubectl(&["delete", "-n", team, TWIN, "weather", "--cascade=orphan"]).unwrap();
    let copy = scene.get("agentruntime", team, "weather").unwrap();
    assert!(copy["metadata"]["ownerReferences"].is_null(), "{copy:#}");
    scene.apply_all(&[of_older(twin(team, "weather", "permissive"))]).unwrap();
    scene.settle(team, Duration::from_secs(3)).unwrap();
    let after = ready(scene, team, "weather", "Configured");
    assert_eq!((&after["metadata"]["uid"], &after["spec"]), (&copy["metadata"]["uid"], &copy["spec"]));
    assert_eq!(parts(scene, team, "weather"), before, "no Pod is replaced");
}
