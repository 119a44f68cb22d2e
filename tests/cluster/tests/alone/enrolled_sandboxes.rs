//! Sandboxes that an `AgentRuntime` enrols. Their controller keeps a running Pod when the template changes, so the operator
//! has it replaced: once, whatever fails in between.

use crate::alone;
use crate::sandboxes::forget;
use countersign_cluster_tests::{RunningPods, SANDBOXES, SandboxController, Scene, condition, holds};
use serde_json::{Value, json};
use std::time::Duration;

fn sandbox(team: &str, name: &str) -> Value {
    json!({ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
        "metadata": { "name": name, "namespace": team, "labels": { "app": name }, "annotations": { "own": "kept" } },
        "spec": { "replicas": 1, "podTemplate": {
            "metadata": { "labels": { "app": name }, "annotations": { "own": "kept" } },
            "spec": { "containers": [{ "name": "agent", "image": "none" }] } } } })
}

fn runtime(team: &str, name: &str) -> Value {
    json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": name, "namespace": team },
        "spec": { "type": "agent", "targetRef": {
            "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "name": name } } })
}

/// Waits until the condition `Ready` has this reason; returns the object.
fn ready(scene: &Scene, team: &str, name: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    let waited = scene.rig.wait("the condition Ready", || {
        last = scene.get("agentruntime", team, name)?;
        Ok(condition(&last, "Ready")["reason"] == reason)
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{last:#}\n{}", scene.operator.log()));
    assert_eq!(holds(&last, "Ready"), reason == "Configured", "{last:#}");
    last
}

/// Metadata and spec of a Sandbox, without what changes by itself.
fn parts(scene: &Scene, team: &str, name: &str) -> [Value; 3] {
    let found = scene.get("sandboxes", team, name).unwrap();
    [&found["metadata"]["labels"], &found["metadata"]["annotations"], &found["spec"]].map(Clone::clone)
}

/// UID of the Pod of a Sandbox; null while there is none.
fn uid(scene: &Scene, team: &str, name: &str) -> Value {
    scene.get("pod", team, name).unwrap()["metadata"]["uid"].clone()
}

/// Waits until the Pod of a Sandbox is another than this, and runs; returns it.
fn replaced(scene: &Scene, team: &str, name: &str, before: &Value) -> Value {
    let mut pod = Value::Null;
    let waited = scene.rig.wait("another Pod", || {
        pod = scene.get("pod", team, name)?;
        Ok(pod["metadata"]["uid"] != *before && pod["status"]["phase"] == "Running")
    });
    waited.unwrap_or_else(|error| {
        let runtime = scene.get("agentruntime", team, name).unwrap();
        panic!("{error}\n{runtime:#}\n{:#?}\n{}", parts(scene, team, name), scene.operator.log())
    });
    pod
}

#[test]
fn a_sandbox_is_enrolled_its_pod_is_replaced_once_and_it_is_put_back() {
    let (mut scene, team) = (alone(&["boxes"]), "boxes");
    scene.start_again(&[]).unwrap();
    // A cluster without the kind is told so, and nothing is written there.
    scene.apply_all(&[runtime(team, "early")]).unwrap();
    let names_the_kind = || {
        let shown = scene.get("agentruntime", team, "early")?;
        let message = condition(&shown, "TargetResolved")["message"].as_str().unwrap_or_default();
        Ok(message.contains("does not have the kind Sandbox (agents.x-k8s.io/v1alpha1)"))
    };
    scene.rig.wait("a condition that names the kind", names_the_kind).unwrap();
    ready(&scene, team, "early", "TargetNotFound");
    scene.rig.apply(SANDBOXES).unwrap();
    scene
        .rig
        .wait("the kind", || Ok(scene.rig.apply(&sandbox(team, "weather").to_string()).is_ok()))
        .unwrap();
    let controller = SandboxController::start(scene.rig, team, RunningPods::Keep).unwrap();
    let first = replaced(&scene, team, "weather", &Value::Null)["metadata"]["uid"].clone();
    let before = parts(&scene, team, "weather");

    scene.apply_all(&[runtime(team, "weather")]).unwrap();
    let pod = replaced(&scene, team, "weather", &first);
    assert_eq!(pod["metadata"]["labels"]["kagenti.io/type"], "agent", "{pod:#}");
    let hash = &pod["metadata"]["annotations"]["kagenti.io/config-hash"];
    assert_eq!(hash.as_str().unwrap().len(), 64, "{pod:#}");
    let counted = || Ok(scene.get("agentruntime", team, "weather")?["status"]["configuredPods"] == 1);
    scene.rig.wait("the count of Pods", counted).unwrap();
    ready(&scene, team, "weather", "Configured");
    let told = || {
        let events = scene.list("events.events.k8s.io", team)?;
        Ok(events.iter().any(|event| event["reason"] == "SandboxRestarted"))
    };
    scene.rig.wait("an event", told).unwrap();
    let [labels, annotations, spec] = parts(&scene, team, "weather");
    assert_eq!(
        labels,
        json!({ "app": "weather", "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "",
            "app.kubernetes.io/managed-by": "kagenti-operator", "agent.kagenti.dev/runtime": "weather" })
    );
    assert_eq!(annotations, json!({ "own": "kept", "countersign.dev/replaced-pod": first }));
    let mut expected = before[2].clone();
    expected["podTemplate"]["metadata"]["labels"]["kagenti.io/type"] = json!("agent");
    expected["podTemplate"]["metadata"]["annotations"]["kagenti.io/config-hash"] = hash.clone();
    expected["podTemplate"]["metadata"]["annotations"]["kagenti.io/mtls-mode"] = json!("permissive");
    assert_eq!(spec, expected);
    // It is an agent like any other.
    let card = || Ok(!scene.get("agentcard", team, "weather-sandbox-card")?.is_null());
    scene.rig.wait("an AgentCard", card).unwrap();

    // What somebody takes off the Sandbox comes back, and the Pod stays.
    let second = pod["metadata"]["uid"].clone();
    let none = json!({ "metadata": { "labels": { "kagenti.io/type": null } } });
    scene.patch("sandboxes", team, "weather", &none).unwrap();
    let back = || Ok(parts(&scene, team, "weather")[0]["kagenti.io/type"] == "agent");
    scene.rig.wait("the label", back).unwrap();
    scene.settle(team, Duration::from_secs(3)).unwrap();
    assert_eq!((uid(&scene, team, "weather"), controller.made()), (second.clone(), 2));

    // Another configuration replaces it once more; a change of the Sandbox has the operator look at once.
    let defaults = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "defaults", "namespace": team,
        "labels": { "kagenti.io/defaults": "true" } }, "data": { "config.yaml": "a: b" } });
    scene.apply_all(&[defaults]).unwrap();
    let touch = json!({ "metadata": { "annotations": { "touched": "yes" } } });
    scene.patch("sandboxes", team, "weather", &touch).unwrap();
    let third = replaced(&scene, team, "weather", &second);
    assert_ne!(third["metadata"]["annotations"]["kagenti.io/config-hash"], *hash);
    let third = third["metadata"]["uid"].clone();

    // Who waited for the kind is served, too.
    scene.apply_all(&[sandbox(team, "early")]).unwrap();
    ready(&scene, team, "early", "Configured");

    // Put back, with a last replacement.
    scene.delete("agentruntime", team, "weather").unwrap();
    let pod = replaced(&scene, team, "weather", &third);
    let plain = json!({ "own": "kept" });
    assert_eq!(pod["metadata"]["annotations"], plain, "{pod:#}");
    assert!(pod["metadata"]["labels"]["kagenti.io/type"].is_null(), "{pod:#}");
    let mut after = before;
    after[1]["touched"] = json!("yes");
    let is_back = || Ok(parts(&scene, team, "weather") == after);
    scene
        .rig
        .wait("the Sandbox as it was", is_back)
        .unwrap_or_else(|error| panic!("{error}: {:#?}", parts(&scene, team, "weather")));
    scene.settle(team, Duration::from_secs(3)).unwrap();
    assert_eq!(uid(&scene, team, "weather"), pod["metadata"]["uid"]);
    drop(controller);
    forget(&scene);
}

/// Refuses the deletion of Pods in a namespace.
fn no_deletion(team: &str) -> [Value; 2] {
    let name = "keep-pods";
    let of = |kind: &str, spec: Value| json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    let rule =
        json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["pods"] });
    let selector = json!({ "matchLabels": { "kubernetes.io/metadata.name": team } });
    [
        of(
            "ValidatingAdmissionPolicy",
            json!({ "matchConstraints": { "resourceRules": [rule] },
                "validations": [{ "expression": "false", "message": "Pods are kept here", "reason": "Forbidden" }] }),
        ),
        of(
            "ValidatingAdmissionPolicyBinding",
            json!({ "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": selector } }),
        ),
    ]
}

