//! What an agent answers, or does not: every outcome is said in status, and nothing stays open meanwhile.

use crate::scene;
use countersign_cluster_tests::{Agents, Scene, card_of, user_card};
use serde_json::{Value, json};

/// An agent that is verified at first.
fn verified(namespace: &'static str) -> (&'static Scene, &'static str) {
    let scene = scene(namespace);
    scene.agent(namespace, "weather", &scene.honest(namespace, "weather")).unwrap();
    scene.verified(namespace, "weather", "weather").unwrap();
    (scene, namespace)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_card_that_can_no_longer_be_fetched_loses_trust() {
    let (scene, team) = verified("unreachable");
    scene.agents.withdraw(team, "weather").unwrap();
    scene.refused(team, "weather", "weather", "FetchStatus").unwrap();
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn of_two_cards_that_clients_get_by_their_version_both_must_be_good() {
    let (scene, team) = verified("two-versions");
    let varies = |body: &[u8]| answer("200 OK", "Vary: A2A-Version\r\n", body);
    let mut card = card_of("weather", team);
    let first = scene.signed(&card, team, "weather");
    card["description"] = "for clients of 0.3".into();
    let second = scene.signed(&card, team, "weather");
    scene.agents.serve_unversioned(team, "weather", &varies(&second)).unwrap();
    scene.agents.serve_raw(team, "weather", &varies(&first)).unwrap();
    // Each is remembered beside the other: neither is a replay when it is seen again.
    scene.looked(team, "weather", 6).unwrap();
    let found = scene.verified(team, "weather", "weather").unwrap();
    assert_eq!(found["status"]["verdict"]["contents"].as_array().map(Vec::len), Some(2), "{found:#}");
    // A bad one that only clients of 0.3 get refuses the agent, and is named.
    card["description"] = "changed after it was signed".into();
    let mut tampered: Value = serde_json::from_slice(&second).unwrap();
    tampered["description"] = card["description"].clone();
    scene.agents.serve_unversioned(team, "weather", &varies(tampered.to_string().as_bytes())).unwrap();
    let found = scene.refused(team, "weather", "weather", "SignatureInvalid").unwrap();
    let message = found["status"]["verdict"]["message"].as_str().unwrap();
    assert!(message.contains("answer to requests without A2A-Version: "), "{message}");
    scene.agents.serve_unversioned(team, "weather", &varies(&second)).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    // So does one that only clients of 1.0 get.
    scene.agents.serve_raw(team, "weather", &varies(tampered.to_string().as_bytes())).unwrap();
    let found = scene.refused(team, "weather", "weather", "SignatureInvalid").unwrap();
    let message = found["status"]["verdict"]["message"].as_str().unwrap();
    assert!(message.contains("answer to requests with A2A-Version: 1.0: "), "{message}");
}

#[test]
fn a_workload_that_is_not_ready_loses_trust() {
    let (scene, team) = verified("not-ready");
    scene.set_ready(team, "weather", false).unwrap();
    scene.refused(team, "weather", "weather", "WorkloadNotReady").unwrap();
    scene.set_ready(team, "weather", true).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn a_workload_that_is_gone_loses_trust_and_leaves_nothing_open() {
    let (scene, team) = verified("gone");
    scene.delete("deployment", team, "weather").unwrap();
    let card = scene
        .operator
        .wait_card(team, "weather", "a refusal", |card| {
            countersign_cluster_tests::outcome(card) == "WorkloadNotFound"
        })
        .unwrap();
    for kind in ["Ready", "Verified", "Bound", "Synced"] {
        assert!(!countersign_cluster_tests::holds(&card, kind), "{kind}: {card:#}");
    }
    // No Pod of it is left, so neither is a policy.
    let none = || {
        Ok(scene
            .list("networkpolicies", team)?
            .iter()
            .all(|policy| !countersign_cluster_tests::is_open(policy)))
    };
    scene.rig.wait("no open policy", none).unwrap();
}

#[test]
fn no_answer_of_an_agent_keeps_its_refusal_out_of_the_status() {
    let (scene, team) = verified("hostile");
    let big = "A".repeat(200 * 1024);
    let wide: serde_json::Map<String, Value> = (0..100_000).map(|n| (format!("m{n}"), json!(n))).collect();
    let mut wide_card = card_of("weather", team);
    wide_card.as_object_mut().unwrap().extend(wide);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let forged = r#"{"name":"\u001b[2J\u202eweather","name":"weather"}"#;
    let cases = [
        (answer("500 Internal Server Error", "", big.as_bytes()), "FetchStatus"),
        (answer("200 OK", "", "x".repeat(1024 * 1024).as_bytes()), "BodyTooLarge"),
        (answer("200 OK", "", wide_card.to_string().as_bytes()), "BodyTooLarge"),
        (
            answer("200 OK", "", json!({ "name": "a".repeat(200 * 1024) }).to_string().as_bytes()),
            "JsonStringLength",
        ),
        (answer("200 OK", "", deep.as_bytes()), "JsonDepth"),
        (answer("200 OK", "", forged.as_bytes()), "JsonDuplicateMember"),
        (answer("200 OK", "Content-Encoding: gzip\r\n", b"{}"), "FetchEncoding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{".to_vec(), "FetchEncoding"),
        (b"\x00\xff\xfe not HTTP at all".to_vec(), "FetchFailed"),
    ];
    for (answer, reason) in cases {
        scene.agents.serve_raw(team, "weather", &answer).unwrap();
        let card = scene.refused(team, "weather", "weather", reason).unwrap();
        for condition in card["status"]["conditions"].as_array().unwrap() {
            let message = condition["message"].as_str().unwrap();
            assert!(message.len() < 4096 && !message.contains("AAAA"), "{message}");
            assert!(!message.chars().any(|c| c.is_control() || c == '\u{202e}'), "{message:?}");
        }
        // A good answer in between: each case starts from an open policy.
        scene.agents.serve_properly(team, "weather").unwrap();
        scene.verified(team, "weather", "weather").unwrap();
    }
}

#[test]
fn a_redirect_is_not_followed_to_a_good_card() {
    let (scene, team) = verified("redirected");
    // What the redirect leads to would be verified if it were read.
    scene.agents.serve(team, "decoy", &scene.honest(team, "weather")).unwrap();
    let decoy = scene.rig.kubectl(&["create", "service", "clusterip", "-n", team, "decoy", "--tcp=8000"]);
    decoy.unwrap();
    let location =
        format!("Location: http://decoy.{team}.svc.cluster.local:8000/.well-known/agent-card.json\r\n");
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        scene.agents.serve_raw(team, "weather", &answer(status, &location, b"{}")).unwrap();
        scene.refused(team, "weather", "weather", "FetchRedirected").unwrap();
        scene.agents.serve_properly(team, "weather").unwrap();
        scene.verified(team, "weather", "weather").unwrap();
    }
}

#[test]
fn a_service_that_leads_elsewhere_is_not_asked() {
    let (scene, team) = verified("led-astray");
    let service = |spec: Value| {
        scene.delete("service", team, "weather").unwrap();
        let object = json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "weather", "namespace": team }, "spec": spec });
        scene.rig.apply(&object.to_string()).unwrap();
    };
    let ports = json!([{ "port": 8000 }]);
    let elsewhere = [
        json!({ "type": "ExternalName", "externalName": "attacker.example", "ports": ports }),
        json!({ "ports": ports }),
        json!({ "selector": { "app": "another" }, "ports": ports }),
    ];
    for spec in elsewhere {
        service(spec);
        scene.refused(team, "weather", "weather", "ServiceNotFound").unwrap();
        service(
            json!({ "selector": { "app": "weather" }, "ports": ports, "publishNotReadyAddresses": true }),
        );
        scene.verified(team, "weather", "weather").unwrap();
    }
}

