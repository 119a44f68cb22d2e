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
    scene.start_again(&[]).unwrap();
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
