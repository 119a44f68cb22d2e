//! Whether a verdict is enforced, as the condition `Enforced` tells it, on a real API server.

use crate::scene;
use countersign_cluster_tests::{condition, holds, is};
use serde_json::{Value, json};

/// Waits until `Enforced` has this status and reason, and `Ready` the same status; returns the card.
fn enforced(team: &str, name: &str, status: &str, reason: &str) -> Value {
    let done = |card: &Value| {
        is(card, "Enforced", status)
            && condition(card, "Enforced")["reason"] == reason
            && is(card, "Ready", status)
    };
    crate::SCENE.operator.wait_card(team, name, "the condition Enforced", done).unwrap()
}

#[test]
fn a_verified_agent_that_nothing_holds_to_its_verdict_is_not_ready() {
    let (scene, team) = (scene("enforced"), "enforced");
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    enforced(team, "weather", "True", "PolicyApplied");
    let template = |labels: Value, spec: Value| json!({ "spec": { "template": { "metadata": { "labels": labels }, "spec": spec } } });
    let labelled = |kind: Value| template(json!({ "kagenti.io/type": kind }), json!({}));
    scene.patch("deployment", team, "weather", &labelled(Value::Null)).unwrap();
    let card = enforced(team, "weather", "False", "PodsNotLabelled");
    assert!(holds(&card, "Verified"), "the verdict is the same: {card:#}");
    scene.patch("deployment", team, "weather", &labelled(json!("agent"))).unwrap();
    enforced(team, "weather", "True", "PolicyApplied");
    let on_host = |is: Value| template(json!({}), json!({ "hostNetwork": is }));
    scene.patch("deployment", team, "weather", &on_host(json!(true))).unwrap();
    enforced(team, "weather", "False", "HostNetwork");
    scene.patch("deployment", team, "weather", &on_host(Value::Null)).unwrap();
    enforced(team, "weather", "True", "PolicyApplied");
}

#[test]
fn a_policy_that_the_api_server_refuses_is_told_of_in_the_card() {
    let (scene, team) = (scene("policy-rejected"), "policy-rejected");
    let guard = "refuses-policies-of-one-namespace";
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": guard },
            "spec": {
                "matchConstraints": { "resourceRules": [{ "apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["networkpolicies"] }] },
                "matchConditions": [{ "name": "here", "expression": format!("request.namespace == '{team}'") }],
                "validations": [{ "expression": "!object.metadata.name.startsWith('weather-')",
                    "message": "no policy for weather here" }],
            } },
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": guard }, "spec": { "policyName": guard, "validationActions": ["Deny"] } },
    ] });
    scene.rig.apply(&objects.to_string()).unwrap();
    let attempt = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": "weather-attempt", "namespace": team }, "spec": { "podSelector": {} } });
    scene
        .rig
        .wait("the guard to be in force", || Ok(scene.rig.apply(&attempt.to_string()).is_err()))
        .unwrap();
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    let card = enforced(team, "weather", "False", "PolicyRejected");
    assert!(holds(&card, "Verified"), "{card:#}");
    let message = condition(&card, "Enforced")["message"].as_str().unwrap();
    assert!(message.contains("weather-signature-policy"), "{message}");
    scene
        .rig
        .kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", guard])
        .unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    enforced(team, "weather", "True", "PolicyApplied");
}

#[test]
fn a_verified_agent_that_gets_more_labels_than_are_read_is_closed() {
    let (scene, team) = (scene("many-labels"), "many-labels");
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let pods = |with_mark: bool| {
        let marked = |(name, _): &(String, String)| {
            let pod = scene.get("pod", team, name).unwrap();
            pod["metadata"]["labels"]["agent.kagenti.dev/verified-peer"].is_string()
        };
        scene.rig.wait("the marks", || {
            Ok(scene.has_pods(team, "weather", 1)?.iter().all(|pod| marked(pod) == with_mark))
        })
    };
    pods(true).unwrap();
    // A second generation: whether Pods of an earlier template run is asked from now on.
    let many: serde_json::Map<String, Value> =
        (0..129).map(|number| (format!("l{number}"), json!("x"))).collect();
    let change = json!({ "metadata": { "labels": many }, "spec": { "minReadySeconds": 1 } });
    scene.patch("deployment", team, "weather", &change).unwrap();
    scene.refused(team, "weather", "weather", "LabelsTooMany").unwrap();
    pods(false).unwrap();
}
