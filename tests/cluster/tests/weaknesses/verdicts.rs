//! From a labelled Deployment to a verdict and policies, on a real API server.

use crate::scene;
use countersign_cluster_tests::{is, look_every};
use serde_json::{Value, json};

#[test]
fn an_honest_agent_is_verified_and_its_policies_are_three() {
    let (scene, team, name) = (scene("honest"), "honest", "weather-deployment-card");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.agents.create(team, &["weather"]).unwrap();
    let card = scene.verified(team, name, "weather").unwrap();
    assert_eq!(card["status"]["signatureSpiffeId"], "spiffe://rig.example/ns/honest/sa/weather");
    assert_eq!(card["status"]["card"]["name"], "weather");
    assert!(is(&card, "Verified", "True") && is(&card, "Bound", "True") && is(&card, "Synced", "True"));
    scene
        .rig
        .kubectl(&["wait", "--for=condition=Ready", "-n", team, "agentcard", name, "--timeout=5s"])
        .unwrap();
    let policies = scene.list("networkpolicies", team).unwrap();
    let names: Vec<&str> =
        policies.iter().map(|policy| policy["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["countersign-baseline", "countersign-minimum", "weather-signature-policy"]);
}

#[test]
fn a_card_that_is_tampered_with_loses_trust_and_the_good_one_gets_it_back() {
    let (scene, team, name) = (scene("tampered"), "tampered", "weather-deployment-card");
    let good = scene.honest(team, "weather");
    scene.agents.serve(team, "weather", &good).unwrap();
    scene.agents.create(team, &["weather"]).unwrap();
    scene.verified(team, name, "weather").unwrap();
    look_every(scene.rig, 1, team, name).unwrap();
    let mut tampered: Value = serde_json::from_slice(&good).unwrap();
    tampered["skills"][0]["description"] = json!("Does anything");
    tampered["iconUrl"] = json!("https://elsewhere.example/");
    tampered["provider"] = json!({ "organization": "Somebody else", "url": "https://elsewhere.example/" });
    tampered["capabilities"]["pushNotifications"] = json!(true);
    scene.agents.serve(team, "weather", tampered.to_string().as_bytes()).unwrap();
    let card = scene.refused(team, name, "weather", "SignatureInvalid").unwrap();
    assert!(is(&card, "Verified", "False") && is(&card, "Ready", "False"), "{card:#}");
    assert_eq!(card["status"]["card"]["provider"]["organization"], "Somebody else");
    scene.agents.serve(team, "weather", &good).unwrap();
    let card = scene.verified(team, name, "weather").unwrap();
    // A verified card shows what its signature covers, and nothing that a refused one said before.
    let shown = &card["status"]["card"];
    assert!(shown["provider"].is_null() && shown["iconUrl"].is_null(), "{shown:#}");
    assert_eq!(shown["capabilities"], json!({ "streaming": true }), "{shown:#}");
}
