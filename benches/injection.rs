//! Injection of a Pod against what no webhook can do without, reading the Pod as JSON, measured side by side in one run.
//! `cargo bench --package countersign-plan --bench injection`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use countersign_plan::injection::{Injection, NewPod, SidecarSettings, SpireSocket, plan_injection};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 2000;

fn main() {
    let settings =
        SidecarSettings { image: "authbridge:1".to_owned(), spire: Some(SpireSocket::Csi), is_native: true };
    println!("{:<32}{:>12}{:>14}{:>12}{:>12}", "Pod", "bytes", "reading, µs", "all, µs", "patch");
    for (name, variables, length) in
        [("small", 0, 0), ("64 variables of 1000 bytes", 64, 1000), ("1000 variables of 30 bytes", 1000, 30)]
    {
        let bytes = pod(variables, length).to_string().into_bytes();
        let (mut reading, mut all, mut patch) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            reading.push(time(|| drop(black_box(serde_json::from_slice::<Value>(&bytes).unwrap()))));
            all.push(time(|| patch = injected(&bytes, &settings)));
        }
        let [reading, all] = [reading, all].map(|times| median(times).as_nanos());
        let micros = |nanos: u128| format!("{}.{}", nanos / 1000, nanos % 1000 / 100);
        println!(
            "{name:<32}{:>12}{:>14}{:>12}{:>12}",
            bytes.len(),
            micros(reading),
            micros(all),
            patch.len()
        );
    }
}

/// The patch of a Pod, from its bytes.
fn injected(bytes: &[u8], settings: &SidecarSettings) -> Vec<u8> {
    let pod: NewPod = serde_json::from_slice(bytes).unwrap();
    match plan_injection(&pod, Some(settings)) {
        Injection::Injected { patch, .. } => serde_json::to_vec(&patch).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A Pod of a workload as the API server sends it, completed and with its managed fields.
fn pod(variables: usize, length: usize) -> Value {
    let text = "x".repeat(length);
    let env: Vec<Value> =
        (0..variables).map(|index| json!({ "name": format!("V{index}"), "value": text })).collect();
    let owned =
        |index| (format!("k:{{\"name\":\"V{index}\"}}"), json!({ ".": {}, "f:name": {}, "f:value": {} }));
    let fields: Map<String, Value> = (0..variables).map(owned).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "weather-7d-", "namespace": "team",
            "labels": { "app": "weather", "kagenti.io/type": "agent", "pod-template-hash": "7d" },
            "annotations": { "countersign.dev/sidecar": "proxy-sidecar", "countersign.dev/sidecar-config": "config",
                "countersign.dev/sidecar-spiffe": "workload-api", "kagenti.io/mtls-mode": "permissive" },
            "managedFields": [{ "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:containers": { "k:{\"name\":\"agent\"}": {
                    ".": {}, "f:env": fields, "f:image": {}, "f:name": {}, "f:ports": {}, "f:resources": {} } } } } }],
        },
        "spec": {
            "containers": [{ "name": "agent", "image": "weather", "imagePullPolicy": "Always", "env": env,
                "ports": [{ "containerPort": 8000, "protocol": "TCP" }], "resources": {},
                "volumeMounts": [{ "name": "token", "readOnly": true, "mountPath": "/var/run/secrets" }],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File" }],
            "volumes": [{ "name": "token", "projected": { "defaultMode": 420, "sources": [
                { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } }] } }],
            "tolerations": [{ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" }],
            "restartPolicy": "Always", "serviceAccountName": "weather", "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        },
    })
}
