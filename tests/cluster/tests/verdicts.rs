//! From a labelled Deployment to a verdict and policies, on a real API server.

use countersign_cluster_tests::{
    Agents, Authority, Operator, TRUST_DOMAIN, bundle_json, card_of, is, list, look_every, reason, user_card,
};
use countersign_rig::Rig;
use serde_json::{Value, json};

fn policies(rig: &Rig, namespace: &str) -> Vec<Value> {
    list(rig, "networkpolicies", namespace).unwrap()
}

fn policy_reason(rig: &Rig, namespace: &str, name: &str) -> String {
    let found = policies(rig, namespace).into_iter().find(|policy| policy["metadata"]["name"] == name);
    let found = found.unwrap_or_default();
    found["metadata"]["annotations"]["agent.kagenti.dev/reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_honest_agent_is_verified_and_loses_trust_with_its_card_or_its_root() {
    let rig = Rig::control_plane().unwrap();
    let authority = Authority::new(TRUST_DOMAIN);
    let agents = Agents::new(&rig, &["team"], &authority).unwrap();
    let svid = authority.issue("team", "weather", -60, 3600);
    let good = Agents::sign(&card_of("weather", "team"), &svid);
    agents.serve("team", "weather", &good).unwrap();
    let operator = Operator::start(&rig, &[]).unwrap();
    operator.wait_ready().unwrap();
    agents.create("team", &["weather"]).unwrap();
    let name = "weather-deployment-card";
    let card = operator.wait_card("team", name, "a verified card", |card| is(card, "Ready", "True")).unwrap();
    assert_eq!(card["status"]["signatureSpiffeId"], "spiffe://rig.example/ns/team/sa/weather");
    assert_eq!(card["status"]["card"]["name"], "weather");
    assert!(is(&card, "Verified", "True") && is(&card, "Bound", "True") && is(&card, "Synced", "True"));
    rig.wait(
        "an opened policy",
        || Ok(policy_reason(&rig, "team", "weather-signature-policy") == "Verified"),
    )
    .unwrap();
    rig.kubectl(&["wait", "--for=condition=Ready", "-n", "team", "agentcard", name, "--timeout=5s"]).unwrap();
    let names: Vec<String> = policies(&rig, "team")
        .iter()
        .map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["countersign-baseline", "countersign-minimum", "weather-signature-policy"]);

    // Tampered with after signing.
    look_every(&rig, 1, "team", name).unwrap();
    let tampered = String::from_utf8(good.clone()).unwrap().replace("Does one thing", "Does anything");
    agents.serve("team", "weather", tampered.as_bytes()).unwrap();
    let card = operator.wait_card("team", name, "a refusal", |card| is(card, "Ready", "False")).unwrap();
    assert_eq!(reason(&card), "SignatureInvalid");
    assert!(is(&card, "Verified", "False"));
    rig.wait("a closed policy", || {
        Ok(policy_reason(&rig, "team", "weather-signature-policy") == "SignatureInvalid")
    })
    .unwrap();

    // Honest again.
    agents.serve("team", "weather", &good).unwrap();
    operator.wait_card("team", name, "trust again", |card| is(card, "Ready", "True")).unwrap();

    // Another agent will not answer any more, which nobody notices for an hour.
    let silent = Agents::sign(&card_of("silent", "team"), &authority.issue("team", "silent", -60, 3600));
    agents.serve("team", "silent", &silent).unwrap();
    let mut asked = user_card("team", "silent", "silent");
    asked["spec"]["syncPeriod"] = json!("1h");
    rig.apply(&asked.to_string()).unwrap();
    agents.create("team", &["silent"]).unwrap();
    operator.wait_card("team", "silent", "trust", |card| is(card, "Ready", "True")).unwrap();
    agents.withdraw("team", "silent").unwrap();
    agents.hang("team", "silent").unwrap();

    // The root is replaced while the agent still serves what the old one vouched for.
    let next = Authority::new(TRUST_DOMAIN);
    agents.publish(&bundle_json(&[&authority, &next], 2)).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let card =
        operator.wait_card("team", name, "trust in the overlap", |card| is(card, "Ready", "True")).unwrap();
    assert!(is(&card, "Verified", "True"));
    agents.publish(&bundle_json(&[&next], 3)).unwrap();
    for name in [name, "silent"] {
        let card = operator.wait_card("team", name, "a refusal", |card| is(card, "Ready", "False")).unwrap();
        assert_eq!(reason(&card), "AnchorUnknown", "{name} is judged by what is at hand");
    }
    rig.wait("a closed policy", || {
        Ok(policy_reason(&rig, "team", "weather-signature-policy") == "AnchorUnknown")
    })
    .unwrap();
    operator.stop().unwrap();
}
