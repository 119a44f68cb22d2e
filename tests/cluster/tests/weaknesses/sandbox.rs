//! Sandboxes, a kind that a cluster may lack, on a real API server. Their controller is not to be had here: its definition
//! and what it makes are stand-ins with the fields that the operator reads.

use crate::scene;
use countersign_cluster_tests::{Agents, SANDBOXES, Scene, card_of, holds, outcome};
use serde_json::{Value, json};

/// Label by which the controller of Sandboxes selects.
const NAME_HASH: &str = "agents.x-k8s.io/sandbox-name-hash";

fn card(team: &str) -> Value {
    json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
        "metadata": { "name": "weather", "namespace": team },
        "spec": { "syncPeriod": "1s",
            "targetRef": { "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "name": "weather" } } })
}

fn sandbox(team: &str) -> Value {
    json!({ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
        "metadata": { "name": "weather", "namespace": team,
            "labels": { "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" } },
        "spec": { "service": true, "podTemplate": {
            "metadata": { "labels": { "kagenti.io/type": "agent" } },
            "spec": { "serviceAccountName": "weather", "containers": [{ "name": "agent", "image": "none" }] } } } })
}

/// Does what the controller of Sandboxes does for one: Pod, headless Service without ports, and status.
fn run(scene: &Scene, team: &str) {
    let path = format!("/apis/agents.x-k8s.io/v1alpha1/namespaces/{team}/sandboxes/weather");
    let found = scene.rig.get(&path).unwrap().unwrap();
    let selector = json!({ NAME_HASH: "5f2a9c01" });
    let owner = json!([{ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "name": "weather",
        "uid": found["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true }]);
    let template = &found["spec"]["podTemplate"];
    let mut labels = template["metadata"]["labels"].clone();
    labels[NAME_HASH] = selector[NAME_HASH].clone();
    scene
        .apply_all(&[
            json!({ "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": { "name": "weather", "namespace": team } }),
            json!({ "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": "weather", "namespace": team, "ownerReferences": owner },
                // Without a node, no slice has the Pod unless it is to be there in any state.
                "spec": { "clusterIP": "None", "selector": selector, "publishNotReadyAddresses": true } }),
            json!({ "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": "weather", "namespace": team, "labels": labels, "ownerReferences": owner },
                "spec": template["spec"] }),
        ])
        .unwrap();
    let status = json!({ "status": { "replicas": 1, "service": "weather",
        "serviceFQDN": format!("weather.{team}.svc.cluster.local"), "selector": format!("{NAME_HASH}=5f2a9c01"),
        "conditions": [{ "type": "Ready", "status": "True", "reason": "DependenciesReady", "message": "",
            "lastTransitionTime": "2026-11-01T00:00:00Z" }] } });
    scene.rig.patch(&format!("{path}/status"), &status).unwrap();
}

/// Reasons of the policies of workloads in a namespace.
fn policies(scene: &Scene, team: &str) -> Vec<Value> {
    let policies = scene.list("networkpolicies", team).unwrap();
    let of_verdict =
        |policy: &&Value| policy["metadata"]["labels"]["agent.kagenti.dev/policy-role"] == "verdict";
    let reason = |policy: &Value| policy["metadata"]["annotations"]["agent.kagenti.dev/reason"].clone();
    policies.iter().filter(of_verdict).map(reason).collect()
}

#[test]
fn a_sandbox_is_refused_by_name_without_its_kind_and_verified_with_it() {
    let (scene, team) = (scene("sandboxed"), "sandboxed");
    scene.rig.apply(&card(team).to_string()).unwrap();
    let names_the_kind = |card: &Value| {
        let said = card["status"]["verdict"]["message"].as_str().unwrap_or_default();
        outcome(card) == "WorkloadNotFound"
            && said.contains("does not have the kind Sandbox (agents.x-k8s.io/v1alpha1)")
    };
    scene.operator.wait_card(team, "weather", "a refusal that names the kind", names_the_kind).unwrap();
    let complaints = || scene.operator.log().lines().filter(|line| line.contains("sandboxes")).count();
    assert_eq!(complaints(), 0, "a kind that is not there is no failure: {}", scene.operator.log());

    scene.rig.apply(SANDBOXES).unwrap();
    scene.rig.wait("the kind", || Ok(scene.rig.apply(&sandbox(team).to_string()).is_ok())).unwrap();
    let signed = Agents::sign(&card_of("weather", team), &scene.authority.issue(team, "weather", -60, 3600));
    scene.agents.serve(team, "weather", &signed).unwrap();
    let waits = |card: &Value| outcome(card) == "WorkloadNotReady";
    scene.operator.wait_card(team, "weather", "the Sandbox to be seen", waits).unwrap();
    run(scene, team);
    let verified =
        |card: &Value| outcome(card) == "Verified" && holds(card, "Ready") && holds(card, "Enforced");
    scene.operator.wait_card(team, "weather", "a verified Sandbox", verified).unwrap();
    assert_eq!(policies(scene, team), ["Verified"]);
    let pod = scene.get("pod", team, "weather").unwrap();
    assert!(pod["metadata"]["labels"]["agent.kagenti.dev/verified-peer"].is_string(), "{pod:#}");

    // A Pod that says that another Sandbox controls it has left this one. An owner that is not there would have it deleted.
    let mut other = sandbox(team);
    other["metadata"] = json!({ "name": "other", "namespace": team });
    scene.rig.apply(&other.to_string()).unwrap();
    let path = format!("/apis/agents.x-k8s.io/v1alpha1/namespaces/{team}/sandboxes/other");
    let uid = &scene.rig.get(&path).unwrap().unwrap()["metadata"]["uid"];
    let stray = json!({ "metadata": { "ownerReferences": [{ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
        "name": "other", "uid": uid, "controller": true }] } });
    scene.patch("pod", team, "weather", &stray).unwrap();
    let foreign = |card: &Value| outcome(card) == "ServiceEndpointNotOwned";
    scene.operator.wait_card(team, "weather", "a foreign Pod", foreign).unwrap();
    scene
        .rig
        .wait("the mark to go", || {
            let pod = scene.get("pod", team, "weather")?;
            Ok(pod["metadata"]["labels"]["agent.kagenti.dev/verified-peer"].is_null())
        })
        .unwrap();
    assert_eq!(policies(scene, team), ["ServiceEndpointNotOwned"]);
}
