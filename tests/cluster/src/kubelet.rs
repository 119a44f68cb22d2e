//! What stands in for nodes on a control plane without any: every Pod that nobody runs gets an address and is ready.
//! The address leads to the one server of cards, as those of Services do. A Pod with the annotation [`STUCK`] never
//! starts.

use anyhow::{Context, Result};
use countersign_rig::Rig;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The annotation of Pods that never start.
pub const STUCK: &str = "countersign.test/stuck";
/// The addresses of Pods, all of them this machine.
pub(crate) const POD_NETWORK: &str = "10.99.0.0/16";
/// How often it looks for new Pods.
const LOOK: Duration = Duration::from_millis(250);
/// Pods that nobody runs yet.
const PENDING: &str = "/api/v1/pods?fieldSelector=status.phase%3DPending&limit=500";

/// Starts Pods until dropped.
pub(crate) struct Kubelet {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Kubelet {
    pub(crate) fn start(rig: &Rig) -> Result<Self> {
        rig.command("ip").args(["route", "add", "local", POD_NETWORK, "dev", "lo"]).status()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, api, next) = (Arc::clone(&stop), rig.api()?, AtomicU32::new(1));
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                // An API server that is broken on purpose is asked again.
                if let Ok(Some(list)) = api.get(PENDING) {
                    for pod in list["items"].as_array().into_iter().flatten() {
                        let _ = start(&api, pod, next.fetch_add(1, Ordering::Relaxed));
                    }
                }
                std::thread::sleep(LOOK);
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn start(api: &countersign_rig::Api, pod: &Value, number: u32) -> Result<()> {
    let metadata = &pod["metadata"];
    if !metadata["annotations"][STUCK].is_null() {
        return Ok(());
    }
    let text = |name: &str| metadata[name].as_str().context("a Pod has a name");
    let [_, _, high, low] = number.to_be_bytes();
    let address = format!("10.99.{high}.{low}");
    let path = format!("/api/v1/namespaces/{}/pods/{}/status", text("namespace")?, text("name")?);
    let status = json!({ "status": {
        "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
        "conditions": [{ "type": "Ready", "status": "True" }, { "type": "ContainersReady", "status": "True" }],
    } });
    api.patch(&path, &status).map(drop)
}

/// Makes a Pod ready or not, as its kubelet would.
pub(crate) fn set_ready(rig: &Rig, namespace: &str, pod: &str, is_ready: bool) -> Result<()> {
    let status = if is_ready { "True" } else { "False" };
    let patch = json!({ "status": { "conditions": [
        { "type": "Ready", "status": status }, { "type": "ContainersReady", "status": status },
    ] } });
    rig.api()?.patch(&format!("/api/v1/namespaces/{namespace}/pods/{pod}/status"), &patch).map(drop)
}
