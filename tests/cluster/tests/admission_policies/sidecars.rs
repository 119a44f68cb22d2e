//! Sidecars of Pods: what injection makes is taken, everything else refused, and what runs stays.

use super::sidecar_pods::{Container, IMAGE, NAMESPACE, Shape, TAMPERINGS, TAMPERINGS_WITH_ALL, Tampering};
use super::{ADMINISTRATOR, Cluster, OWNER, TENANT};
use countersign_plan::injection::{Injection, SidecarSettings, SpireSocket, plan_injection};
use serde_json::{Value, json};

/// The Pod after the webhook.
pub(crate) fn injected(asking: &Value) -> Value {
    let settings =
        SidecarSettings { image: IMAGE.to_owned(), spire: Some(SpireSocket::Csi), is_native: true };
    let asked = serde_json::from_value(asking.clone()).unwrap();
    let decided = plan_injection(&asked, Some(&settings));
    let Injection::Injected { patch, .. } = decided else { panic!("{asking:#}: {decided:?}") };
    let mut injected = asking.clone();
    json_patch::patch(&mut injected, &patch).unwrap();
    injected
}

fn shape(has_all: bool) -> Shape {
    let container = Container { ports: vec![(8000, true), (8002, true)], ..Container::default() };
    Shape {
        containers: vec![container],
        before: vec![(false, Container::default())],
        has_spiffe: has_all,
        has_credentials: has_all,
        mtls: has_all.then_some("strict"),
        ..Shape::default()
    }
}

/// The policies are in force in the namespace whose Pods are injected.
pub(crate) fn guarded() -> Cluster {
    let cluster = Cluster::guarded();
    let account = ["-n", NAMESPACE, "get", "serviceaccount", "default"];
    cluster.0.wait("the default service account", || Ok(cluster.0.kubectl(&account).is_ok())).unwrap();
    let asking = shape(false).pod("asks");
    cluster.0.wait("the policy", || Ok(cluster.create_dry(TENANT, &asking).is_err())).unwrap();
    cluster
}

#[test]
fn a_pod_that_asks_for_a_sidecar_has_exactly_the_one_that_is_injected() {
    let cluster = guarded();
    let asking = shape(false).pod("asks");
    let refused = cluster.create_dry(TENANT, &asking).unwrap_err();
    assert!(refused.contains("none was injected"), "{refused}");
    for has_all in [false, true] {
        cluster.create_dry(TENANT, &injected(&shape(has_all).pod("asks"))).unwrap();
    }
    cluster.create_dry(ADMINISTRATOR, &asking).unwrap();
    // Where the webhook is not called nobody waits for it.
    let elsewhere = super::within("team1", asking.clone());
    cluster.create_dry(TENANT, &elsewhere).unwrap();
    let mut out = asking.clone();
    out["metadata"]["labels"]["rossoctl.io/inject"] = json!("disabled");
    cluster.create_dry(TENANT, &out).unwrap();
    let every = |has_all: bool, table: &[(&str, Tampering)]| {
        let whole = injected(&shape(has_all).pod("asks"));
        let mut passed = Vec::new();
        for (at, (told, change)) in table.iter().enumerate() {
            let mut other = whole.clone();
            change(&mut other);
            match cluster.create_dry(TENANT, &other) {
                Err(refused) if refused.contains(told) => {}
                answer => passed.push(format!("{at} ({told}): {answer:?}")),
            }
        }
        passed
    };
    let passed =
        [every(false, &TAMPERINGS), every(true, &TAMPERINGS), every(true, &TAMPERINGS_WITH_ALL)].concat();
    assert!(passed.is_empty(), "{} pass or are refused otherwise:\n{}", passed.len(), passed.join("\n"));
}

#[test]
fn the_sidecar_of_a_running_pod_stays_and_nobody_joins_it() {
    let cluster = guarded();
    let pod = injected(&shape(true).pod("runs"));
    cluster.create(TENANT, &pod);
    let patch = |user: &str, change: &Value| {
        let change = change.to_string();
        cluster.run(user, &["-n", NAMESPACE, "patch", "pod", "runs", "--type=strategic", "-p", &change])
    };
    let image = |list: &str, name: &str| json!({ "spec": { list: [{ "name": name, "image": "other" }] } });
    let ours = image("initContainers", "authbridge-proxy");
    cluster.0.wait("the policy", || Ok(patch(TENANT, &ours).is_err())).unwrap();
    // What says that the Pod has a sidecar is the sidecar, and not what anybody may write.
    patch(
        TENANT,
        &json!({ "metadata": { "annotations": { "countersign.dev/sidecar": null,
        "countersign.dev/sidecar-config": "own" }, "labels": { "kagenti.io/inject": "disabled" } } }),
    )
    .unwrap();
    for user in [TENANT, OWNER] {
        let refused = patch(user, &ours).unwrap_err();
        assert!(refused.contains("keeps its image"), "{refused}");
    }
    patch(TENANT, &image("containers", "own-0")).unwrap();
    patch(TENANT, &image("initContainers", "init-0")).unwrap();

    let join = |user: &str, container: &Value| {
        let read = cluster.0.kubectl(&["-n", NAMESPACE, "get", "pod", "runs", "-o", "json"]).unwrap();
        let mut pod: Value = serde_json::from_str(&read).unwrap();
        let mut added = json!({ "name": "debug", "image": "busybox" });
        added.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        pod["spec"]["ephemeralContainers"] = json!([added]);
        let endpoint = format!("/api/v1/namespaces/{NAMESPACE}/pods/runs/ephemeralcontainers?dryRun=All");
        cluster.run(user, &["replace", "--raw", &endpoint, "-f", &cluster.file(&pod)])
    };
    for bad in [
        json!({ "targetContainerName": "authbridge-proxy" }),
        json!({ "securityContext": { "runAsUser": 1337 } }),
        json!({ "volumeMounts": [{ "name": "spire-agent-socket", "mountPath": "/socket", "readOnly": true }] }),
        json!({ "volumeMounts": [{ "name": "keycloak-client-credentials", "mountPath": "/own" }] }),
    ] {
        let refused = join(TENANT, &bad).unwrap_err();
        assert!(refused.contains("may not join the sidecar"), "{bad}: {refused}");
        join(ADMINISTRATOR, &bad).unwrap();
    }
    for good in [
        json!({}),
        json!({ "targetContainerName": "own-0", "securityContext": { "runAsUser": 1000 },
            "volumeMounts": [{ "name": "own", "mountPath": "/own" }] }),
    ] {
        join(TENANT, &good).unwrap();
    }
    patch(ADMINISTRATOR, &ours).unwrap();
}
