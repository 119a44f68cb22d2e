//! Tenants who write large objects, and the memory of the operator that has to read them.

use crate::alone;
use countersign_cluster_tests::{card_of, outcome, process_peak};
use serde_json::{Value, json};

/// How many large objects of each kind there are.
const OBJECTS: usize = 60;
/// Most memory by which the operator may grow, in KiB: much less than all objects of one kind take.
const GROWTH: u64 = 40 * 1024;

/// Pod of another than the workload behind its Service, with a megabyte of arguments.
fn large_pod(number: usize) -> Value {
    let argument = "x".repeat(100_000);
    json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("large-{number}"), "namespace": "large", "labels": { "app": "weather" } },
        "spec": { "containers": [{ "name": "agent", "image": "none", "args": vec![argument; 10] }] } })
}

/// Ingress with a megabyte of hosts.
fn large_ingress(number: usize) -> Value {
    let label = "x".repeat(60);
    let rules: Vec<Value> = (0..3_000)
        .map(|rule| json!({ "host": format!("h{rule}.{label}.{label}.{label}.example") }))
        .collect();
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": format!("large-{number}"), "namespace": "large" }, "spec": { "rules": rules } })
}

#[test]
fn large_pods_and_ingresses_of_a_tenant_take_bounded_memory() {
    let mut scene = alone(&["large"]);
    scene.start_again(&["--ingress-host-suffix=example"]).unwrap();
    let mut elsewhere = card_of("maps", "large");
    elsewhere["supportedInterfaces"][0]["url"] = json!("https://maps.example/");
    scene.agent("large", "maps", &scene.signed(&elsewhere, "large", "maps")).unwrap();
    scene.agent("large", "weather", &scene.honest("large", "weather")).unwrap();
    scene.verified("large", "weather", "weather").unwrap();
    let not_owned = |card: &Value| outcome(card) == "EndpointNotOwned";
    scene.operator.wait_card("large", "maps", "a foreign endpoint", not_owned).unwrap();
    let pid = scene.operator.pid().unwrap();
    let before = process_peak(pid).unwrap();
    for number in 0..OBJECTS {
        scene
            .rig
            .create("/apis/networking.k8s.io/v1/namespaces/large/ingresses", &large_ingress(number))
            .unwrap();
        scene.rig.create("/api/v1/namespaces/large/pods", &large_pod(number)).unwrap();
    }
    let foreign = |card: &Value| outcome(card) == "ServiceEndpointNotOwned";
    scene.operator.wait_card("large", "weather", "a foreign Pod", foreign).unwrap();
    // A card whose endpoint is an Ingress's has all of them read at every look.
    scene.looked("large", "maps", 3).unwrap();
    let card = scene.get("agentcard", "large", "maps").unwrap();
    assert!(not_owned(&card), "{card:#}");
    let grown = process_peak(pid).unwrap() - before;
    assert!(grown < GROWTH, "the operator grew by {grown} KiB");
}

/// Nearly a megabyte of labels, with those of an agent.
fn large_labels() -> Value {
    let value = "x".repeat(60);
    let mut labels: serde_json::Map<String, Value> =
        (0..10_000).map(|label| (format!("l{label}.example/{label}"), json!(value))).collect();
    labels.insert("kagenti.io/type".to_owned(), json!("agent"));
    labels.insert("protocol.kagenti.io/a2a".to_owned(), json!(""));
    Value::Object(labels)
}

#[test]
fn large_labels_of_a_tenant_take_bounded_memory_and_refuse_that_tenant_alone() {
    let mut scene = alone(&["labelled", "modest"]);
    scene.start_again(&[]).unwrap();
    scene.agent("modest", "weather", &scene.honest("modest", "weather")).unwrap();
    scene.verified("modest", "weather", "weather").unwrap();
    let before = process_peak(scene.operator.pid().unwrap()).unwrap();
    let small = json!({ "kagenti.io/type": "agent", "app": "a" });
    for number in 0..OBJECTS {
        let metadata =
            json!({ "name": format!("large-{number}"), "namespace": "labelled", "labels": large_labels() });
        let spec = json!({ "containers": [{ "name": "agent", "image": "none" }] });
        let template = json!({ "metadata": { "labels": small }, "spec": spec });
        let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": { "replicas": 0, "selector": { "matchLabels": small }, "template": template } });
        scene.rig.create("/apis/apps/v1/namespaces/labelled/deployments", &deployment).unwrap();
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": { "ports": [{ "port": 80 }], "selector": small } });
        scene.rig.create("/api/v1/namespaces/labelled/services", &service).unwrap();
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        scene.rig.create("/api/v1/namespaces/labelled/pods", &pod).unwrap();
    }
    let refused = |card: &Value| outcome(card) == "LabelsTooMany";
    scene.operator.wait_card("labelled", "large-0-deployment-card", "a refusal", refused).unwrap();
    let watched = process_peak(scene.operator.pid().unwrap()).unwrap() - before;
    assert!(watched < GROWTH, "the operator grew by {watched} KiB");
    // A new process reads all of it in lists.
    scene.kill().unwrap();
    scene.start_again(&[]).unwrap();
    scene.looked("modest", "weather", 2).unwrap();
    scene.verified("modest", "weather", "weather").unwrap();
    let listed = process_peak(scene.operator.pid().unwrap()).unwrap();
    assert!(listed < before + GROWTH, "a new operator takes {listed} KiB, and took {before} before");
}
