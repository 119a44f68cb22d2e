//! The recipe of CONTRIBUTING.md, walked: a new kind is a folder and one line, and the machinery does the rest on a real
//! API server.

mod echo;

use anyhow::Result;
use countersign_controller::turns::Work;
use countersign_controller::watches::Broken;
use countersign_controller::workers::{Kinds, Workers};
use countersign_rig::Rig;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Starts workers with the toy kind; they end with the tasks.
async fn start(rig: &Rig) -> Result<JoinSet<()>> {
    let file = Kubeconfig::read_from(rig.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let work = Arc::new(Work::new(NonZeroUsize::MIN, Duration::from_secs(1), 5));
    let broken: Broken = Arc::new(|kind, error| eprintln!("{kind}: {error}"));
    let (mut kinds, mut tasks) = (Kinds::default(), JoinSet::new());
    echo::register(&mut kinds, &mut tasks, &client, &work, &broken);
    tasks.spawn(Workers::new(kinds, work, Box::new(|_, _, _| ())).run());
    Ok(tasks)
}

fn talk(word: &str) -> String {
    let metadata =
        json!({ "name": "talk", "namespace": "default", "labels": { "toy.example/echo": "wanted" } });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "word": word } })
        .to_string()
}

fn echo(rig: &Rig) -> Result<Option<Value>> {
    rig.get("/api/v1/namespaces/default/configmaps/talk-echo")
}

#[test]
fn a_kind_is_a_folder_and_one_line_of_registration() {
    let rig = Rig::control_plane().unwrap();
    let runtime = Runtime::new().unwrap();
    rig.apply(&talk("hello")).unwrap();
    let tasks = runtime.block_on(start(&rig)).unwrap();
    let says = |word: &'static str| {
        rig.wait(word, || Ok(echo(&rig)?.is_some_and(|echo| echo["data"]["word"] == word))).unwrap();
    };
    says("HELLO");
    rig.apply(&talk("goodbye")).unwrap();
    says("GOODBYE");
    rig.kubectl(&["delete", "configmap", "-n", "default", "talk"]).unwrap();
    rig.wait("the echo to go", || Ok(echo(&rig)?.is_none())).unwrap();
    drop(tasks);
    rig.down().unwrap();
}
