//! A trust bundle that the operator may no longer read: that is told at once, and counts until it is too old.

use anyhow::{Context, Result};
use countersign_cluster_tests::{
    Agents, Audit, Authority, Operator, Scene, TRUST_DOMAIN, bundle_json, card_of, condition, outcome,
};
use countersign_rig::Rig;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

const USER: &str = "rig:limited";
const METRICS: &str = "127.0.0.1:18088";

/// What the operator needs, but for the bundle; these verbs are those for Pods besides reading.
fn rights(pods: &[&str]) -> Vec<Value> {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let (read, all) = (["get", "list", "watch"], ["*"]);
    let rules = [
        rule("agent.kagenti.dev", &all, &all),
        rule("networking.k8s.io", &all, &all),
        rule("apps", &all, &read),
        rule("", &["pods", "namespaces", "services"], &read),
        rule("", &["pods"], pods),
        rule("discovery.k8s.io", &["endpointslices"], &read),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        rule("spire.spiffe.io", &all, &read),
        rule("agents.x-k8s.io", &all, &read),
        rule("agent.rossoctl.dev", &all, &read),
    ];
    let rbac = "rbac.authorization.k8s.io";
    let subject = json!({ "kind": "User", "name": USER, "apiGroup": rbac });
    vec![
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
            "metadata": { "name": "operator" }, "rules": rules }),
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding",
            "metadata": { "name": "operator" }, "subjects": [subject],
            "roleRef": { "kind": "ClusterRole", "name": "operator", "apiGroup": rbac } }),
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "Role",
            "metadata": { "name": "bundle", "namespace": "spire" },
            "rules": [rule("", &["configmaps"], &read)] }),
    ]
}

/// What lets it read the bundle.
fn right_to_the_bundle() -> Value {
    let rbac = "rbac.authorization.k8s.io";
    json!({ "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
        "metadata": { "name": "bundle", "namespace": "spire" },
        "subjects": [{ "kind": "User", "name": USER, "apiGroup": rbac }],
        "roleRef": { "kind": "Role", "name": "bundle", "apiGroup": rbac } })
}

/// The way of that user to the API server, from inside.
fn kubeconfig(rig: &Rig) -> Result<PathBuf> {
    let server = |text: &str| {
        let start = text.find("https://").context("a server")?;
        let server = text.get(start..).unwrap_or_default().split(['"', '\n']).next().unwrap_or_default();
        anyhow::Ok(server.to_owned())
    };
    let text = std::fs::read_to_string(rig.kubeconfig_for(USER, None)?)?;
    let inside = server(&std::fs::read_to_string(rig.kubeconfig_inside())?)?;
    let file = rig.folder().join("limited-inside.kubeconfig");
    std::fs::write(&file, text.replace(&server(&text)?, &inside))?;
    Ok(file)
}

/// How often reading the bundle has failed for this reason, by the operator's metrics.
fn failures(scene: &Scene, reason: &str) -> Result<u32> {
    let relay = scene.rig.relay(METRICS.parse()?)?;
    let mut stream = TcpStream::connect(relay.address())?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = format!("kagenti_x5c_trust_bundle_load_errors_total{{reason=\"{reason}\"}} ");
    Ok(text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap()))
}

