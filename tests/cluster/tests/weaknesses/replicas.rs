//! Agents of several replicas: each Pod serves a card of its own, signed with a leaf of its own.

use crate::{scene, witnessed};
use countersign_cluster_tests::{Agents, Scene, card_of, outcome, user_card};
use serde_json::{Value, json};
use std::time::Duration;

/// An agent of three replicas, each with a card signed under a leaf that began so many seconds ago.
fn three(team: &str, ages: [i64; 3]) -> (&'static Scene, Vec<(String, String)>) {
    let scene = scene(team);
    let pods = create(scene, team, 3);
    for ((_, address), age) in pods.iter().zip(ages) {
        serve(scene, team, address, &card_of("weather", team), age);
    }
    (scene, pods)
}

/// An agent of some replicas that serve nothing yet.
fn create(scene: &Scene, team: &str, replicas: usize) -> Vec<(String, String)> {
    let mut items = vec![user_card(team, "weather", "weather")];
    items.extend(Agents::manifests(team, "weather"));
    items[1]["spec"]["replicas"] = json!(replicas);
    scene.apply_all(&items).unwrap();
    scene.has_pods(team, "weather", replicas).unwrap()
}

/// Lets one replica serve this card, signed now under a leaf that began so many seconds ago.
fn serve(scene: &Scene, team: &str, address: &str, card: &Value, age: i64) {
    let svid = scene.authority.issue(team, "weather", -age, 3600 - age);
    scene.agents.serve_at(team, "weather", address, &Agents::sign(card, &svid)).unwrap();
}

#[test]
fn replicas_with_leaves_of_different_age_are_verified_together_and_cost_nothing_afterwards() {
    let (scene, pods) = three("ages", [1500, 60, 600]);
    scene.verified("ages", "weather", "weather").unwrap();
    scene.settle("ages", Duration::from_secs(2)).unwrap();
    let mut audit = scene.audit("ages").unwrap();
    // Signed again, one after the other, under newer leaves.
    for (_, address) in &pods {
        serve(scene, "ages", address, &card_of("weather", "ages"), 10);
        scene.looked("ages", &format!("weather@{address}"), 1).unwrap();
    }
    assert!(audit.writes().unwrap().is_empty(), "{:#?}", audit.writes());
    assert_eq!(outcome(&scene.get("agentcard", "ages", "weather").unwrap()), "Verified");
}

#[test]
fn one_bad_replica_among_good_ones_refuses_the_workload_and_is_named() {
    let (scene, pods) = three("one-bad", [60, 60, 60]);
    scene.verified("one-bad", "weather", "weather").unwrap();
    for (name, address) in &pods {
        let tampered = String::from_utf8(scene.honest("one-bad", "weather")).unwrap();
        let tampered = tampered.replace("Does one thing", "Does anything");
        scene.agents.serve_at("one-bad", "weather", address, tampered.as_bytes()).unwrap();
        let card = scene.refused("one-bad", "weather", "weather", "SignatureInvalid").unwrap();
        let message = card["status"]["verdict"]["message"].as_str().unwrap();
        assert!(message.contains(name.as_str()), "{message} does not name {name}");
        serve(scene, "one-bad", address, &card_of("weather", "one-bad"), 60);
        scene.verified("one-bad", "weather", "weather").unwrap();
    }
}

#[test]
fn a_replica_that_does_not_answer_decides_nothing_while_another_one_does_and_is_named() {
    let (scene, pods) = three("silent", [60, 60, 60]);
    scene.verified("silent", "weather", "weather").unwrap();
    let (name, address) = &pods[1];
    scene.agents.withdraw(&format!("silent@{address}"), "weather").unwrap();
    let says = |card: &Value| {
        let synced = countersign_cluster_tests::condition(card, "Synced")["message"].to_string();
        outcome(card) == "Verified" && synced.contains(name.as_str()) && synced.contains("FetchStatus")
    };
    scene.operator.wait_card("silent", "weather", "the silent replica by name", says).unwrap();
}

