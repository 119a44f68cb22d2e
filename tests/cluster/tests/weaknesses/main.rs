//! Verdicts and policies on a real API server, and weaknesses of the existing operator that this one must not have.
//! `docs/weaknesses.md` says which test stands for which.

mod delivery;
mod enforcement;
mod enrolment;
mod federation;
mod fetch;
mod held_up;
mod mesh;
mod policy;
mod quiet;
mod renamed_runtime;
mod replicas;
mod runtime;
mod sandbox;
mod scale;
mod telemetry;
mod trust;
mod verdicts;

use countersign_cluster_tests::Scene;
use serde_json::json;
use std::sync::LazyLock;

/// Where the operator of the shared scene serves its metrics.
const METRICS: &str = "127.0.0.1:18443";

/// What most tests share; each has a namespace of its own. Nobody here replaces its root or stops a part of it.
static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let metrics = format!("--metrics-bind-address={METRICS}");
    Scene::start(&[
        metrics.as_str(),
        "--allow-trust-domain=federated:partner.example",
        "--otlp-endpoint=http://10.96.255.254:8000",
        "--istio-mesh-labels",
    ])
    .unwrap()
});

/// The same with an operator that takes the word of witnesses.
static WITNESSED: LazyLock<Scene> = LazyLock::new(|| Scene::start(&["--freshness=witnessed"]).unwrap());

/// The shared scene, with a new namespace.
fn scene(namespace: &str) -> &'static Scene {
    SCENE.namespace(namespace, &json!({})).unwrap();
    &SCENE
}

/// The shared scene with witnesses, with a new namespace.
fn witnessed(namespace: &str) -> &'static Scene {
    WITNESSED.namespace(namespace, &json!({})).unwrap();
    &WITNESSED
}