#[test]
fn a_bundle_that_may_not_be_read_any_more_is_told_of_grows_too_old_and_comes_back() {
    let scene = Scene::prepare(|rig| {
        let items = [rights(&["patch"]), vec![right_to_the_bundle()]].concat();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        rig.apply(&list.to_string())?;
        let metrics = ["--metrics-bind-address", METRICS, "--metrics-secure=false"];
        let flags = [&metrics[..], &["--trust-bundle-max-age=45s"]].concat();
        Operator::start_with(rig, &kubeconfig(rig)?, "127.0.0.1:18081", &flags)
    })
    .unwrap();
    scene.operator.wait_ready().unwrap();
    scene.namespace("team", &json!({})).unwrap();
    scene.agent("team", "weather", &scene.honest("team", "weather")).unwrap();
    scene.verified("team", "weather", "weather").unwrap();
    assert_eq!(failures(&scene, "forbidden").unwrap(), 0);

    // The right goes, and with it the knowledge that the root is replaced. A watch that runs is not asked for it again.
    scene.rig.kubectl(&["delete", "rolebinding", "-n", "spire", "bundle"]).unwrap();
    let next = Authority::new(TRUST_DOMAIN);
    scene.agents.publish(&bundle_json(&[&next], 2)).unwrap();
    scene.rig.wait("the failure in the metrics", || Ok(failures(&scene, "forbidden")? > 0)).unwrap();
    let said = "the trust bundle cannot be refreshed";
    assert!(scene.operator.log().contains(said), "{}", scene.operator.log());
    let card = scene.get("agentcard", "team", "weather").unwrap();
    assert_eq!(outcome(&card), "Verified", "the last good bundle counts for its limit: {card:#}");
    assert!(scene.operator.answers("/readyz").unwrap());

    // The watch ends, and every attempt to start it is refused.
    scene.rig.stop_component("apiserver").unwrap();
    scene.rig.start_component("apiserver").unwrap();
    scene.rig.wait_ready().unwrap();
    scene.refused("team", "weather", "weather", "BundleStale").unwrap();
    scene.rig.wait("readiness to say so", || Ok(!scene.operator.answers("/readyz")?)).unwrap();

    // The right comes back: what was missed is known, and trust follows the bundle of now.
    scene.rig.apply(&right_to_the_bundle().to_string()).unwrap();
    scene.refused("team", "weather", "weather", "AnchorUnknown").unwrap();
    let signed = Agents::sign(&card_of("weather", "team"), &next.issue("team", "weather", -60, 3600));
    scene.agents.serve("team", "weather", &signed).unwrap();
    scene.verified("team", "weather", "weather").unwrap();
    scene.operator.wait_ready().unwrap();
    // It is followed again, not only read from time to time.
    let last = Authority::new(TRUST_DOMAIN);
    scene.agents.publish(&bundle_json(&[&last], 3)).unwrap();
    scene.refused("team", "weather", "weather", "AnchorUnknown").unwrap();
    scene.stop().unwrap();
}

#[test]
fn a_right_that_is_missing_is_told_in_a_sentence_and_asked_for_ever_more_rarely() {
    let scene = Scene::prepare(|rig| {
        let items = [rights(&["get"]), vec![right_to_the_bundle()]].concat();
        rig.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
        Operator::start_with(rig, &kubeconfig(rig)?, "127.0.0.1:18081", &[])
    })
    .unwrap();
    scene.operator.wait_ready().unwrap();
    scene.namespace("team", &json!({})).unwrap();
    for name in ["weather", "travel"] {
        scene.agent("team", name, &scene.honest("team", name)).unwrap();
    }
    for name in ["weather", "travel"] {
        let rejected = |card: &Value| condition(card, "Enforced")["reason"] == "PolicyRejected";
        scene.operator.wait_card("team", name, "a write that is refused", rejected).unwrap();
    }
    let refused = |audit: &mut Audit| {
        let all = audit.requests().unwrap();
        all.iter().filter(|one| one.resource == "pods" && one.verb == "patch" && one.code == 403).count()
    };
    std::thread::sleep(Duration::from_secs(10));
    let mut audit = Audit::of_namespace(scene.rig, "team").unwrap();
    std::thread::sleep(Duration::from_secs(20));
    let asked = refused(&mut audit);
    assert!(asked <= 4, "{asked} times in 20 s for two agents:\n{}", scene.operator.log());
    let said =
        format!("a right is missing: the account \\\"{USER}\\\" may not patch pods in the namespace team");
    let log = scene.operator.log();
    assert!(log.contains(&said), "{log}");
    assert!(!log.contains("Status {"), "{log}");
    let card = scene.get("agentcard", "team", "weather").unwrap();
    let message = condition(&card, "Enforced")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("may not patch pods in the namespace team"), "{message}");

    // Once it is there, marks are written at the next attempt, or at once when something changes.
    scene
        .rig
        .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": rights(&["patch"]) }).to_string())
        .unwrap();
    let note = json!({ "metadata": { "annotations": { "note": "again" } } });
    for name in ["weather", "travel"] {
        scene.patch("deployment", "team", name, &note).unwrap();
        let enforced = |card: &Value| condition(card, "Enforced")["reason"] == "PolicyApplied";
        scene.operator.wait_card("team", name, "a write that is accepted", enforced).unwrap();
    }
    scene.stop().unwrap();
}
