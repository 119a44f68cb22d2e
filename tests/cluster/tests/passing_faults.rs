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
fn refuse_policies(scene: &Scene, proxy: &FaultProxy, name: &str) {
    proxy.inject(Rule::new(Fault::Status(429)).method("PATCH").path("/networkpolicies"));
    scene.delete("networkpolicy", TEAM, &format!("{name}-signature-policy")).unwrap();
}

fn clear(proxy: &FaultProxy) {
    assert!(proxy.injected() > 0, "the fault met no request");
    proxy.clear();
}

fn policies_that_cannot_be_written_for_a_moment_turn_no_condition(scene: &Scene, proxy: &FaultProxy) {
    refuse_policies(scene, proxy, "weather");
    assert_eq!(told(scene, "weather", SHORT, enforced), only("True PolicyApplied"));
    clear(proxy);
    scene.policy_is(TEAM, "weather", "Verified").unwrap();
    assert_eq!(told(scene, "weather", Duration::from_secs(2), enforced), only("True PolicyApplied"));

    refuse_policies(scene, proxy, "weather");
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

#[test]
fn a_fault_that_passes_changes_nothing_and_one_that_lasts_is_told() {
    let (scene, proxy) = Scene::through_faults(&[]).unwrap();
    scene.namespace(TEAM, &json!({})).unwrap();
    scene.agent(TEAM, "weather", &scene.honest(TEAM, "weather")).unwrap();
    scene.verified(TEAM, "weather", "weather").unwrap();
    wait(&scene, "weather", "enforcement", |card| enforced(card) == "True PolicyApplied");
    policies_that_cannot_be_written_for_a_moment_turn_no_condition(&scene, &proxy);
    a_refusal_is_not_enforced_before_its_policy_is(&scene, &proxy);
    scene.operator.stop().unwrap();
}
