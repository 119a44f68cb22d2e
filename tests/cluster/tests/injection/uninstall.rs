//! A release that is taken away beside Pods with sidecars, and put back.

use super::{NODE, OPERATOR, create, enable, enrol, pod, wait_runtime};
use countersign_cluster_tests::{Node, SYSTEM, asking, find, list, until};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(2);
/// The definitions whose objects an operator follows.
const KINDS: [&str; 3] =
    ["agentcards.agent.kagenti.dev", "agentruntimes.agent.kagenti.dev", "agentruntimes.agent.rossoctl.dev"];

fn started(pod: &Value) -> Value {
    let all = ["initContainerStatuses", "containerStatuses"].map(|list| {
        let all = pod["status"][list].as_array().into_iter().flatten();
        all.map(|one| (one["name"].clone(), one["restartCount"].clone(), one["ready"].clone()))
            .collect::<Vec<_>>()
    });
    json!([pod["metadata"]["uid"], all])
}

/// Every finalizer in a namespace, with the object that has it.
fn finalizers(node: &Node, namespace: &str) -> Vec<String> {
    let kinds = [
        "agentcards",
        "agentruntimes",
        "agentruntimes.agent.rossoctl.dev",
        "deployments",
        "pods",
        "configmaps",
        "networkpolicies",
        "services",
        "serviceaccounts",
    ];
    let all = kinds.iter().flat_map(|kind| list(&node.rig, kind, namespace).unwrap());
    all.filter(|object| object["metadata"]["finalizers"].is_array())
        .map(|object| format!("{} {}", object["metadata"]["name"], object["metadata"]["finalizers"]))
        .collect()
}

#[test]
fn a_release_that_is_uninstalled_beside_sidecars_blocks_nothing_and_comes_back() {
    let (node, alone) = (&*NODE, OPERATOR.write().unwrap());
    node.namespace("left").unwrap();
    enable(node, "left");
    create(node, "left", "weather");
    enrol(node, "left", "weather", "permissive");
    wait_runtime(node, "left", "weather", &[("Ready", "True"), ("SidecarConfigured", "True")]);
    let running = started(&pod(node, "left", "weather"));
    assert!(running.to_string().contains("authbridge-proxy"), "{running}");

    node.rig.helm(&["uninstall", "countersign", "-n", SYSTEM, "--wait", "--timeout", "60s"]).unwrap();
    assert_eq!(finalizers(node, "left"), [""; 0]);
    // An API server forgets a policy a moment after it is gone.
    let api = node.rig.api().unwrap().acting_as("system:serviceaccount:kube-system:replicaset-controller");
    let mut said = String::new();
    until("a Pod that asks for a sidecar", PATIENCE, || {
        said = api
            .create("/api/v1/namespaces/left/pods", &asking("left", "asking"))
            .err()
            .map_or(String::new(), |error| format!("{error:#}"));
        Ok(said.is_empty())
    })
    .unwrap_or_else(|error| panic!("{error:#} {said}"));
    let made = find(&node.rig, "pods", "left", "asking").unwrap().unwrap();
    assert!(!made.to_string().contains("authbridge-proxy"), "{made:#}");
    assert_eq!(started(&pod(node, "left", "weather")), running);
    // Who is rolled goes on without the sidecar.
    node.rig.kubectl(&["rollout", "restart", "-n", "left", "deployment/weather"]).unwrap();
    node.rig.kubectl(&["rollout", "status", "-n", "left", "deployment/weather", "--timeout=90s"]).unwrap();

    node.rig.kubectl(&["delete", "agentruntime", "weather", "-n", "left", "--timeout=30s"]).unwrap();
    node.rig.kubectl(&["delete", "namespace", "left", "--timeout=60s"]).unwrap();
    node.rig.kubectl(&[&["delete", "crd", "--timeout=60s"][..], &KINDS].concat()).unwrap();

    node.install_with_sidecars(&[]).unwrap_or_else(|error| panic!("{error:#}\n{}", node.report()));
    for kind in KINDS {
        node.rig
            .kubectl(&["wait", "--for=condition=Established", &format!("crd/{kind}"), "--timeout=30s"])
            .unwrap();
    }
    drop(alone);
}
