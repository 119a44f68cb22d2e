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
        "spec": { "podTemplate": { "metadata": { "labels": { "app": "boxed" } },
            "spec": { "containers": [{ "name": "agent", "image": "none" }] } } } })
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
pub(crate) fn forget(scene: &Scene) {
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
    let told = || -> Vec<String> {
        let events = scene.list("events.events.k8s.io", team).unwrap();
        let about =
            |event: &&Value| event["reason"] == "WorkloadError" && event["regarding"]["kind"] == "AgentCard";
        events.iter().filter(about).map(|event| event["note"].as_str().unwrap().to_owned()).collect()
    };
    scene.rig.wait("an event about the wait", || Ok(!told().is_empty())).unwrap();
    assert!(told()[0].contains("waits for the list of Sandbox objects"), "{:?}", told());
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
    assert_eq!(told().len(), 1, "it is told once: {:?}", told());
    forget(&scene);
}

/// Name of the policy that follows the verdict about the one workload of a namespace.
fn verdict_policy(scene: &Scene, team: &str) -> Option<String> {
    let policies = scene.list("networkpolicies", team).unwrap();
    let follows =
        |policy: &&Value| policy["metadata"]["labels"]["agent.kagenti.dev/policy-role"] == "verdict";
    policies.iter().find(follows).map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned())
}

/// Peer mark of the Sandbox `boxed` with this UID.
fn peer_mark(team: &str, uid: &str) -> String {
    let parts = ["peer", team, "Sandbox", "boxed", uid].map(|part| format!("{}:{part}", part.len()));
    let digest = countersign_core::encoding::sha256(parts.concat().as_bytes()).to_string();
    digest[..28].to_owned()
}

#[test]
fn a_sandbox_whose_proof_has_ended_is_closed_although_sandboxes_cannot_be_listed() {
    let (mut scene, team) = (alone(&["ended"]), "ended");
    let nowhere = json!({ "strategy": "Webhook", "webhook": { "conversionReviewVersions": ["v1"],
        "clientConfig": { "url": "https://127.0.0.1:9/convert" } } });
    let versions = ["v1", "v1alpha1", "v1beta1"];
    scene.rig.apply(&definition(&versions, &json!({ "strategy": "None" }))).unwrap();
    scene.rig.wait("the kind", || Ok(scene.rig.apply(&sandbox("v1", team)).is_ok())).unwrap();
    scene.start_again(&[]).unwrap();
    scene.rig.apply(&card(team)).unwrap();
    let waits = |card: &Value| outcome(card) == "WorkloadNotReady";
    scene.operator.wait_card(team, "boxed", "the Sandbox to be seen", waits).unwrap();
    scene.rig.wait("its policy", || Ok(verdict_policy(&scene, team).is_some())).unwrap();
    let policy = verdict_policy(&scene, team).unwrap();
    scene.kill().unwrap();
    // What a verified Sandbox leaves behind: a proof in status, a policy that opens marked Pods, and a mark.
    let mark = "agent.kagenti.dev/verified-peer";
    let stored =
        scene.rig.get(&format!("/apis/agents.x-k8s.io/v1/namespaces/{team}/sandboxes/boxed")).unwrap();
    let uid = stored.unwrap()["metadata"]["uid"].clone();
    let value = peer_mark(team, uid.as_str().unwrap());
    let open =
        json!({ "spec": { "podSelector": { "matchLabels": { mark: value, "app": null } }, "egress": [{}] } });
    scene.patch("networkpolicy", team, &policy, &open).unwrap();
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "boxed", "namespace": team, "labels": { "kagenti.io/type": "agent", mark: value },
            "ownerReferences": [{ "apiVersion": "agents.x-k8s.io/v1", "kind": "Sandbox", "name": "boxed", "uid": uid,
                "controller": true }] },
        "spec": { "containers": [{ "name": "agent", "image": "none" }] } });
    scene.rig.create(&format!("/api/v1/namespaces/{team}/pods"), &pod).unwrap();
    let generation = scene.get("agentcard", team, "boxed").unwrap()["metadata"]["generation"].clone();
    let proof = |end: &str| {
        json!({ "status": { "observedGeneration": generation,
        "signatureSpiffeId": "spiffe://example.org/ns/ended/sa/default",
        "verdict": { "outcome": "verified", "reason": null, "message": null, "fix": null, "notAfter": end } } })
    };
    let status = format!("/apis/agent.kagenti.dev/v1alpha1/namespaces/{team}/agentcards/boxed/status");
    scene.rig.patch(&status, &proof("2100-01-01T00:00:00Z")).unwrap();
    scene.rig.apply(&definition(&versions, &nowhere)).unwrap();
    let list = format!("/apis/agents.x-k8s.io/v1alpha1/namespaces/{team}/sandboxes");
    scene.rig.wait("the conversion to fail", || Ok(scene.rig.get(&list).is_err())).unwrap();

    scene.start_again(&[]).unwrap();
    let marked = || {
        let pod = scene.get("pod", team, "boxed").unwrap();
        pod["metadata"]["labels"][mark].is_string()
    };
    // While the proof holds, nothing is closed for a failure that is not the agent's.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(marked() && verdict_policy(&scene, team).is_some());
    scene.rig.patch(&status, &proof("2020-01-01T00:00:00Z")).unwrap();
    scene.rig.wait("the policy to go", || Ok(verdict_policy(&scene, team).is_none())).unwrap();
    scene.rig.wait("the mark to go", || Ok(!marked())).unwrap();
    let ended = |card: &Value| outcome(card) == "CertificateExpired";
    scene.operator.wait_card(team, "boxed", "status to tell of the end", ended).unwrap();
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
