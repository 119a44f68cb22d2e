//! Faults of the API server that pass by themselves: conditions and verdicts stand through a short one, and a long one is
//! told of.

use countersign_cluster_tests::{Scene, card_of, condition, is, is_open, outcome};
use countersign_rig::{Fault, FaultProxy, Rule};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const TEAM: &str = "team";
/// A fault that is over before anybody is told of it: the operator waits for 10 s.
const SHORT: Duration = Duration::from_secs(5);
/// A fault of which everybody has been told by its end.
const LONG: Duration = Duration::from_secs(25);

/// Status and reason of the condition `Enforced`.
fn enforced(card: &Value) -> String {
    let found = condition(card, "Enforced");
    [&found["status"], &found["reason"]].map(|word| word.as_str().unwrap_or_default()).join(" ")
}

/// What `tell` says of a card, for so long.
fn told(scene: &Scene, name: &str, lasts: Duration, tell: fn(&Value) -> String) -> BTreeSet<String> {
    let (started, mut all) = (Instant::now(), BTreeSet::new());
    while started.elapsed() < lasts {
        all.insert(tell(&scene.get("agentcard", TEAM, name).unwrap()));
        std::thread::sleep(Duration::from_millis(50));
    }
    all
}

fn wait(scene: &Scene, name: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
    scene.operator.wait_card(TEAM, name, what, done).unwrap()
}

fn only(words: &str) -> BTreeSet<String> {
    BTreeSet::from([words.to_owned()])
}

/// Has the operator write the policy of an agent again, which fails.
fn refuse_policies(scene: &Scene, proxy: &FaultProxy, name: &str, code: u16) {
    proxy.inject(Rule::new(Fault::Status(code)).method("PATCH").path("/networkpolicies"));
    scene.delete("networkpolicy", TEAM, &format!("{name}-signature-policy")).unwrap();
}

fn clear(proxy: &FaultProxy) {
    assert!(proxy.injected() > 0, "the fault met no request");
    proxy.clear();
}

fn policies_that_cannot_be_written_for_a_moment_turn_no_condition(scene: &Scene, proxy: &FaultProxy) {
    refuse_policies(scene, proxy, "weather", 500);
    assert_eq!(told(scene, "weather", SHORT, enforced), only("True PolicyApplied"));
    clear(proxy);
    scene.policy_is(TEAM, "weather", "Verified").unwrap();
    assert_eq!(told(scene, "weather", Duration::from_secs(2), enforced), only("True PolicyApplied"));

    refuse_policies(scene, proxy, "weather", 429);
    let card = wait(scene, "weather", "a fault that lasts", |card| enforced(card) == "False PolicyPending");
    assert!(is(&card, "Verified", "True") && is(&card, "Ready", "False"), "{card:#}");
    clear(proxy);
    scene.policy_is(TEAM, "weather", "Verified").unwrap();
    wait(scene, "weather", "the end of the fault", |card| is(card, "Ready", "True"));
}

fn a_refusal_is_not_enforced_before_its_policy_is(scene: &Scene, proxy: &FaultProxy) {
    proxy.inject(Rule::new(Fault::Status(500)).method("PATCH").path("/networkpolicies"));
    let bad = scene.signed(&card_of("weather", TEAM), TEAM, "other");
    scene.agents.serve(TEAM, "weather", &bad).unwrap();
    let lost = wait(scene, "weather", "a refusal", |card| outcome(card) != "Verified");
    assert_eq!(enforced(&lost), "False PolicyPending", "{lost:#}");
    let policy = scene.get("networkpolicy", TEAM, "weather-signature-policy").unwrap();
    assert!(is_open(&policy), "{policy:#}");
    clear(proxy);
    wait(scene, "weather", "a refusal in force", |card| enforced(card) == "True PolicyApplied");
    scene.policy_is(TEAM, "weather", outcome(&lost)).unwrap();
}

