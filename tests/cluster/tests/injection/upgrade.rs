//! Replicas of the operator that come and go while Pods are made at a steady rate: killed, and replaced by an upgrade.

use super::{NODE, OPERATOR, create, enable, enrol, pod, wait_runtime};
use countersign_cluster_tests::{
    Attempt, Load, Node, OWNER, SYSTEM, asking, find, labelled, owner_of, served_certificate, told, until,
    within,
};
use countersign_plan::injection::{Injection, SidecarSettings, plan_injection};
use k8s_openapi::ByteString;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::time::Duration;

const TEAM: &str = "load";
const RATE: u32 = 20;
const IMAGES: [&str; 2] = ["countersign.test/authbridge:test", "countersign.test/authbridge:next"];
/// How long the API server waits for the webhook, as the chart says.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_mins(2);

/// The operator's Pods that stay.
fn replicas(node: &Node) -> Vec<Value> {
    let mut found = labelled(&node.rig, "pods", SYSTEM, "control-plane=controller-manager").unwrap();
    found.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    found
}

fn leader(node: &Node) -> String {
    let lease = find(&node.rig, "lease", SYSTEM, "b7c4ae34.kagenti.dev").unwrap().unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Checks that so many replicas serve admissions, all with the certificate of the Secret.
fn all_serve_alike(node: &Node, count: usize) {
    let path = format!("/api/v1/namespaces/{SYSTEM}/secrets/kagenti-operator-webhook-server-cert");
    let secret = node.rig.get(&path).unwrap().unwrap();
    let part = |name: &str| serde_json::from_value::<ByteString>(secret["data"][name].clone()).unwrap().0;
    let certificate = CertificateDer::from_pem_slice(&part("tls.crt")).unwrap().to_vec();
    let authorities = String::from_utf8(part("ca.crt")).unwrap();
    let all = replicas(node);
    assert_eq!(all.len(), count, "{all:#?}");
    for pod in all {
        let address = format!("{}:9443", pod["status"]["podIP"].as_str().unwrap()).parse().unwrap();
        assert_eq!(served_certificate(&node.rig, address, &authorities).unwrap(), certificate);
        assert_eq!(pod["metadata"]["labels"]["control-plane"], "controller-manager");
    }
    assert!(!leader(node).is_empty());
}

fn load(node: &Node, name: &str) -> Load {
    Load::start(node.rig.api().unwrap().acting_as(OWNER), (TEAM, name), RATE, u32::MAX)
}

fn refused(attempts: &[Attempt]) -> Vec<&String> {
    attempts.iter().filter_map(|attempt| attempt.refused.as_ref()).collect()
}

/// What a Pod of the load is told once the sidecar with an image is injected, as the API server stores it.
fn planned(node: &Node, image: &str) -> Value {
    let settings = SidecarSettings { image: image.to_owned(), spire: None, is_native: true };
    let mut pod = asking("by-hand", &format!("planned-{}", image.replace([':', '/'], "-")));
    let asked = serde_json::from_value(pod.clone()).unwrap();
    let Injection::Injected { patch, .. } = plan_injection(&asked, Some(&settings)) else {
        panic!("{pod:#}")
    };
    json_patch::patch(&mut pod, &patch).unwrap();
    node.rig.create("/api/v1/namespaces/by-hand/pods", &pod).unwrap();
    let name = pod["metadata"]["name"].as_str().unwrap();
    told(&find(&node.rig, "pods", "by-hand", name).unwrap().unwrap())
}

fn prepare(node: &Node) {
    for namespace in [TEAM, "by-hand"] {
        node.namespace(namespace).unwrap();
    }
    enable(node, TEAM);
    node.rig.apply(&owner_of(TEAM).to_string()).unwrap();
    create(node, TEAM, "weather");
    enrol(node, TEAM, "weather", "permissive");
    wait_runtime(node, TEAM, "weather", &[("Ready", "True"), ("SidecarConfigured", "True")]);
}

/// Pod and container of the agent, how often it was started, and since when it is available: the kubelet asks it every second.
fn agent(node: &Node) -> Value {
    let pod = pod(node, TEAM, "weather");
    let ready = |object: &Value, kind: &str| {
        let all = object["status"]["conditions"].as_array().into_iter().flatten();
        let found = all.filter(|one| one["type"] == kind);
        found.map(|one| (one["status"].clone(), one["lastTransitionTime"].clone())).collect::<Vec<_>>()
    };
    let deployment = find(&node.rig, "deployment", TEAM, "weather").unwrap().unwrap();
    let statuses = ["initContainerStatuses", "containerStatuses"].map(|list| {
        let all = pod["status"][list].as_array().into_iter().flatten();
        all.map(|one| (one["name"].clone(), one["restartCount"].clone())).collect::<Vec<_>>()
    });
    json!([pod["metadata"]["uid"], statuses, ready(&pod, "Ready"), ready(&deployment, "Available")])
}

#[test]
fn an_upgrade_under_load_refuses_nobody_and_a_killed_leader_lets_no_pod_in_without_its_sidecar() {
    let (node, alone) = (&*NODE, OPERATOR.write().unwrap());
    prepare(node);
    node.install_with_sidecars(&["controllerManager.replicas=2"]).unwrap();
    all_serve_alike(node, 2);
    let before = agent(node);

    let pods = load(node, "killed");
    until("Pods", PATIENCE, || Ok(pods.done() > RATE)).unwrap();
    let killed = leader(node);
    let all = node.operators().unwrap();
    let (pid, _) = all.iter().find(|(_, pod)| killed.contains(pod.as_str())).expect("the leader's process");
    let at = pods.done();
    std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    let restarted = || {
        let containers = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
        let again = |one: &Value| one["restartCount"] == 1 && one["ready"] == true;
        Ok(replicas(node).iter().map(containers).any(|one| again(&one)))
    };
    until("the replica that was killed", PATIENCE, restarted)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", node.report()));
    let back = pods.done();
    until("Pods after that", PATIENCE, || Ok(pods.done() > back + 3 * RATE)).unwrap();
    let attempts = pods.end();
    let all = refused(&attempts);
    println!(
        "leader of two killed at {RATE} Pods per second: {} of {} refused while it was gone; created within {:?} (p99)",
        all.len(),
        attempts.len(),
        within(&attempts, 99)
    );
    assert!(all.iter().all(|said| said.contains("none was injected")), "{all:#?}");
    let late = |attempt: &&Attempt| {
        attempt.refused.is_some()
            && (attempt.index < at.saturating_sub(RATE) || attempt.index > back + 2 * RATE)
    };
    assert_eq!(
        attempts.iter().find(late).map(|attempt| attempt.index),
        None,
        "killed at {at}, back at {back}"
    );
    all_serve_alike(node, 2);

    // Another image of the sidecar and one replica more, and back again.
    let pods = load(node, "upgraded");
    node.install_with_sidecars(&["controllerManager.replicas=3", "sidecar.image.tag=next"]).unwrap();
    until("the end of the old replicas", PATIENCE, || Ok(node.operators()?.len() == 3)).unwrap();
    all_serve_alike(node, 3);
    let upgraded = pods.done();
    node.install_with_sidecars(&["controllerManager.replicas=2"]).unwrap();
    until("the end of the newer replicas", PATIENCE, || Ok(node.operators()?.len() == 2)).unwrap();
    let attempts = pods.end();
    println!(
        "upgrade of two replicas to three, and back, at {RATE} Pods per second: {} of {} refused ({upgraded} by the upgrade's end); \
         created within {:?} (p99)",
        refused(&attempts).len(),
        attempts.len(),
        within(&attempts, 99)
    );
    // Nobody is turned away by a replica that goes. What the API server waited out is a machine that stands still.
    let (waited, turned): (Vec<&Attempt>, Vec<&Attempt>) = attempts
        .iter()
        .filter(|attempt| attempt.refused.is_some())
        .partition(|attempt| attempt.took >= WEBHOOK_TIMEOUT);
    assert!(
        turned.is_empty() && waited.len() * 100 < attempts.len(),
        "{turned:#?}{waited:#?}{}",
        node.report()
    );

    let plans = IMAGES.map(|image| planned(node, image));
    let made = labelled(&node.rig, "pods", TEAM, "countersign.test/load=asking").unwrap();
    let mut counts = [0, 0];
    for pod in &made {
        let found = plans.iter().position(|plan| *plan == told(pod));
        counts[found.unwrap_or_else(|| panic!("{pod:#}"))] += 1;
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(agent(node), before, "{}", node.report());
    node.rig.kubectl(&["delete", "namespace", TEAM, "by-hand", "--wait=false"]).unwrap();
    node.install_with_sidecars(&[]).unwrap();
    until("one replica", PATIENCE, || Ok(node.operators()?.len() == 1)).unwrap();
    drop(alone);
}
