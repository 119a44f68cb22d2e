//! `make bench-inject`: what injection adds to the creation of a Pod, on a real API server and etcd on the same machine. Each
//! run creates Pods by dry run on schedule, by turns one that gets a sidecar and one of the same size that the webhook is not
//! called for; the difference of the two is what injection adds.

use anyhow::{Context, Result};
use countersign_cluster_tests::{Operator, Scene, process_cpu, process_memory};
use countersign_rig::record::Table;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const NAME: &str = "countersign-bench";
const ADDRESS: &str = "127.0.0.1:19443";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/countersign-bench";
const LENGTH: Duration = Duration::from_secs(20);
/// Text of a Pod that is as large as one with much configuration.
const LARGE: usize = 64 * 1024;

fn main() {
    let scene = Scene::prepare(|rig| {
        let address = format!("--webhook-bind-address={ADDRESS}");
        let flags = [
            &address,
            "--webhook-configuration",
            NAME,
            "--sidecar-image=authbridge:1",
            "--metrics-bind-address=0",
        ];
        Operator::start(rig, &flags)
    })
    .unwrap();
    scene.operator.wait_ready().unwrap();
    prepare(&scene).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut table = Table::new("Pods by dry run");
    runtime.block_on(measure(&scene, &mut table)).unwrap();
    let sharing = "operator, API server, etcd and the measuring itself share them.";
    table.write("docs/benchmarks.md", "inject", sharing).unwrap();
}

fn prepare(scene: &Scene) -> Result<()> {
    let mut all = vec![json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": NAME },
        "webhooks": [{
            "name": "inject.kagenti.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 3, "reinvocationPolicy": "IfNeeded",
            "clientConfig": { "url": format!("https://{ADDRESS}/mutate-workloads-authbridge") },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
            "namespaceSelector": { "matchLabels": { "kagenti-enabled": "true" } },
        }],
    })];
    for (name, enabled) in [("injected", "true"), ("left", "false")] {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": { "kagenti-enabled": enabled } } });
        scene.apply_all(&[namespace])?;
        all.push(json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "weather", "namespace": name } }));
    }
    scene.apply_all(&all)?;
    scene.rig.wait("the authorities at the API server", || {
        let found = scene.rig.get(CONFIGURATION)?.unwrap_or_default();
        Ok(found["webhooks"][0]["clientConfig"]["caBundle"].as_str().is_some_and(|told| !told.is_empty()))
    })?;
    let pods = "/api/v1/namespaces/injected/pods?dryRun=All";
    scene.rig.wait("an admission", || Ok(scene.rig.create(pods, &pod("injected", "first", 0)).is_ok()))?;
    Ok(())
}

/// A Pod that asks for a sidecar, with so many bytes of variables.
fn pod(namespace: &str, name: &str, bytes: usize) -> Value {
    let text = "x".repeat(1000);
    let variables: Vec<Value> =
        (0..bytes / 1000).map(|index| json!({ "name": format!("V{index}"), "value": text })).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "kagenti.io/type": "agent" },
            "annotations": { "countersign.dev/sidecar": "proxy-sidecar",
                "countersign.dev/sidecar-config": "authbridge-config-weather" } },
        "spec": { "serviceAccountName": "weather", "containers": [{ "name": "agent", "image": "weather",
            "ports": [{ "containerPort": 8000 }], "env": variables }] },
    })
}

async fn measure(scene: &Scene, table: &mut Table) -> Result<()> {
    let config = Kubeconfig::read_from(scene.rig.kubeconfig())?;
    let client =
        Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?;
    let pid = scene.operator.pid()?;
    for (size, bytes) in [("small", 0), ("64 KiB", LARGE)] {
        for rate in [50, 100] {
            let before = process_cpu(pid)?;
            let [injected, left] = run(&client, 2 * rate, bytes).await?;
            let cpu = process_cpu(pid)?.saturating_sub(before) / u32::try_from(injected.len())?;
            let added = |share: usize| millis(at(&injected, share)) - millis(at(&left, share));
            table.row(
                &format!("{size}, {rate} per second injected: added, p50 and p99"),
                "p99 ≤ 5 ms",
                &format!(
                    "{:.1} and {:.1} ms; with {:.1} and {:.1}, without {:.1} and {:.1} ms; {cpu:.2?} of CPU each",
                    added(50),
                    added(99),
                    millis(at(&injected, 50)),
                    millis(at(&injected, 99)),
                    millis(at(&left, 50)),
                    millis(at(&left, 99)),
                ),
            );
        }
    }
    table.row(
        "resident memory of the operator after it",
        "",
        &format!("{} MiB", process_memory(pid)? / 1024),
    );
    Ok(())
}

/// Times of creations by dry run with and without injection, at so many per second in all, each kind in order.
async fn run(client: &Client, rate: u32, bytes: usize) -> Result<[Vec<Duration>; 2]> {
    let began = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..rate * u32::try_from(LENGTH.as_secs())? {
        sleep_until(began + Duration::from_secs(1) / rate * index).await;
        let is_injected = index % 2 == 0;
        let namespace = if is_injected { "injected" } else { "left" };
        let pod: Pod = serde_json::from_value(pod(namespace, &format!("pod-{index}"), bytes))?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        calls.spawn(async move {
            let (began, parameters) = (Instant::now(), PostParams { dry_run: true, ..PostParams::default() });
            let made = pods.create(&parameters, &pod).await?;
            let took = began.elapsed();
            let has = made.spec.and_then(|spec| spec.init_containers).is_some_and(|all| !all.is_empty());
            anyhow::ensure!(has == is_injected, "a Pod of {namespace} with a sidecar: {has}");
            Ok((is_injected, took))
        });
    }
    let [mut injected, mut left] = [Vec::new(), Vec::new()];
    while let Some(call) = calls.join_next().await {
        let (is_injected, took) = call.context("a call")??;
        if is_injected { &mut injected } else { &mut left }.push(took);
    }
    injected.sort();
    left.sort();
    Ok([injected, left])
}

fn at(sorted: &[Duration], share: usize) -> Duration {
    sorted.get(sorted.len() * share / 100).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
