//! What stands in for the controller of Sandboxes, which is not to be had here: a definition with the fields in use, and a
//! loop that makes the one Pod of each Sandbox.

use anyhow::{Context, Result};
use countersign_rig::{Api, Rig};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Definition of the kind, as far as scenarios use it.
pub const SANDBOXES: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: sandboxes.agents.x-k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, a stand-in"}
spec:
  group: agents.x-k8s.io
  names: {kind: Sandbox, listKind: SandboxList, plural: sandboxes, singular: sandbox}
  scope: Namespaced
  versions:
    - name: v1alpha1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [podTemplate]
              properties:
                podTemplate: {type: object, x-kubernetes-preserve-unknown-fields: true}
                replicas: {type: integer, minimum: 0, maximum: 1, default: 1}
                service: {type: boolean}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;
/// Label by which the controller of Sandboxes selects.
const NAME_HASH: &str = "agents.x-k8s.io/sandbox-name-hash";
/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// What a controller does with the metadata of a template that changes under a running Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningPods {
    /// It leaves the Pod alone, as the first versions do.
    Keep,
    /// It copies labels and annotations to the Pod, as later versions do.
    Follow,
}

/// Makes the Pods of the Sandboxes of one namespace until dropped.
pub struct SandboxController {
    stop: Arc<AtomicBool>,
    made: Arc<Mutex<Vec<Value>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SandboxController {
    /// Starts it.
    pub fn start(rig: &Rig, namespace: &str, running: RunningPods) -> Result<Self> {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ends, log, api) = (Arc::clone(&stop), Arc::clone(&made), rig.api()?);
        let namespace = namespace.to_owned();
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                let path = format!("/apis/agents.x-k8s.io/v1alpha1/namespaces/{namespace}/sandboxes");
                let list = api.get(&path).ok().flatten().unwrap_or_default();
                for sandbox in list["items"].as_array().into_iter().flatten() {
                    // What fails is tried again at the next look.
                    if let Ok(Some(pod)) = reconcile(&api, &namespace, sandbox, running) {
                        log.lock().unwrap_or_else(PoisonError::into_inner).push(pod);
                    }
                }
                std::thread::sleep(LOOK);
            }
        });
        Ok(Self { stop, made, thread: Some(thread) })
    }

    /// How many Pods it has made.
    pub fn made(&self) -> usize {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for SandboxController {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// One look at a Sandbox; returns the Pod that was made, if one was.
fn reconcile(api: &Api, namespace: &str, sandbox: &Value, running: RunningPods) -> Result<Option<Value>> {
    let metadata = &sandbox["metadata"];
    let name = metadata["name"].as_str().context("a Sandbox has a name")?;
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let template = &sandbox["spec"]["podTemplate"];
    let (labels, annotations) = (&template["metadata"]["labels"], &template["metadata"]["annotations"]);
    let Some(pod) = api.get(&format!("{pods}/{name}"))? else {
        if sandbox["spec"]["replicas"] == 0 || !metadata["deletionTimestamp"].is_null() {
            return Ok(None);
        }
        let owner = json!([{ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "name": name,
            "uid": metadata["uid"], "controller": true, "blockOwnerDeletion": true }]);
        let mut labels = labels.clone();
        labels[NAME_HASH] = json!("5f2a9c01");
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": namespace,
            "labels": labels, "annotations": annotations, "ownerReferences": owner }, "spec": template["spec"] });
        api.create(&pods, &pod)?;
        status(api, namespace, name, "False")?;
        return Ok(Some(pod));
    };
    if running == RunningPods::Follow {
        let differs = |member: &str, wanted: &Value| {
            let mut wanted = wanted.as_object().into_iter().flatten();
            wanted.any(|(key, value)| pod["metadata"][member][key] != *value)
        };
        if differs("labels", labels) || differs("annotations", annotations) {
            let copy = json!({ "metadata": { "labels": labels, "annotations": annotations } });
            api.patch(&format!("{pods}/{name}"), &copy)?;
        }
    }
    let is_ready = pod["status"]["phase"] == "Running";
    let said = sandbox["status"]["conditions"][0]["status"] == "True";
    if is_ready && !said {
        status(api, namespace, name, "True")?;
    }
    Ok(None)
}

fn status(api: &Api, namespace: &str, name: &str, ready: &str) -> Result<()> {
    let status = json!({ "status": { "selector": format!("{NAME_HASH}=5f2a9c01"), "conditions": [{ "type": "Ready",
        "status": ready, "reason": "Stand-in", "message": "", "lastTransitionTime": "2026-11-01T00:00:00Z" }] } });
    let path = format!("/apis/agents.x-k8s.io/v1alpha1/namespaces/{namespace}/sandboxes/{name}/status");
    api.patch(&path, &status).map(drop)
}
