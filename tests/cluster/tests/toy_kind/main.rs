//! The recipe of CONTRIBUTING.md, walked on a real API server: a new kind is a folder and one line. A kind that the
//! cluster lacks stands beside it, and holds it up in nothing.

mod absent;
mod echo;
mod writes;

use anyhow::Result;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{Registry, Running, WatchFailed};
use countersign_controller::turns::Work;
use countersign_rig::Rig;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

async fn client(rig: &Rig) -> Result<Client> {
    let file = Kubeconfig::read_from(rig.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Starts the kinds as the operator does: watches on every replica, and turns once this one leads.
fn start(tasks: &mut JoinSet<()>, client: &Client, work: &Arc<Work>) -> Result<Arc<Running>> {
    let broken: WatchFailed = Arc::new(|watch, error| panic!("{watch:?}: {error}"));
    let mut registry = Registry::new(broken);
    echo::register(&mut registry, client, work)?;
    absent::register(&mut registry, client)?;
    let again = echo::register(&mut registry, client, work).unwrap_err();
    assert!(again.to_string().contains("\"echo\" is registered already"), "{again}");
    Ok(Arc::new(registry.start(tasks)))
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
    let work = Arc::new(Work::paused(NonZeroUsize::MIN, Duration::from_secs(1), 5));
    let client = runtime.block_on(client(&rig)).unwrap();
    let mut tasks = JoinSet::new();
    let running = runtime.block_on(async { start(&mut tasks, &client, &work) }).unwrap();
    rig.wait("the lists to be read", || Ok(running.unread().is_empty())).unwrap();
    assert!(echo(&rig).unwrap().is_none(), "a replica that does not lead writes nothing");
    runtime.block_on(async {
        let (running, work) = (Arc::clone(&running), Arc::clone(&work));
        tasks.spawn(async move { running.lead(&work, Box::new(|_, _, _| ())).await });
    });
    work.enqueue(absent::key(), Urgency::Closing);
    let says = |word: &'static str| {
        rig.wait(word, || Ok(echo(&rig)?.is_some_and(|echo| echo["data"]["word"] == word))).unwrap();
    };
    says("HELLO");
    rig.apply(&talk("goodbye")).unwrap();
    says("GOODBYE");
    rig.kubectl(&["delete", "configmap", "-n", "default", "talk"]).unwrap();
    rig.wait("the echo to go", || Ok(echo(&rig)?.is_none())).unwrap();
    assert!(!absent::ACTED.load(Ordering::Relaxed), "a kind acted without its list");
    drop(tasks);
    rig.down().unwrap();
}
