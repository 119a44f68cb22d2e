//! The ConfigMap `<agent>-card-signed` carries a signature for a card that its workload serves, and nothing else.

use crate::scene;
use countersign_cluster_tests::{Scene, card_of};
use serde_json::{Value, json};

/// Puts a signed card beside a workload; `owned` by it or by nobody.
fn deliver(scene: &Scene, team: &str, name: &str, card: &[u8], owned: bool) {
    let mut map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": format!("{name}-card-signed"), "namespace": team },
        "data": { "signed-agent-card.json": String::from_utf8(card.to_vec()).unwrap() },
    });
    if owned {
        let uid = scene.get("deployment", team, name).unwrap()["metadata"]["uid"].clone();
        map["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid }]);
    }
    scene.rig.apply(&map.to_string()).unwrap();
}

#[test]
fn a_planted_config_map_never_beats_the_live_card() {
    let (scene, team) = (scene("planted-live"), "planted-live");
    let honest = scene.honest(team, "weather");
    let mut tampered: Value = serde_json::from_slice(&honest).unwrap();
    tampered["description"] = json!("Another one");
    scene.agent(team, "weather", tampered.to_string().as_bytes()).unwrap();
    scene.refused(team, "weather", "weather", "SignatureInvalid").unwrap();
    // A good card in the ConfigMap does not help a workload that serves a bad one, whoever owns it.
    deliver(scene, team, "weather", &honest, true);
    scene.looked(team, "weather", 2).unwrap();
    scene.refused(team, "weather", "weather", "SignatureInvalid").unwrap();
    // And a bad one does not harm a workload that serves a good one.
    scene.agents.serve(team, "weather", &honest).unwrap();
    deliver(scene, team, "weather", tampered.to_string().as_bytes(), false);
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn a_planted_config_map_without_its_owner_signs_nothing() {
    let (scene, team) = (scene("planted"), "planted");
    let card = card_of("weather", team);
    scene.agent(team, "weather", card.to_string().as_bytes()).unwrap();
    scene.refused(team, "weather", "weather", "CardUnsigned").unwrap();
    deliver(scene, team, "weather", &scene.signed(&card, team, "weather"), false);
    scene.refused(team, "weather", "weather", "SourceNotOwned").unwrap();
}

#[test]
fn a_delivered_signature_counts_for_the_card_that_the_workload_serves_and_no_other() {
    let (scene, team) = (scene("delivered"), "delivered");
    let card = card_of("weather", team);
    scene.agent(team, "weather", card.to_string().as_bytes()).unwrap();
    scene.refused(team, "weather", "weather", "CardUnsigned").unwrap();
    deliver(scene, team, "weather", &scene.signed(&card, team, "weather"), true);
    scene.verified(team, "weather", "weather").unwrap();

    let mut other = card.clone();
    other["skills"][0]["description"] = json!("Does anything");
    scene.agents.serve(team, "weather", other.to_string().as_bytes()).unwrap();
    scene.refused(team, "weather", "weather", "SignatureInvalid").unwrap();

    // What the signed form leaves out is judged in the card that callers get, not in the one that was delivered.
    let mut more = card.clone();
    more["url"] = json!("https://attacker.example/");
    scene.agents.serve(team, "weather", more.to_string().as_bytes()).unwrap();
    scene.refused(team, "weather", "weather", "UncoveredSecurityMember").unwrap();
    more = card.clone();
    more["x-note"] = json!("decides nothing");
    scene.agents.serve(team, "weather", more.to_string().as_bytes()).unwrap();
    scene.verified(team, "weather", "weather").unwrap();

    // Back to what was signed, then the ConfigMap goes: nothing of it is remembered.
    scene.agents.serve(team, "weather", card.to_string().as_bytes()).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    scene.delete("configmap", team, "weather-card-signed").unwrap();
    scene.refused(team, "weather", "weather", "CardUnsigned").unwrap();
}
