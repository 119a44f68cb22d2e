//! The process: there at once, gone at once, and never in the way of the agents.

use crate::alone;
use countersign_cluster_tests::{
    Agents, Operator, Scene, card_of, find, holds, is_open, look_every, outcome,
};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn probes_are_answered_before_the_api_server_is() {
    let scene = alone(&[]);
    let rig = scene.rig;
    rig.stop_component("apiserver").unwrap();
    let mut operator = Operator::start(rig, &[]).unwrap();
    rig.wait("an answer to the liveness probe", || operator.answers("/healthz")).unwrap();
    // Time itself is tested here: alive and not ready, for as long as it takes.
    std::thread::sleep(Duration::from_secs(3));
    assert!(operator.answers("/healthz").unwrap() && !operator.answers("/readyz").unwrap());
    assert!(operator.is_running().unwrap(), "{}", operator.log());
    rig.start_component("apiserver").unwrap();
    rig.wait_ready().unwrap();
    operator.wait_ready().unwrap();
    operator.stop().unwrap();
}

#[test]
fn without_the_kind_of_agentcards_agents_are_closed_and_it_is_said_what_is_missing() {
    let (scene, team) = (alone(&["no-kind"]), "no-kind");
    let rig = scene.rig;
    rig.kubectl(&["delete", "crd", "agentcards.agent.kagenti.dev"]).unwrap();
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.agents.create(team, &["weather"]).unwrap();
    let mut operator = Operator::start(rig, &[]).unwrap();
    let isolated =
        || Ok(scene.list("networkpolicies", team)?.iter().filter(|policy| !is_open(policy)).count() == 2);
    rig.wait("isolation", isolated).unwrap();
    assert!(operator.answers("/healthz").unwrap() && !operator.answers("/readyz").unwrap());
    assert!(operator.is_running().unwrap());
    assert!(operator.log().contains("agentcards"), "{}", operator.log());
    // It comes, and nobody restarts anything.
    rig.apply(include_str!("../../../../crds/agentcards.agent.kagenti.dev.yaml")).unwrap();
    operator.wait_ready().unwrap();
    operator
        .wait_card(team, "weather-deployment-card", "a verdict", |card| outcome(card) == "Verified")
        .unwrap();
    operator.stop().unwrap();
}

#[test]
fn a_replica_that_ends_hands_its_lease_to_the_other() {
    let (scene, team) = (alone(&["lease"]), "lease");
    let rig = scene.rig;
    let inside = rig.kubeconfig_inside();
    let start = |health: &str| Operator::start_with(rig, &inside, health, &["--leader-elect"]).unwrap();
    let holder = || -> String {
        let lease = find(rig, "lease", "countersign-system", "b7c4ae34.kagenti.dev");
        let lease = lease.ok().flatten().unwrap_or_default();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let first = start("127.0.0.1:18081");
    rig.wait("the first leader", || Ok(!holder().is_empty())).unwrap();
    let leader = holder();
    // Whoever waits for the lease watches all the same, and says what it lacks.
    let bundle = scene.bundle();
    scene.agents.publish(&Value::Null).unwrap();
    let second = start("127.0.0.1:18082");
    rig.wait("probes", || second.answers("/healthz")).unwrap();
    assert!(!second.answers("/readyz").unwrap());
    scene.agents.publish(&bundle).unwrap();
    second.wait_ready().unwrap();
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.agents.create(team, &["weather"]).unwrap();
    let verified = |card: &Value| outcome(card) == "Verified";
    first.wait_card(team, "weather-deployment-card", "a verified card", verified).unwrap();
    first.stop().unwrap();
    // It gave the lease up before it ended: nobody waits for the fifteen seconds after which one runs out.
    assert_ne!(holder(), leader);
    rig.wait("the second leader", || Ok(!holder().is_empty() && holder() != leader)).unwrap();
    scene.agents.serve(team, "weather", b"{}").unwrap();
    look_every(rig, 1, team, "weather-deployment-card").unwrap();
    second.wait_card(team, "weather-deployment-card", "a refusal", |card| !holds(card, "Ready")).unwrap();
    second.stop().unwrap();
}

#[test]
fn what_an_agent_runtime_enrolled_is_put_back_although_the_operator_was_down() {
    let (mut scene, team) = (alone(&["orphaned"]), "orphaned");
    scene.start_again(&[]).unwrap();
    let mut items = Agents::manifests(team, "weather");
    items[0]["metadata"]["labels"] = json!({ "app": "weather" });
    items[0]["spec"]["template"]["metadata"]["labels"] = json!({ "app": "weather" });
    items.push(json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": "weather", "namespace": team, "finalizers": ["kagenti.io/cleanup"] },
        "spec": { "type": "agent",
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } } }));
    scene.apply_all(&items).unwrap();
    let label = |scene: &Scene| {
        scene.get("deployment", team, "weather").unwrap()["metadata"]["labels"]["kagenti.io/type"].clone()
    };
    scene.rig.wait("the label", || Ok(label(&scene) == "agent")).unwrap();
    // One object goes while the finalizer of the existing operator holds it, the next one at once and without a trace.
    scene.kill().unwrap();
    let remove = ["delete", "agentruntime", "weather", "-n", team, "--wait=false", "--cascade=orphan"];
    scene.rig.kubectl(&remove).unwrap();
    scene.start_again(&[]).unwrap();
    scene
        .rig
        .wait("the end of the object", || Ok(scene.get("agentruntime", team, "weather")?.is_null()))
        .unwrap();
    scene.rig.wait("the workload as it was", || Ok(label(&scene).is_null())).unwrap();
    items[3]["metadata"]["finalizers"] = json!([]);
    scene.apply_all(&items).unwrap();
    scene.rig.wait("the label", || Ok(label(&scene) == "agent")).unwrap();
    scene.kill().unwrap();
    scene.rig.kubectl(&remove).unwrap();
    scene
        .rig
        .wait("the end of the object", || Ok(scene.get("agentruntime", team, "weather")?.is_null()))
        .unwrap();
    assert_eq!(label(&scene), "agent");
    scene.start_again(&[]).unwrap();
    scene.rig.wait("the workload as it was", || Ok(label(&scene).is_null())).unwrap();
}

