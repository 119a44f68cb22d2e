//! Weaknesses of the existing operator that this one must not have, each as behaviour on a real API server.
//! `docs/weaknesses.md` says which test stands for which.

mod delivery;
mod enrolment;
mod federation;
mod fetch;
mod policy;
mod process;
mod quiet;
mod replicas;
mod scale;
mod telemetry;
mod trust;

use countersign_cluster_tests::Scene;
use serde_json::json;
use std::sync::LazyLock;

/// What the tests of trust, delivery, fetching and policies share; each has a namespace of its own.
static SCENE: LazyLock<Scene> = LazyLock::new(|| Scene::start(&[]).unwrap());

/// The shared scene, with a new namespace.
fn scene(namespace: &str) -> &'static Scene {
    SCENE.namespace(namespace, &json!({})).unwrap();
    &SCENE
}
