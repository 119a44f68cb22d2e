//! A definition of Sandboxes that somebody else breaks or upgrades, and the agents of other kinds.

use crate::alone;
use countersign_cluster_tests::{Scene, outcome};
use serde_json::{Value, json};

/// Definition that serves `versions` and stores the first, with a conversion.
fn definition(versions: &[&str], conversion: &Value) -> String {
    let schema =
        json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let versions: Vec<Value> = (versions.iter().zip([true, false, false]))
        .map(|(name, storage)| json!({ "name": name, "served": true, "storage": storage, "schema": schema }))
        .collect();
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "sandboxes.agents.x-k8s.io",
            "annotations": { "api-approved.kubernetes.io": "unapproved, a stand-in" } },
        "spec": { "group": "agents.x-k8s.io", "scope": "Namespaced", "versions": versions, "conversion": conversion,
            "names": { "kind": "Sandbox", "listKind": "SandboxList", "plural": "sandboxes", "singular": "sandbox" } } })
    .to_string()
}

fn sandbox(version: &str, team: &str) -> String {
    json!({ "apiVersion": format!("agents.x-k8s.io/{version}"), "kind": "Sandbox",
        "metadata": { "name": "boxed", "namespace": team,
            "labels": { "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" } },
        "spec": { "podTemplate": { "spec": { "containers": [{ "name": "agent", "image": "none" }] } } } })
    .to_string()
}

fn card(team: &str) -> String {
    json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
        "metadata": { "name": "boxed", "namespace": team },
        "spec": { "syncPeriod": "1s",
            "targetRef": { "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "name": "boxed" } } })
    .to_string()
}

const KIND: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sandboxes.agents.x-k8s.io";

/// Takes the kind off the cluster, for the tests after this one.
fn forget(scene: &Scene) {
    scene.rig.delete(KIND).unwrap();
    scene.rig.wait("the kind to go", || Ok(scene.rig.get(KIND)?.is_none())).unwrap();
}

#[test]
fn a_broken_conversion_of_sandboxes_keeps_nobody_else_waiting() {
    let (mut scene, team) = (alone(&["converted"]), "converted");
    let nowhere = json!({ "strategy": "Webhook", "webhook": { "conversionReviewVersions": ["v1"],
        "clientConfig": { "url": "https://127.0.0.1:9/convert" } } });
    let none = json!({ "strategy": "None" });
    // Objects of a version that is read by nobody have to be converted for every list.
    scene.rig.apply(&definition(&["v1", "v1alpha1", "v1beta1"], &none)).unwrap();
    scene.rig.wait("the kind", || Ok(scene.rig.apply(&sandbox("v1", team)).is_ok())).unwrap();
    scene.rig.apply(&definition(&["v1", "v1alpha1", "v1beta1"], &nowhere)).unwrap();
    let list = format!("/apis/agents.x-k8s.io/v1alpha1/namespaces/{team}/sandboxes");
    scene.rig.wait("the conversion to fail", || Ok(scene.rig.get(&list).is_err())).unwrap();

    scene.start_again(&[]).unwrap();
    scene.rig.apply(&card(team)).unwrap();
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let boxed = scene.get("agentcard", team, "boxed").unwrap();
    assert!(boxed["status"]["verdict"].is_null(), "nothing is known of it: {boxed:#}");
    assert!(scene.operator.answers("/readyz").unwrap(), "{}", scene.operator.log());
    // Nor does what is left of others: a policy of the existing operator, and those of a workload that is gone.
    let gone = |name: &'static str| {
        let scene = &scene;
        move || Ok(scene.get("networkpolicy", team, name)?.is_null())
    };
    let leftover = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": "queue-signature-policy", "namespace": team, "labels": {
            "managed-by": "kagenti-operator", "kagenti.dev/agentcard": "queue-statefulset-card",
            "kagenti.dev/policy-type": "identity-verification" } },
        "spec": { "podSelector": { "matchLabels": { "app": "queue" } }, "policyTypes": ["Ingress"] } });
    scene.apply_all(&[leftover]).unwrap();
    scene.rig.wait("the leftover to go", gone("queue-signature-policy")).unwrap();
    scene.delete("deployment", team, "weather").unwrap();
    scene.rig.wait("the orphan to go", gone("weather-signature-policy")).unwrap();

    scene.rig.apply(&definition(&["v1", "v1alpha1", "v1beta1"], &none)).unwrap();
    let seen = |card: &Value| outcome(card) == "WorkloadNotReady";
    scene.operator.wait_card(team, "boxed", "the Sandbox to be seen", seen).unwrap();
    forget(&scene);
}

#[test]
fn sandboxes_are_read_in_the_version_that_is_served() {
    let (mut scene, team) = (alone(&["newer"]), "newer");
    scene.rig.apply(&definition(&["v1beta1"], &json!({ "strategy": "None" }))).unwrap();
    scene.rig.wait("the kind", || Ok(scene.rig.apply(&sandbox("v1beta1", team)).is_ok())).unwrap();
    scene.start_again(&[]).unwrap();
    scene.rig.apply(&card(team)).unwrap();
    let seen = |card: &Value| outcome(card) == "WorkloadNotReady";
    scene.operator.wait_card(team, "boxed", "the Sandbox to be seen", seen).unwrap();
    forget(&scene);
}