#[test]
fn the_pod_of_a_sandbox_is_replaced_although_its_deletion_was_refused_and_the_operator_ended() {
    let (mut scene, team) = (alone(&["kept"]), "kept");
    scene.rig.apply(SANDBOXES).unwrap();
    scene
        .rig
        .wait("the kind", || Ok(scene.rig.apply(&sandbox(team, "weather").to_string()).is_ok()))
        .unwrap();
    // Later controllers copy the template's annotations to the running Pod, which then looks as if it were made from it.
    let controller = SandboxController::start(scene.rig, team, RunningPods::Follow).unwrap();
    let first = replaced(&scene, team, "weather", &Value::Null)["metadata"]["uid"].clone();
    scene.apply_all(&no_deletion(team)).unwrap();
    let pods = format!("/api/v1/namespaces/{team}/pods/weather?dryRun=All");
    scene.rig.wait("the policy", || Ok(scene.rig.api()?.delete(&pods).is_err())).unwrap();
    scene.start_again(&[]).unwrap();
    scene.apply_all(&[runtime(team, "weather")]).unwrap();
    let shown = ready(&scene, team, "weather", "ConfigApplyError");
    let message = condition(&shown, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("403") && message.contains("keep-pods"), "{message}");
    let follows = || {
        let pod = scene.get("pod", team, "weather")?;
        Ok(!pod["metadata"]["annotations"]["kagenti.io/config-hash"].is_null())
    };
    scene.rig.wait("the annotations on the running Pod", follows).unwrap();
    assert_eq!(scene.get("agentruntime", team, "weather").unwrap()["status"]["configuredPods"], 0);
    assert_eq!((uid(&scene, team, "weather"), controller.made()), (first.clone(), 1));

    scene.kill().unwrap();
    let policies = "/apis/admissionregistration.k8s.io/v1";
    for plural in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        scene.rig.delete(&format!("{policies}/{plural}/keep-pods")).unwrap();
    }
    scene.rig.wait("the policy to go", || Ok(scene.rig.api()?.delete(&pods).is_ok())).unwrap();
    scene.start_again(&[]).unwrap();
    let second = replaced(&scene, team, "weather", &first)["metadata"]["uid"].clone();
    ready(&scene, team, "weather", "Configured");
    scene.settle(team, Duration::from_secs(3)).unwrap();
    assert_eq!((uid(&scene, team, "weather"), controller.made()), (second.clone(), 2));

    // The object goes while no operator runs.
    scene.kill().unwrap();
    scene.rig.kubectl(&["delete", "agentruntime", "weather", "-n", team, "--cascade=orphan"]).unwrap();
    scene.start_again(&[]).unwrap();
    let third = replaced(&scene, team, "weather", &second);
    let clean = || {
        let [labels, annotations, spec] = parts(&scene, team, "weather");
        let own = json!({ "own": "kept" });
        Ok(labels == json!({ "app": "weather" })
            && annotations == own
            && spec["podTemplate"]["metadata"]["annotations"] == own)
    };
    scene.rig.wait("the Sandbox as it was", clean).unwrap();
    scene.settle(team, Duration::from_secs(3)).unwrap();
    assert_eq!((uid(&scene, team, "weather"), controller.made()), (third["metadata"]["uid"].clone(), 3));
    drop(controller);
    forget(&scene);
}
