//! Owners of AgentCards who change them all the time, and what that must not hold up.

use crate::scene;
use countersign_cluster_tests::{outcome, reason};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Changes one AgentCard all the time until dropped.
struct Changes {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Changes {
    fn start(team: &str, every: Duration, change: fn(u64) -> Value) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
        let (ends, api) = (Arc::clone(&stop), crate::SCENE.rig.api().unwrap());
        let path = format!("/apis/agent.kagenti.dev/v1alpha1/namespaces/{team}/agentcards/weather");
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                let _ = api.patch(&path, &change(count.fetch_add(1, Ordering::Relaxed)));
                std::thread::sleep(every);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Has an agent gain and lose trust while its AgentCard is changed; no status may lose a race twice on end.
fn status_comes_through(team: &str, every: Duration, change: fn(u64) -> Value) {
    let scene = scene(team);
    let good = scene.honest(team, "weather");
    let bad = String::from_utf8(good.clone()).unwrap().replace("Does one thing", "Does anything");
    scene.agent(team, "weather", &good).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let mut audit = scene.audit(team).unwrap();
    let _changes = Changes::start(team, every, change);
    for _ in 0..4 {
        scene.agents.serve(team, "weather", bad.as_bytes()).unwrap();
        let lost = |card: &Value| reason(card) == "SignatureInvalid";
        scene.operator.wait_card(team, "weather", "a loss of trust", lost).unwrap();
        scene.agents.serve(team, "weather", &good).unwrap();
        let won = |card: &Value| outcome(card) == "Verified";
        scene.operator.wait_card(team, "weather", "trust", won).unwrap();
    }
    let writes = audit.writes().unwrap();
    let codes: Vec<u64> = writes
        .iter()
        .filter(|write| write.resource == "agentcards/status" && write.code > 0)
        .map(|write| write.code)
        .collect();
    assert!(codes.len() >= 8, "{codes:?}");
    // A status that lost a race is written at once, or the verdict that it was planned from was not the last one: then it
    // is planned again once the watch has told of that.
    let is_lost_twice = |pair: &[u64]| pair == [409, 409];
    assert!(!codes.windows(2).any(is_lost_twice), "a status was refused again and again: {codes:?}");
}

#[test]
fn a_card_that_is_annotated_every_20_ms_shows_its_status_at_once() {
    let annotate = |count: u64| json!({ "metadata": { "annotations": { "count": count.to_string() } } });
    status_comes_through("annotated", Duration::from_millis(20), annotate);
}

#[test]
fn a_card_that_is_annotated_without_a_pause_shows_its_status_at_once() {
    let annotate = |count: u64| json!({ "metadata": { "annotations": { "count": count.to_string() } } });
    status_comes_through("annotated-always", Duration::ZERO, annotate);
}

#[test]
fn a_card_whose_spec_changes_every_20_ms_shows_its_status_at_once() {
    let respecify = |count: u64| json!({ "spec": { "syncPeriod": format!("{}s", 1 + count % 2) } });
    status_comes_through("respecified", Duration::from_millis(20), respecify);
}
