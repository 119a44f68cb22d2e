//! What needs a control plane for itself, because it stops, replaces or reconfigures a part of it: one after the other on
//! one of them.

mod enrolled_sandboxes;
mod injection;
mod memory;
mod policies;
mod process;
mod roots;
mod sandboxes;
mod scc;
mod skills;
mod webhook;

use countersign_cluster_tests::Scene;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

static SCENE: LazyLock<Mutex<Scene>> = LazyLock::new(|| Mutex::new(Scene::start_unready(&[]).unwrap()));

/// The scene of one test at a time, with new namespaces, its own root, and no operator: every test starts one.
fn alone(namespaces: &[&str]) -> MutexGuard<'static, Scene> {
    let mut scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
    scene.prepare_again(namespaces).unwrap();
    scene
}