#[test]
fn a_trust_domain_is_configured_and_never_guessed_from_a_bundle() {
    let (mut scene, team) = (alone(&["guessed"]), "guessed");
    scene.start_unready_again(&["--spire-trust-domain=", "--mode=audit"]).unwrap();
    scene.namespace(team, &json!({ "countersign.dev/mode": "enforce" })).unwrap();
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.refused(team, "weather", "weather", "TrustDomainUnknown").unwrap();
    let card = scene.get("agentcard", team, "weather").unwrap();
    assert!(!card["status"].to_string().contains("spiffe://keys"), "{card:#}");
    let told = scene.operator.log().matches("--spire-trust-domain is missing").count();
    assert_eq!(told, 1, "{}", scene.operator.log());
}

fn audit_mode_keeps_verdicts_and_writes_no_policy(flag: &str, team: &str, enforced: &str) {
    let mut scene = alone(&[team, enforced]);
    scene.start_again(&[flag]).unwrap();
    for namespace in [team, enforced] {
        scene.agent(namespace, "good", &scene.honest(namespace, "good")).unwrap();
        let foreign = scene.signed(&card_of("bad", namespace), namespace, "other");
        scene.agent(namespace, "bad", &foreign).unwrap();
    }
    let wait = |name: &str, reason: &'static str| {
        scene.operator.wait_card(team, name, reason, move |card| outcome(card) == reason).unwrap()
    };
    assert!(holds(&wait("good", "Verified"), "Ready"));
    let bad = wait("bad", "IdentityMismatch");
    assert!(holds(&bad, "Ready") && !holds(&bad, "Verified"), "{bad:#}");
    for name in ["good", "bad"] {
        scene.looked(team, name, 1).unwrap();
    }
    assert!(scene.list("networkpolicies", team).unwrap().is_empty());
    // One namespace may be stricter than the rest.
    scene.namespace(enforced, &json!({ "countersign.dev/mode": "enforce" })).unwrap();
    scene.verified(enforced, "good", "good").unwrap();
    scene.refused(enforced, "bad", "bad", "IdentityMismatch").unwrap();
    assert!(scene.list("networkpolicies", team).unwrap().is_empty());
}

#[test]
fn the_global_audit_mode_keeps_verdicts_and_writes_no_policy() {
    audit_mode_keeps_verdicts_and_writes_no_policy("--mode=audit", "audit", "audit-enforced");
}

#[test]
fn the_global_audit_mode_has_the_name_that_the_existing_operator_gave_it() {
    audit_mode_keeps_verdicts_and_writes_no_policy("--signature-audit-mode", "old-audit", "old-enforced");
}