#[test]
fn a_rollout_to_another_card_refuses_nobody_and_the_old_card_does_not_come_back() {
    let (scene, team) = (scene("rolling"), "rolling");
    let pods = create(scene, team, 2);
    let old: Vec<u8> = scene.honest(team, "weather");
    for (_, address) in &pods {
        scene.agents.serve_at(team, "weather", address, &old).unwrap();
    }
    scene.verified(team, "weather", "weather").unwrap();
    let mut next = card_of("weather", team);
    next["version"] = json!("2.0.0");
    let over = &std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whatever the verdict was in between, it was never a refusal.
        let watching = scope.spawn(move || {
            while !over.load(std::sync::atomic::Ordering::Acquire) {
                let found = scene.get("agentcard", team, "weather").unwrap();
                assert_eq!(outcome(&found), "Verified", "{found:#}");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // One replica after the other, with looks in between, in which both contents are served.
        for (_, address) in &pods {
            serve(scene, team, address, &next, 20);
            for (_, address) in &pods {
                scene.looked(team, &format!("weather@{address}"), 2).unwrap();
            }
        }
        over.store(true, std::sync::atomic::Ordering::Release);
        watching.join().unwrap();
    });
    let digests = |card: &Value| card["status"]["verdict"]["contents"].as_array().map_or(0, Vec::len);
    scene.operator.wait_card(team, "weather", "one content", |card| digests(card) == 1).unwrap();
    scene.agents.serve_at(team, "weather", &pods[0].1, &old).unwrap();
    let card = scene.refused(team, "weather", "weather", "ReplayOlderCard").unwrap();
    let message = card["status"]["verdict"]["message"].as_str().unwrap();
    assert!(message.contains(&pods[0].0), "{message}");
}

#[test]
fn a_pod_that_copies_the_labels_of_an_agent_refuses_it_while_its_service_leads_there() {
    let (scene, _) = three("impostor", [60, 60, 60]);
    let team = "impostor";
    scene.verified(team, "weather", "weather").unwrap();
    let owner = |kind: &str, uid: &Value| json!([{ "apiVersion": "apps/v1", "kind": kind, "name": "weather", "uid": uid, "controller": true }]);
    let deployment = scene.get("deployment", team, "weather").unwrap();
    let impostors = [
        // Not labelled as an agent: no policy selects it.
        (json!({ "app": "weather" }), json!([]), "does not control"),
        // A Deployment controls Pods by its ReplicaSets alone.
        (
            json!({ "app": "weather", "kagenti.io/type": "agent" }),
            owner("Deployment", &deployment["metadata"]["uid"]),
            "does not control",
        ),
    ];
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "mallory", "namespace": team } });
    scene.rig.apply(&account.to_string()).unwrap();
    for (labels, owners, says) in impostors {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "impostor", "namespace": team, "labels": labels, "ownerReferences": owners },
            "spec": { "serviceAccountName": "mallory", "containers": [{ "name": "agent", "image": "none" }] },
        });
        scene.rig.apply(&pod.to_string()).unwrap();
        let card = scene.refused(team, "weather", "weather", "ServiceEndpointNotOwned").unwrap();
        let message = card["status"]["verdict"]["message"].as_str().unwrap();
        assert!(message.contains("impostor") && message.contains(says), "{message}");
        let found = scene.get("pod", team, "impostor").unwrap();
        assert!(found["metadata"]["labels"]["agent.kagenti.dev/verified-peer"].is_null(), "{found:#}");
        scene.delete("pod", team, "impostor").unwrap();
        scene.verified(team, "weather", "weather").unwrap();
    }
}

#[test]
fn an_address_that_somebody_wrote_into_a_slice_refuses_the_agent() {
    let (scene, pods) = three("slices", [60, 60, 60]);
    let team = "slices";
    scene.verified(team, "weather", "weather").unwrap();
    let uid = scene.get("pod", team, &pods[0].0).unwrap()["metadata"]["uid"].clone();
    for target in [Value::Null, json!({ "kind": "Pod", "name": pods[0].0, "namespace": team, "uid": uid })] {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": "planted", "namespace": team,
                "labels": { "kubernetes.io/service-name": "weather" } },
            "endpoints": [{ "addresses": ["10.99.200.200"], "conditions": { "ready": true }, "targetRef": target }],
            "ports": [{ "name": "", "port": 8000 }],
        });
        scene.rig.apply(&slice.to_string()).unwrap();
        let card = scene.refused(team, "weather", "weather", "ServiceEndpointNotOwned").unwrap();
        assert!(card["status"]["verdict"]["message"].as_str().unwrap().contains("10.99.200.200"), "{card:#}");
        scene.delete("endpointslice", team, "planted").unwrap();
        scene.verified(team, "weather", "weather").unwrap();
    }
}

#[test]
fn replicas_whose_leaves_have_ended_stay_verified_by_one_witness_where_that_is_allowed() {
    let (scene, team) = (witnessed("witness"), "witness");
    let pods = create(scene, team, 3);
    let card = card_of("weather", team);
    for ((_, address), age) in pods.iter().zip([600, 60, 300]) {
        serve(scene, team, address, &card, age);
    }
    scene.verified(team, "weather", "weather").unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    // Ended, and never seen before that: a replica that came late, and one that was asked by nobody else.
    for (index, (_, address)) in pods.iter().enumerate() {
        let svid = scene.authority.issue(team, "weather", -900, -120 - i64::try_from(index).unwrap());
        scene
            .agents
            .serve_at(team, "weather", address, &Agents::sign_for(&card, &svid, -300, 86_400))
            .unwrap();
    }
    let mut audit = scene.audit(team).unwrap();
    for (_, address) in &pods {
        scene.looked(team, &format!("weather@{address}"), 3).unwrap();
    }
    assert!(audit.writes().unwrap().is_empty(), "{:#?}", audit.writes());
    // Other content under such a leaf was never witnessed.
    let mut other = card;
    other["version"] = json!("2.0.0");
    let svid = scene.authority.issue(team, "weather", -900, -120);
    let forged = Agents::sign_for(&other, &svid, -300, 86_400);
    scene.agents.serve_at(team, "weather", &pods[1].1, &forged).unwrap();
    let card = scene.refused(team, "weather", "weather", "WitnessMissing").unwrap();
    assert!(card["status"]["verdict"]["message"].as_str().unwrap().contains(&pods[1].0), "{card:#}");
}
