//! From a labelled Deployment to a verdict and policies, on a real API server.

use crate::{alone, scene};
use countersign_cluster_tests::{
    Agents, Authority, TRUST_DOMAIN, bundle_json, card_of, is, look_every, outcome, user_card,
};
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
    let tampered = String::from_utf8(good.clone()).unwrap().replace("Does one thing", "Does anything");
    scene.agents.serve(team, "weather", tampered.as_bytes()).unwrap();
    let card = scene.refused(team, name, "weather", "SignatureInvalid").unwrap();
    assert!(is(&card, "Verified", "False") && is(&card, "Ready", "False"), "{card:#}");
    scene.agents.serve(team, "weather", &good).unwrap();
    scene.verified(team, name, "weather").unwrap();
}

#[test]
fn all_that_an_old_root_vouched_for_loses_trust_when_it_goes_and_not_before() {
    let (mut scene, team) = (alone(&["roots"]), "roots");
    scene.start_again(&[]).unwrap();
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.agents.serve(team, "silent", &scene.honest(team, "silent")).unwrap();
    let mut asked = user_card(team, "silent", "silent");
    asked["spec"]["syncPeriod"] = json!("1h");
    scene.rig.apply(&asked.to_string()).unwrap();
    scene.agents.create(team, &["silent"]).unwrap();
    for name in ["weather", "silent"] {
        scene.verified(team, name, name).unwrap();
    }

    // The root is replaced while the agent still serves what the old one vouched for.
    let next = Authority::new(TRUST_DOMAIN);
    scene.agents.publish(&bundle_json(&[&scene.authority, &next], 2)).unwrap();
    // One that only the new root vouches for tells that the bundle has arrived.
    let by_the_new = Agents::sign(&card_of("new", team), &next.issue(team, "new", -60, 3600));
    scene.agent(team, "new", &by_the_new).unwrap();
    scene.verified(team, "new", "new").unwrap();
    scene.looked(team, "weather", 1).unwrap();
    for name in ["weather", "silent"] {
        let card = scene.get("agentcard", team, name).unwrap();
        assert!(is(&card, "Ready", "True") && is(&card, "Verified", "True"), "in the overlap: {card:#}");
    }
    // One will not answer any more, which nobody notices for an hour.
    scene.agents.withdraw(team, "silent").unwrap();
    scene.agents.hang(team, "silent").unwrap();
    scene.agents.publish(&bundle_json(&[&next], 3)).unwrap();
    let told = |name: &str| -> Vec<String> {
        let events = scene.list("events.events.k8s.io", team).unwrap();
        let about = events
            .iter()
            .filter(|event| event["regarding"]["kind"] == "AgentCard" && event["regarding"]["name"] == name);
        about.filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect()
    };
    for name in ["weather", "silent"] {
        let refused = |card: &Value| outcome(card) != "Verified";
        scene.operator.wait_card(team, name, "a refusal", refused).unwrap();
        // It is judged by what is at hand: that it does not answer is found out seconds later.
        let by_the_root = || Ok(told(name).iter().any(|reason| reason == "AnchorUnknown"));
        scene.rig.wait("the event that tells why", by_the_root).unwrap();
    }
    scene.policy_is(team, "weather", "AnchorUnknown").unwrap();
}
