//! `OpenShift`'s security context constraint of the sidecar: who may use it, and what is told where nobody can be bound to it.

use crate::alone;
use countersign_cluster_tests::{Agents, Scene, condition};
use serde_json::{Value, json};
use std::time::Duration;

const FLAGS: [&str; 3] = [
    "--scc-binding",
    "--sidecar-image=countersign.test/authbridge:test",
    // No Pod is made here, so that nobody asks it.
    "--webhook-bind-address=127.0.0.1:19444",
];
const ROLE: &str = "system:openshift:scc:kagenti-authbridge";

/// As `OpenShift` makes it for the constraint.
fn role() -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": ROLE },
        "rules": [{ "apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"],
            "resourceNames": ["kagenti-authbridge"], "verbs": ["use"] }] })
}

fn binding_of(team: &str, role: &str, subject: &Value) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "agent-authbridge-scc", "namespace": team },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [subject] })
}

/// A namespace in which sidecars are injected.
fn enable(scene: &Scene, team: &str) {
    scene.namespace(team, &json!({ "kagenti-enabled": "true" })).unwrap();
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "authbridge-runtime-config", "namespace": team },
        "data": { "config.yaml": "pipeline: {dangerously_allow_unauthenticated: true}\n" } });
    scene.apply_all(&[map]).unwrap();
}

/// A plain workload under an account of its own, and the `AgentRuntime` that enrols it.
fn enrol(scene: &Scene, team: &str, name: &str) {
    let mut items = Agents::manifests(team, name);
    items[0]["metadata"]["labels"] = json!({ "app": name });
    items[0]["spec"]["template"]["metadata"]["labels"] = json!({ "app": name });
    items.push(json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": name, "namespace": team },
        "spec": { "type": "tool", "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name } } }));
    scene.apply_all(&items).unwrap();
}

fn binding(scene: &Scene, team: &str) -> Value {
    let path =
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{team}/rolebindings/agent-authbridge-scc");
    scene.rig.get(&path).unwrap().unwrap_or_default()
}

/// Waits until exactly these accounts of the namespace are bound.
fn bound(scene: &Scene, team: &str, accounts: &[&str]) {
    let account = |name: &&str| json!({ "kind": "ServiceAccount", "name": name, "namespace": team });
    let subjects: Vec<Value> = accounts.iter().map(account).collect();
    let mut last = Value::Null;
    let found = scene.rig.wait("the RoleBinding", || {
        last = binding(scene, team);
        Ok(last["subjects"] == json!(subjects) && last["roleRef"]["name"] == ROLE)
    });
    found.unwrap_or_else(|error| panic!("{error}: {accounts:?}\n{last:#}\n{}", scene.operator.log()));
}

/// Waits until `Ready` has this reason; returns its message.
fn told(scene: &Scene, team: &str, name: &str, reason: &str) -> String {
    let mut last = Value::Null;
    let waited = scene.rig.wait("the condition Ready", || {
        last = condition(&scene.get("agentruntime", team, name)?, "Ready").clone();
        Ok(last["reason"] == reason)
    });
    waited.unwrap_or_else(|error| panic!("{error}: {reason}\n{last:#}\n{}", scene.operator.log()));
    last["message"].as_str().unwrap().to_owned()
}

fn asks_for_a_sidecar(scene: &Scene, team: &str, name: &str) -> bool {
    let template = scene.get("deployment", team, name).unwrap()["spec"]["template"]["metadata"].take();
    !template["annotations"]["countersign.dev/sidecar"].is_null()
}

#[test]
fn the_accounts_of_workloads_with_a_sidecar_are_bound_and_nobody_else() {
    let (mut scene, team) = (alone(&["scc"]), "scc");
    enable(&scene, team);
    scene.start_again(&FLAGS).unwrap();
    // A cluster without the role is no OpenShift.
    enrol(&scene, team, "weather");
    told(&scene, team, "weather", "Configured");
    assert!(asks_for_a_sidecar(&scene, team, "weather"));
    assert_eq!(binding(&scene, team), Value::Null);
    // It may become one, and what the existing operator left for all accounts is narrowed.
    let everybody = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:scc" });
    scene.apply_all(&[role(), binding_of(team, ROLE, &everybody)]).unwrap();
    bound(&scene, team, &["weather"]);
    enrol(&scene, team, "other");
    bound(&scene, team, &["other", "weather"]);
    told(&scene, team, "other", "Configured");
    // A workload without a sidecar needs nothing.
    let out = json!({ "metadata": { "labels": { "kagenti.io/inject": "disabled" } } });
    scene.patch("deployment", team, "other", &out).unwrap();
    bound(&scene, team, &["weather"]);
    assert!(!asks_for_a_sidecar(&scene, team, "other"));
    // A quiet cluster is written to by nobody, and a new operator takes nothing from anybody.
    scene.settle(team, Duration::from_secs(3)).unwrap();
    let mut audit = scene.audit(team).unwrap();
    scene.kill().unwrap();
    scene.start_again(&FLAGS).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let writes = audit.writes().unwrap();
    assert!(writes.iter().all(|write| write.resource != "rolebindings"), "{writes:#?}");
    bound(&scene, team, &["weather"]);

    scene.delete("agentruntime", team, "weather").unwrap();
    scene.rig.wait("the RoleBinding to go", || Ok(binding(&scene, team).is_null())).unwrap();
    scene.rig.kubectl(&["delete", "clusterrole", ROLE]).unwrap();
}

#[test]
fn a_binding_that_cannot_be_written_is_told_and_the_workload_is_enrolled_without_the_sidecar() {
    let (mut scene, team) = (alone(&["scc-taken"]), "scc-taken");
    enable(&scene, team);
    let somebody = json!({ "kind": "ServiceAccount", "name": "somebody", "namespace": team });
    scene.apply_all(&[role(), binding_of(team, "view", &somebody)]).unwrap();
    scene.start_again(&FLAGS).unwrap();
    enrol(&scene, team, "weather");
    let message = told(&scene, team, "weather", "SCCBindingError");
    assert!(message.contains("\"ClusterRole view\"") && message.contains("delete it"), "{message}");
    let labels = scene.get("deployment", team, "weather").unwrap()["metadata"]["labels"].take();
    assert_eq!(labels["kagenti.io/type"], "tool", "it is enrolled all the same");
    assert!(!asks_for_a_sidecar(&scene, team, "weather"), "its Pods would be refused");
    let events = || {
        let events = scene.list("events.events.k8s.io", team).unwrap();
        events.iter().filter(|event| event["reason"] == "SCCBindingError").count()
    };
    scene.rig.wait("an event", || Ok(events() == 1)).unwrap();
    assert_eq!(binding(&scene, team)["subjects"], json!([somebody]), "what binds another role is left alone");
    scene.rig.kubectl(&["delete", "rolebinding", "agent-authbridge-scc", "-n", team]).unwrap();
    bound(&scene, team, &["weather"]);
    told(&scene, team, "weather", "Configured");
    assert!(asks_for_a_sidecar(&scene, team, "weather"));
    assert_eq!(events(), 1, "it is told once, however often it is tried");
    scene.rig.kubectl(&["delete", "clusterrole", ROLE]).unwrap();
}