#[test]
fn one_refused_card_of_a_workload_refuses_it_whatever_the_other_says() {
    let (scene, team) = verified("two-cards");
    let mut second = user_card(team, "second", "weather");
    second["spec"]["identityBinding"] = json!({ "allowedSpiffeIDs": ["spiffe://rig.example/ns/x/sa/y"] });
    scene.rig.apply(&second.to_string()).unwrap();
    scene
        .operator
        .wait_card(team, "second", "a refusal", |card| {
            countersign_cluster_tests::outcome(card) == "IdentityMismatch"
        })
        .unwrap();
    scene.policy_is(team, "weather", "IdentityMismatch").unwrap();
    // They do not fight: nothing is written from here on.
    scene.settle(team, std::time::Duration::from_secs(2)).unwrap();
    let before = versions(scene, team);
    // Both cards ask the one workload, so each has been judged several times.
    scene.looked(team, "weather", 8).unwrap();
    assert_eq!(versions(scene, team), before);
    scene.delete("agentcard", team, "second").unwrap();
    scene.policy_is(team, "weather", "Verified").unwrap();
}

fn versions(scene: &Scene, team: &str) -> Vec<Value> {
    let all = ["networkpolicies", "agentcards"].map(|kind| scene.list(kind, team).unwrap());
    all.concat().iter().map(|object| object["metadata"]["resourceVersion"].clone()).collect()
}

#[test]
fn the_service_account_decides_and_not_the_name_of_the_workload() {
    let (scene, team) = (scene("accounts"), "accounts");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    let mut items = vec![user_card(team, "weather", "weather")];
    let mut manifests = Agents::manifests(team, "weather");
    manifests[0]["spec"]["template"]["spec"]["serviceAccountName"] = json!("another");
    manifests[2]["metadata"]["name"] = json!("another");
    items.extend(manifests);
    scene.apply_all(&items).unwrap();
    scene.refused(team, "weather", "weather", "IdentityMismatch").unwrap();
}
