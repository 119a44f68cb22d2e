//! What the cluster says before there is a card to judge: no agent, no protocol, a pause.

use crate::scene;
use countersign_cluster_tests::{holds, outcome};
use serde_json::{Value, json};

#[test]
fn a_workload_that_is_no_agent_any_more_loses_trust() {
    let (scene, team) = (scene("no-agent"), "no-agent");
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let labels = |kind: Value| json!({ "metadata": { "labels": { "kagenti.io/type": kind } } });
    scene.patch("deployment", team, "weather", &labels(Value::Null)).unwrap();
    let refused = |card: &Value| outcome(card) == "NotAgentWorkload";
    let card = scene.operator.wait_card(team, "weather", "a refusal", refused).unwrap();
    assert!(!holds(&card, "Ready") && !holds(&card, "Verified") && !holds(&card, "Bound"), "{card:#}");
    scene.patch("deployment", team, "weather", &labels(json!("agent"))).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn an_agent_without_a_protocol_loses_trust() {
    let (scene, team) = (scene("no-protocol"), "no-protocol");
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let labels = |other: Value, a2a: Value| json!({ "metadata": { "labels": { "protocol.kagenti.io/a2a": a2a, "protocol.kagenti.io/other": other } } });
    scene.patch("deployment", team, "weather", &labels(Value::Null, Value::Null)).unwrap();
    scene.refused(team, "weather", "weather", "ProtocolMissing").unwrap();
    scene.patch("deployment", team, "weather", &labels(json!(""), Value::Null)).unwrap();
    let names_it =
        |card: &Value| card["status"]["verdict"]["message"].as_str().unwrap_or("").contains("other");
    scene.operator.wait_card(team, "weather", "the protocol's name", names_it).unwrap();
    scene.patch("deployment", team, "weather", &labels(Value::Null, json!(""))).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn a_paused_card_is_not_fetched_and_keeps_what_was_proven() {
    let (scene, team) = (scene("paused"), "paused");
    for name in ["weather", "other"] {
        scene.agent(team, name, &scene.honest(team, name)).unwrap();
    }
    scene.verified(team, "weather", "weather").unwrap();
    let pause = |paused: bool| json!({ "spec": { "paused": paused } });
    scene.patch("agentcard", team, "weather", &pause(true)).unwrap();
    let paused = |card: &Value| card["status"]["observedGeneration"] == card["metadata"]["generation"];
    scene.operator.wait_card(team, "weather", "the pause", paused).unwrap();
    scene.agents.withdraw(team, "weather").unwrap();
    let asked = scene.agents.asked(team, "weather");
    // As often as another one is looked at, this one would be too.
    scene.looked(team, "other", 3).unwrap();
    assert_eq!(scene.agents.asked(team, "weather"), asked, "a paused card was fetched");
    scene.verified(team, "weather", "weather").unwrap();
    scene.patch("agentcard", team, "weather", &pause(false)).unwrap();
    scene.refused(team, "weather", "weather", "FetchStatus").unwrap();
    // With nothing proven there is nothing to keep.
    scene.patch("agentcard", team, "weather", &pause(true)).unwrap();
    scene.refused(team, "weather", "weather", "CardPaused").unwrap();
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.patch("agentcard", team, "weather", &pause(false)).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn an_enrolled_namespace_is_isolated_before_its_first_agent() {
    let (scene, team) = (scene("enrolled"), "enrolled");
    let names = || -> Vec<String> {
        let policies = scene.list("networkpolicies", team).unwrap();
        policies.iter().map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let enrol = |value: &str| {
        scene.rig.kubectl(&["label", "namespace", team, "--overwrite", value]).unwrap();
    };
    assert_eq!(names(), [""; 0]);
    enrol("countersign.dev/enrolled=true");
    let pair = ["countersign-baseline", "countersign-minimum"];
    scene.rig.wait("the isolation of the namespace", || Ok(names() == pair)).unwrap();
    // Audit mode isolates nobody, whatever else the namespace says.
    enrol("countersign.dev/mode=audit");
    scene.rig.wait("the isolation to go", || Ok(names().is_empty())).unwrap();
    enrol("countersign.dev/mode-");
    scene.rig.wait("the isolation to come back", || Ok(names() == pair)).unwrap();
    scene.delete("networkpolicy", team, "countersign-baseline").unwrap();
    scene.rig.wait("the isolation to be restored", || Ok(names() == pair)).unwrap();
    enrol("countersign.dev/enrolled-");
    scene.rig.wait("the isolation to go", || Ok(names().is_empty())).unwrap();
}