fn pods_that_cannot_be_listed_keep_nothing_open(scene: &Scene, proxy: &FaultProxy) {
    // From its second generation on, a template may have had other labels, so the API server is asked.
    scene.patch("deployment", TEAM, "weather", &json!({ "spec": { "revisionHistoryLimit": 5 } })).unwrap();
    scene.verified(TEAM, "weather", "weather").unwrap();
    let list = format!("/namespaces/{TEAM}/pods?");
    proxy.inject(Rule::new(Fault::Status(500)).method("GET").path(&list).watch(false));
    let bad = scene.signed(&card_of("weather", TEAM), TEAM, "other");
    scene.agents.serve(TEAM, "weather", &bad).unwrap();
    scene.policy_is(TEAM, "weather", "IdentityMismatch").unwrap();
    wait(scene, "weather", "what is missing", |card| enforced(card) == "False PolicyPending");
    // What is good again opens nothing before the whole plan is known.
    scene.agents.serve(TEAM, "weather", &scene.honest(TEAM, "weather")).unwrap();
    wait(scene, "weather", "a good card", |card| outcome(card) == "Verified");
    scene.looked(TEAM, "weather", 2).unwrap();
    let policy = scene.get("networkpolicy", TEAM, "weather-signature-policy").unwrap();
    assert!(!is_open(&policy), "{policy:#}");
    clear(proxy);
    scene.verified(TEAM, "weather", "weather").unwrap();
}

fn ingresses_that_cannot_be_read_refuse_only_whom_they_serve_and_not_at_once(
    scene: &Scene,
    proxy: &FaultProxy,
) {
    let path = json!({ "path": "/", "pathType": "Prefix",
        "backend": { "service": { "name": "outside", "port": { "number": 8000 } } } });
    let rule = json!({ "host": "outside.agents.example", "http": { "paths": [path] } });
    let ingress = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": "outside", "namespace": TEAM }, "spec": { "rules": [rule] } });
    scene.rig.apply(&ingress.to_string()).unwrap();
    let mut card = card_of("outside", TEAM);
    card["supportedInterfaces"][0]["url"] = json!("https://outside.agents.example/");
    scene.agent(TEAM, "outside", &scene.signed(&card, TEAM, "outside")).unwrap();
    scene.agent(TEAM, "inside", &scene.honest(TEAM, "inside")).unwrap();
    for name in ["outside", "inside"] {
        scene.verified(TEAM, name, name).unwrap();
    }
    let verdict = |card: &Value| outcome(card).to_owned();
    proxy.inject(Rule::new(Fault::Status(503)).method("GET").path("/ingresses"));
    scene.looked(TEAM, "outside", 2).unwrap();
    assert_eq!(told(scene, "outside", LONG, verdict), only("Verified"), "its proof lasts");
    clear(proxy);
    scene.looked(TEAM, "outside", 2).unwrap();

    // An API server that starts refuses everybody for a moment.
    proxy.inject(Rule::new(Fault::Status(403)).method("GET").path("/ingresses"));
    scene.looked(TEAM, "outside", 1).unwrap();
    assert_eq!(told(scene, "outside", SHORT, verdict), only("Verified"));
    let card = wait(scene, "outside", "a right that is missing", |card| outcome(card) == "FetchFailed");
    let message = card["status"]["verdict"]["message"].as_str().unwrap();
    for says in ["outside.agents.example", "the Ingresses of \"team\" could not be read", "need no list"] {
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(told(scene, "inside", Duration::from_secs(2), verdict), only("Verified"));
    clear(proxy);
    scene.verified(TEAM, "outside", "outside").unwrap();
}

#[test]
fn a_fault_that_passes_changes_nothing_and_one_that_lasts_is_told() {
    let (scene, proxy) = Scene::through_faults(&["--ingress-host-suffix=agents.example"]).unwrap();
    scene.namespace(TEAM, &json!({})).unwrap();
    scene.agent(TEAM, "weather", &scene.honest(TEAM, "weather")).unwrap();
    scene.verified(TEAM, "weather", "weather").unwrap();
    wait(&scene, "weather", "enforcement", |card| enforced(card) == "True PolicyApplied");
    policies_that_cannot_be_written_for_a_moment_turn_no_condition(&scene, &proxy);
    pods_that_cannot_be_listed_keep_nothing_open(&scene, &proxy);
    a_refusal_is_not_enforced_before_its_policy_is(&scene, &proxy);
    ingresses_that_cannot_be_read_refuse_only_whom_they_serve_and_not_at_once(&scene, &proxy);
    scene.operator.stop().unwrap();
}
