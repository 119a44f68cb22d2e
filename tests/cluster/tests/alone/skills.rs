//! Skills that a workload names, in the status of its `AgentRuntime`: behind a gate of the cluster, and never in the way.

use crate::alone;
use countersign_cluster_tests::{Agents, condition, holds};
use serde_json::{Value, json};

#[test]
fn skills_of_a_workload_are_shown_behind_their_gate_and_a_bad_text_costs_nothing_else() {
    let (mut scene, team) = (alone(&["skilled", "countersign-system"]), "skilled");
    scene.start_again(&[]).unwrap();
    let mut items = Agents::manifests(team, "weather");
    items[0]["metadata"]["annotations"] = json!({ "kagenti.io/skills": "[\"translate\",\"sum up\"]" });
    items.push(json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": "weather", "namespace": team },
        "spec": { "type": "agent",
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } } }));
    scene.apply_all(&items).unwrap();
    let shown = || scene.get("agentruntime", team, "weather").unwrap();
    scene.rig.wait("enrolment", || Ok(holds(&shown(), "Ready"))).unwrap();
    assert!(shown()["status"]["linkedSkills"].is_null() && condition(&shown(), "SkillsLinked").is_null());

    let gates = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "kagenti-feature-gates", "namespace": "countersign-system" },
        "data": { "feature-gates.yaml": "globalEnabled: true\nskillDiscovery: true\n" } });
    scene.apply_all(&[gates]).unwrap();
    let annotate = |text: Value| {
        let change = json!({ "metadata": { "annotations": { "kagenti.io/skills": text } } });
        scene.patch("deployment", team, "weather", &change).unwrap();
    };
    let linked = |skills: Value| {
        let found = || Ok(shown()["status"]["linkedSkills"] == skills);
        scene.rig.wait("the skills", found).unwrap_or_else(|error| panic!("{error}: {:#}", shown()));
    };
    // The gates are read when something of the workload changes, or after some minutes.
    annotate(json!("[\"translate\", \"sum up\", \"plan\"]"));
    linked(json!(["translate", "sum up", "plan"]));
    assert!(holds(&shown(), "SkillsLinked"), "{:#}", shown());
    let before = scene.get("deployment", team, "weather").unwrap()["spec"]["template"].clone();
    annotate(json!("translate"));
    linked(Value::Null);
    let status = shown();
    assert_eq!(condition(&status, "SkillsLinked")["reason"], "SkillAnnotationParseError", "{status:#}");
    assert!(holds(&status, "Ready") && holds(&status, "TargetResolved"), "{status:#}");
    assert_eq!(scene.get("deployment", team, "weather").unwrap()["spec"]["template"], before);
    let told = || {
        let events = scene.list("events.events.k8s.io", team)?;
        let about = |event: &&Value| event["reason"] == "SkillAnnotationParseError";
        let notes = events.iter().filter(about).map(|event| event["note"].as_str().unwrap_or_default());
        Ok(notes.clone().count() == 1
            && notes.clone().all(|note| note.starts_with("Failed to parse kagenti.io/skills annotation: ")))
    };
    scene.rig.wait("an event", told).unwrap();
    // The name of after the renaming does the same.
    let change = json!({ "metadata": { "annotations": { "kagenti.io/skills": null, "rossoctl.io/skills": "[\"plan\"]" } } });
    scene.patch("deployment", team, "weather", &change).unwrap();
    linked(json!(["plan"]));
    scene.delete("agentruntime", team, "weather").unwrap();
    scene.delete("configmap", "countersign-system", "kagenti-feature-gates").unwrap();
}
