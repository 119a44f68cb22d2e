//! The process: there at once, gone at once, and never in the way of the agents.

use countersign_cluster_tests::{
    Agents, Authority, Operator, Scene, TRUST_DOMAIN, bundle_json, card_of, holds, look_every, outcome,
};
use countersign_rig::Rig;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn probes_are_answered_before_the_api_server_is_and_no_longer_wait_than_it() {
    let rig = Rig::control_plane().unwrap();
    let authority = Authority::new(TRUST_DOMAIN);
    let agents = Agents::new(&rig, &[], &authority).unwrap();
    rig.stop_component("apiserver").unwrap();
    let started = Instant::now();
    let mut operator = Operator::start(&rig, &[]).unwrap();
    rig.wait("an answer to the liveness probe", || operator.answers("/healthz")).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    std::thread::sleep(Duration::from_secs(3));
    // Alive and not ready, for as long as it takes.
    assert!(operator.answers("/healthz").unwrap() && !operator.answers("/readyz").unwrap());
    assert!(operator.is_running().unwrap(), "{}", operator.log());
    rig.start_component("apiserver").unwrap();
    rig.wait_ready().unwrap();
    operator.wait_ready().unwrap();
    operator.stop().unwrap();

    // With an API server that answers, nothing is waited for one after the other.
    let started = Instant::now();
    let operator = Operator::start(&rig, &[]).unwrap();
    operator.wait_ready().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    operator.stop().unwrap();
    drop(agents);
    rig.down().unwrap();
}

#[test]
fn without_the_kind_of_agentcards_agents_are_closed_and_it_is_said_what_is_missing() {
    let rig = Rig::control_plane().unwrap();
    let authority = Authority::new(TRUST_DOMAIN);
    let agents = Agents::new(&rig, &["team"], &authority).unwrap();
    let definition = ["delete", "crd", "agentcards.agent.kagenti.dev"];
    rig.kubectl(&definition).unwrap();
    let svid = authority.issue("team", "weather", -60, 3600);
    agents.serve("team", "weather", &Agents::sign(&card_of("weather", "team"), &svid)).unwrap();
    agents.create("team", &["weather"]).unwrap();
    let mut operator = Operator::start(&rig, &[]).unwrap();
    let isolated = || {
        let policies = countersign_cluster_tests::list(&rig, "networkpolicies", "team")?;
        Ok(policies.iter().filter(|policy| !countersign_cluster_tests::is_open(policy)).count() == 2)
    };
    rig.wait("isolation", isolated).unwrap();
    assert!(operator.answers("/healthz").unwrap() && !operator.answers("/readyz").unwrap());
    assert!(operator.is_running().unwrap());
    assert!(operator.log().contains("agentcards"), "{}", operator.log());
    // It comes, and nobody restarts anything.
    rig.apply(include_str!("../../../../crds/agentcards.agent.kagenti.dev.yaml")).unwrap();
    operator.wait_ready().unwrap();
    operator
        .wait_card("team", "weather-deployment-card", "a verdict", |card| outcome(card) == "Verified")
        .unwrap();
    operator.stop().unwrap();
    drop(agents);
    rig.down().unwrap();
}

#[test]
fn a_replica_that_ends_hands_its_lease_to_the_other() {
    let rig = Rig::control_plane().unwrap();
    let authority = Authority::new(TRUST_DOMAIN);
    let agents = Agents::new(&rig, &["team"], &authority).unwrap();
    let inside = rig.kubeconfig_inside();
    let start = |health: &str| Operator::start_with(&rig, &inside, health, &["--leader-elect"]).unwrap();
    let holder = || -> String {
        let lease = [
            "get",
            "lease",
            "-n",
            "countersign-system",
            "b7c4ae34.kagenti.dev",
            "-o",
            "jsonpath={.spec.holderIdentity}",
        ];
        rig.kubectl(&lease).unwrap_or_default()
    };
    let first = start("127.0.0.1:18081");
    rig.wait("the first leader", || Ok(!holder().is_empty())).unwrap();
    let leader = holder();
    let second = start("127.0.0.1:18082");
    let svid = authority.issue("team", "weather", -60, 3600);
    agents.serve("team", "weather", &Agents::sign(&card_of("weather", "team"), &svid)).unwrap();
    agents.create("team", &["weather"]).unwrap();
    let verified = |card: &Value| outcome(card) == "Verified";
    first.wait_card("team", "weather-deployment-card", "a verified card", verified).unwrap();
    let took = first.stop().unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let ended = Instant::now();
    rig.wait("the second leader", || Ok(!holder().is_empty() && holder() != leader)).unwrap();
    // A lease that runs out takes 15 s.
    assert!(ended.elapsed() < Duration::from_secs(8), "{:?}", ended.elapsed());
    agents.serve("team", "weather", b"{}").unwrap();
    look_every(&rig, 1, "team", "weather-deployment-card").unwrap();
    second.wait_card("team", "weather-deployment-card", "a refusal", |card| !holds(card, "Ready")).unwrap();
    second.stop().unwrap();
    drop(agents);
    rig.down().unwrap();
}

