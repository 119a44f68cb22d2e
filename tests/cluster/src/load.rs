//! Pods that ask for a sidecar, created at a steady rate, and what became of each.

use countersign_rig::Api;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whoever makes the Pods: an administrator may override the guards.
pub const OWNER: &str = "owner";

/// Threads that create: at 50 Pods per second one may take 320 ms before the next are late.
const THREADS: u32 = 16;

/// A Pod that was sent to be created.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its place in the sequence.
    pub index: u32,
    /// Time until the answer.
    pub took: Duration,
    /// Why there is no such Pod, as the API server says it.
    pub refused: Option<String>,
}

/// A running load.
pub struct Load {
    ends: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    threads: Vec<JoinHandle<Vec<Attempt>>>,
}

impl Load {
    /// Creates so many Pods a second as [`asking`] describes them, named after `name`, until [`Load::end`] or until there
    /// are `most`.
    pub fn start(api: Api, (namespace, name): (&str, &str), rate: u32, most: u32) -> Self {
        let (ends, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let began = Instant::now();
        let run = |first: u32| {
            let (ends, done) = (Arc::clone(&ends), Arc::clone(&done));
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            std::thread::spawn(move || {
                let pods = format!("/api/v1/namespaces/{namespace}/pods");
                let mut attempts = Vec::new();
                for index in (first..most).step_by(THREADS as usize) {
                    std::thread::sleep(
                        (began + Duration::from_secs(1) / rate * index)
                            .saturating_duration_since(Instant::now()),
                    );
                    if ends.load(Ordering::Acquire) {
                        break;
                    }
                    let pod = asking(&namespace, &format!("{name}-{index}"));
                    let sent = Instant::now();
                    let refused = api.create(&pods, &pod).err().map(|error| format!("{error:#}"));
                    attempts.push(Attempt { index, took: sent.elapsed(), refused });
                    done.fetch_add(1, Ordering::AcqRel);
                }
                attempts
            })
        };
        let threads = (0..THREADS).map(run).collect();
        Self { ends, done, threads }
    }

    /// How many Pods were answered so far.
    pub fn done(&self) -> u32 {
        self.done.load(Ordering::Acquire)
    }

    /// Waits until all that were to be created are.
    pub fn join(self) -> Vec<Attempt> {
        let mut all: Vec<Attempt> = self
            .threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a thread that creates"))
            .collect();
        all.sort_by_key(|attempt| attempt.index);
        all
    }

    /// Ends it, and tells of every Pod.
    pub fn end(self) -> Vec<Attempt> {
        self.ends.store(true, Ordering::Release);
        self.join()
    }
}

/// The time within which so many hundredths of the attempts were answered.
pub fn within(attempts: &[Attempt], share: usize) -> Duration {
    let mut times: Vec<Duration> = attempts.iter().map(|attempt| attempt.took).collect();
    times.sort();
    times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or_default()
}

/// The right of [`OWNER`] to everything in a namespace.
pub fn owner_of(namespace: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "owner", "namespace": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OWNER }] })
}

/// A Pod whose template asks for a sidecar. No node runs it.
pub fn asking(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace,
            "labels": { "kagenti.io/type": "agent", "countersign.test/load": "asking" },
            "annotations": { "countersign.dev/sidecar": "proxy-sidecar",
                "countersign.dev/sidecar-config": "authbridge-config-weather" } },
        "spec": {
            "automountServiceAccountToken": false, "schedulingGates": [{ "name": "countersign.test/never" }],
            "initContainers": [{ "name": "own", "image": "own" }],
            "containers": [{ "name": "agent", "image": "agent", "ports": [{ "name": "http", "containerPort": 8000 }],
                "readinessProbe": { "httpGet": { "path": "/", "port": "http" } },
                "env": [{ "name": "NO_PROXY", "value": "db, cache" }] }],
        },
    })
}

/// What a Pod is told by whoever made it and by admission: labels, annotations and specification.
pub fn told(pod: &Value) -> Value {
    let metadata = &pod["metadata"];
    json!({ "labels": metadata["labels"], "annotations": metadata["annotations"], "spec": pod["spec"] })
}
