//! What the cluster says before there is a card to judge: no agent, no protocol, a pause.

use crate::scene;
use countersign_cluster_tests::{Agents, holds, outcome, user_card};
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
fn a_label_in_the_pod_template_alone_is_named_with_the_place_where_it_belongs() {
    let (scene, team) = (scene("template-alone"), "template-alone");
    let mut items = Agents::manifests(team, "weather");
    let labels = items[0]["metadata"]["labels"].as_object_mut().unwrap();
    labels.remove("kagenti.io/type").unwrap();
    scene.apply_all(&items).unwrap();
    scene.apply_all(&[user_card(team, "weather", "weather")]).unwrap();
    let refused = |card: &Value| outcome(card) == "NotAgentWorkload";
    let card = scene.operator.wait_card(team, "weather", "a refusal", refused).unwrap();
    let message = card["status"]["verdict"]["message"].as_str().unwrap();
    assert!(
        message.contains("kagenti.io/type: agent is in the Pod template alone")
            && message.contains("add it to metadata.labels of the workload too"),
        "{message}"
    );
}

#[test]
fn a_workload_that_names_no_protocol_is_told_of_once_where_no_agent_card_tells_it() {
    let (scene, team) = (scene("unnamed-protocol"), "unnamed-protocol");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    let without = |object: Value| {
        serde_json::from_str(&object.to_string().replace("protocol.kagenti.io/a2a", "example.org/a2a"))
            .unwrap()
    };
    let items: Vec<Value> = Agents::manifests(team, "weather").into_iter().map(without).collect();
    scene.apply_all(&items).unwrap();
    let told = || {
        let events = scene.list("events.events.k8s.io", team).unwrap();
        let about = |event: &&Value| {
            event["reason"] == "ProtocolMissing" && event["regarding"]["kind"] == "Deployment"
        };
        events
            .iter()
            .filter(about)
            .map(|event| event["note"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    scene.rig.wait("an event about the label", || Ok(!told().is_empty())).unwrap();
    assert!(told()[0].contains(". Add the label protocol.kagenti.io/a2a"), "{:?}", told());
    assert!(scene.list("agentcard", team).unwrap().is_empty());
    // Another turn says nothing new.
    let note = |text: &str| json!({ "metadata": { "annotations": { "note": text } } });
    for text in ["one", "two"] {
        scene.patch("deployment", team, "weather", &note(text)).unwrap();
        let pods = scene.pods(team, "weather").unwrap();
        scene.patch("pod", team, &pods[0].0, &note(text)).unwrap();
    }
    scene.settle(team, std::time::Duration::from_secs(3)).unwrap();
    assert_eq!(told().len(), 1, "{:?}", told());
    let label = json!({ "metadata": { "labels": { "protocol.kagenti.io/a2a": "" } } });
    scene.patch("deployment", team, "weather", &label).unwrap();
    scene.verified(team, "weather-deployment-card", "weather").unwrap();
}

#[test]
fn an_agent_of_the_newer_name_is_enrolled_and_moves_to_the_other_without_a_gap() {
    let (scene, team) = (scene("renamed"), "renamed");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    let renamed = |object: Value| {
        let text = object.to_string().replace("protocol.kagenti.io/", "protocol.rossoctl.io/");
        serde_json::from_str(&text.replace("kagenti.io/type", "rossoctl.io/type")).unwrap()
    };
    let items: Vec<Value> = Agents::manifests(team, "weather").into_iter().map(renamed).collect();
    scene.apply_all(&items).unwrap();
    let card = "weather-deployment-card";
    scene.verified(team, card, "weather").unwrap();
    let isolating = |suffix: &str| ["baseline", "minimum"].map(|role| format!("countersign-{role}{suffix}"));
    for name in isolating("-rossoctl") {
        let policy = scene.get("networkpolicy", team, &name).unwrap();
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"], json!({ "rossoctl.io/type": "agent" }));
    }
    let told = |event: &Value| event["note"].as_str().unwrap_or("").contains("rossoctl.io/type");
    scene
        .rig
        .wait("an event that names the label", || {
            Ok(scene.list("events.events.k8s.io", team)?.iter().any(told))
        })
        .unwrap();
    // Both labels that agree are one agent, and the older one beside it never closes the card.
    let labels = |of: Value| json!({ "metadata": { "labels": of } });
    scene.patch("deployment", team, "weather", &labels(json!({ "kagenti.io/type": "agent" }))).unwrap();
    scene
        .rig
        .wait("policies of the older label", || {
            let names: Vec<Value> = scene
                .list("networkpolicy", team)?
                .iter()
                .map(|one| one["metadata"]["name"].clone())
                .collect();
            Ok(isolating("").iter().all(|name| names.contains(&json!(name))))
        })
        .unwrap();
    scene.verified(team, card, "weather").unwrap();
    let uid = scene.get("agentcard", team, card).unwrap()["metadata"]["uid"].clone();
    scene
        .patch(
            "deployment",
            team,
            "weather",
            &labels(json!({ "rossoctl.io/type": null, "protocol.rossoctl.io/a2a": null, "protocol.kagenti.io/a2a": "" })),
        )
        .unwrap();
    scene.looked(team, "weather", 2).unwrap();
    scene.verified(team, card, "weather").unwrap();
    assert_eq!(scene.get("agentcard", team, card).unwrap()["metadata"]["uid"], uid);
}

#[test]
fn labels_of_both_names_that_disagree_are_refused() {
    let (scene, team) = (scene("two-names"), "two-names");
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let labels = |kind: Value| json!({ "metadata": { "labels": { "rossoctl.io/type": kind } } });
    scene.patch("deployment", team, "weather", &labels(json!("tool"))).unwrap();
    scene.refused(team, "weather", "weather", "LabelsConflict").unwrap();
    scene.patch("deployment", team, "weather", &labels(json!("agent"))).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn an_agent_card_of_the_newer_group_is_told_of() {
    let (scene, team) = (scene("renamed-group"), "renamed-group");
    let names = json!({ "kind": "AgentCard", "listKind": "AgentCardList", "plural": "agentcards", "singular": "agentcard" });
    let schema =
        json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "agentcards.agent.rossoctl.dev" },
        "spec": { "group": "agent.rossoctl.dev", "names": names, "scope": "Namespaced",
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": schema }] },
    });
    scene.rig.apply(&definition.to_string()).unwrap();
    let card = json!({
        "apiVersion": "agent.rossoctl.dev/v1alpha1", "kind": "AgentCard",
        "metadata": { "name": "weather", "namespace": team }, "spec": {},
    });
    scene.rig.wait("the kind to be served", || Ok(scene.rig.apply(&card.to_string()).is_ok())).unwrap();
    let told = |event: &Value| {
        event["reason"] == "NotServed"
            && event["regarding"]["apiVersion"] == "agent.rossoctl.dev/v1alpha1"
            && event["note"].as_str().unwrap_or("").ends_with("and delete it here.")
    };
    scene
        .rig
        .wait("an event about the group", || Ok(scene.list("events.events.k8s.io", team)?.iter().any(told)))
        .unwrap();
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
    // A pair for each label of agents, since the first agent may carry either.
    let pairs = [
        "countersign-baseline",
        "countersign-baseline-rossoctl",
        "countersign-minimum",
        "countersign-minimum-rossoctl",
    ];
    scene.rig.wait("the isolation of the namespace", || Ok(names() == pairs)).unwrap();
    // Audit mode isolates nobody, whatever else the namespace says.
    enrol("countersign.dev/mode=audit");
    scene.rig.wait("the isolation to go", || Ok(names().is_empty())).unwrap();
    enrol("countersign.dev/mode-");
    scene.rig.wait("the isolation to come back", || Ok(names() == pairs)).unwrap();
    scene.delete("networkpolicy", team, "countersign-baseline").unwrap();
    scene.rig.wait("the isolation to be restored", || Ok(names() == pairs)).unwrap();
    enrol("countersign.dev/enrolled-");
    scene.rig.wait("the isolation to go", || Ok(names().is_empty())).unwrap();
}