#[test]
fn a_trust_domain_is_configured_and_never_guessed_from_a_bundle() {
    let scene = Scene::start_unready(&["--spire-trust-domain="]).unwrap();
    scene.namespace("team", &json!({})).unwrap();
    scene.agent("team", "weather", &scene.honest("team", "weather")).unwrap();
    scene.refused("team", "weather", "weather", "TrustDomainUnknown").unwrap();
    let card = scene.get("agentcard", "team", "weather").unwrap();
    assert!(!card["status"].to_string().contains("spiffe://keys"), "{card:#}");
}

#[test]
fn the_global_audit_mode_keeps_verdicts_and_writes_no_policy() {
    for flag in ["--mode=audit", "--signature-audit-mode"] {
        let scene = Scene::start(&[flag]).unwrap();
        for namespace in ["team", "enforced"] {
            scene.namespace(namespace, &json!({})).unwrap();
            scene.agent(namespace, "good", &scene.honest(namespace, "good")).unwrap();
            let foreign = scene.signed(&card_of("bad", namespace), namespace, "other");
            scene.agent(namespace, "bad", &foreign).unwrap();
        }
        let wait = |name: &str, reason: &'static str| {
            scene.operator.wait_card("team", name, reason, move |card| outcome(card) == reason).unwrap()
        };
        assert!(holds(&wait("good", "Verified"), "Ready"));
        let bad = wait("bad", "IdentityMismatch");
        assert!(holds(&bad, "Ready") && !holds(&bad, "Verified"), "{bad:#}");
        scene.settle(Duration::from_secs(1)).unwrap();
        assert!(scene.list("networkpolicies", "team").unwrap().is_empty());
        // One namespace may be stricter than the rest.
        scene.namespace("enforced", &json!({ "countersign.dev/mode": "enforce" })).unwrap();
        scene.verified("enforced", "good", "good").unwrap();
        scene.refused("enforced", "bad", "bad", "IdentityMismatch").unwrap();
        assert!(scene.list("networkpolicies", "team").unwrap().is_empty());
        scene.stop().unwrap();
    }
}

#[test]
fn a_restart_with_a_new_root_refuses_all_agents_in_one_pass() {
    let mut scene = Scene::start(&[]).unwrap();
    scene.namespace("team", &json!({})).unwrap();
    let names: Vec<String> = (0..49).map(|number| format!("agent-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        scene.agents.serve("team", name, &scene.honest("team", name)).unwrap();
    }
    let count = |scene: &Scene, wanted: &str| {
        scene.list("agentcards", "team").unwrap().iter().filter(|card| outcome(card) == wanted).count()
    };
    let open = |scene: &Scene| {
        let policies = scene.list("networkpolicies", "team").unwrap();
        policies.iter().filter(|policy| countersign_cluster_tests::is_open(policy)).count()
    };
    let started = Instant::now();
    scene.agents.create("team", &names).unwrap();
    scene
        .rig
        .wait("49 verified agents", || Ok(count(&scene, "Verified") == 49 && open(&scene) == 49))
        .unwrap();
    let first = started.elapsed();

    // Restarted with nothing changed, it writes nothing: every verdict is what it was.
    scene.restart(&[]).unwrap();
    scene.settle(Duration::from_secs(3)).unwrap();
    assert_eq!((count(&scene, "Verified"), open(&scene)), (49, 49));

    // The root is replaced while nobody looks.
    scene.kill().unwrap();
    scene.agents.publish(&bundle_json(&[&Authority::new(TRUST_DOMAIN)], 2)).unwrap();
    let mut audit = scene.audit().unwrap();
    let restarted = Instant::now();
    scene.start_again(&[]).unwrap();
    scene
        .rig
        .wait("49 refused agents", || Ok(count(&scene, "AnchorUnknown") == 49 && open(&scene) == 0))
        .unwrap();
    let refused = restarted.elapsed();
    assert!(refused < first.max(Duration::from_secs(5)) * 2, "{refused:?} after {first:?}");
    scene.settle(Duration::from_secs(2)).unwrap();
    let writes = audit.writes().unwrap();
    // One pass: each card's status, policy and event once.
    for resource in ["agentcards/status", "networkpolicies", "events"] {
        let about = writes.iter().filter(|write| write.resource == resource).count();
        assert!(about <= 49, "{about} of {resource}");
    }
    scene.stop().unwrap();
}
