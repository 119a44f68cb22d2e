//! What the operator asks of the API server: nothing while nothing changes, little when something does.

use countersign_cluster_tests::{
    Agents, Authority, Request, Scene, TRUST_DOMAIN, bundle_json, card_of, user_card,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const TEAM: &str = "team";
const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// One scene for tests that count: each has it for itself.
static SCENE: LazyLock<Mutex<Scene>> = LazyLock::new(|| {
    let scene = Scene::start(&[]).unwrap();
    scene.namespace(TEAM, &json!({})).unwrap();
    for name in NAMES {
        scene.agents.serve(TEAM, name, &scene.honest(TEAM, name)).unwrap();
    }
    scene.agents.create(TEAM, &NAMES).unwrap();
    for name in NAMES {
        scene.verified(TEAM, &format!("{name}-deployment-card"), name).unwrap();
    }
    scene.settle(Duration::from_secs(2)).unwrap();
    Mutex::new(scene)
});

fn scene() -> MutexGuard<'static, Scene> {
    SCENE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The versions of everything that a flapping operator would change.
fn versions(scene: &Scene) -> BTreeMap<String, Value> {
    let kinds = ["networkpolicies", "agentcards", "deployments", "replicasets", "services", "configmaps"];
    let all = kinds.iter().flat_map(|kind| {
        let objects = scene.list(kind, TEAM).unwrap();
        objects.into_iter().map(move |object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            (format!("{kind}/{name}"), object["metadata"]["resourceVersion"].clone())
        })
    });
    all.collect()
}

/// Verb and resource of each, sorted.
fn summary(writes: &[Request]) -> Vec<String> {
    let mut all: Vec<String> =
        writes.iter().map(|write| format!("{} {}", write.verb, write.resource)).collect();
    all.sort();
    all
}

fn of<'r>(writes: &'r [Request], resource: &str) -> Vec<&'r Request> {
    writes.iter().filter(|write| write.resource == resource).collect()
}

#[test]
fn a_quiet_minute_has_no_write_and_no_flip() {
    let scene = scene();
    // What is asserted not to happen is counted by something that does see it.
    assert!(
        scene.audit().is_ok()
            && countersign_cluster_tests::Audit::from_the_start(scene.rig).writes().unwrap().len() > 10
    );
    let (mut audit, before) = (scene.audit().unwrap(), versions(&scene));
    // Twice the sync period: every card is fetched and judged again at least once.
    std::thread::sleep(Duration::from_secs(65));
    let writes = audit.writes().unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions(&scene), before);
}

#[test]
fn keys_for_tokens_order_and_sequence_of_the_bundle_change_nothing() {
    let scene = scene();
    let (mut audit, before) = (scene.audit().unwrap(), versions(&scene));
    let mut sequence = 10;
    let mut publish = |bundle: &mut Value| {
        sequence += 1;
        bundle["spiffe_sequence"] = json!(sequence);
        scene.agents.publish(bundle).unwrap();
        std::thread::sleep(Duration::from_millis(700));
    };
    let mut bundle = bundle_json(&[&scene.authority], 0);
    publish(&mut bundle);
    let token_key = json!({ "kty": "EC", "crv": "P-256", "use": "jwt-svid", "kid": "a",
        "x": "gDr2UmWmKCsVzLJpbDEbBTHGbpLlmg1DpDGDV_eGjFs", "y": "KVBnmV9sCmxpSbBnvPsQ_Kxdfw-eBUcROCDRSHRD8Eg" });
    bundle["keys"].as_array_mut().unwrap().push(token_key);
    publish(&mut bundle);
    bundle["keys"].as_array_mut().unwrap().reverse();
    publish(&mut bundle);
    bundle["keys"].as_array_mut().unwrap().remove(0);
    publish(&mut bundle);
    // An authority more, and gone again, is no change for cards of the other.
    let next = Authority::new(TRUST_DOMAIN);
    publish(&mut bundle_json(&[&next, &scene.authority], 0));
    publish(&mut bundle_json(&[&scene.authority], 0));
    std::thread::sleep(Duration::from_secs(1));
    let writes = audit.writes().unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions(&scene), before);
}

#[test]
fn a_users_card_costs_at_most_three_writes_to_a_verdict() {
    let scene = scene();
    let mut audit = scene.audit().unwrap();
    scene.apply_all(&[user_card(TEAM, "lonely", "nobody")]).unwrap();
    let refused = |card: &Value| countersign_cluster_tests::outcome(card) == "WorkloadNotFound";
    scene.operator.wait_card(TEAM, "lonely", "a first verdict", refused).unwrap();
    scene.settle(Duration::from_secs(2)).unwrap();
    assert_eq!(summary(&audit.writes().unwrap()), ["create events", "patch agentcards/status"]);
    // The card comes before its workload, and the workload before it is available: that is no verdict yet.
    let mut audit = scene.audit().unwrap();
    scene.agent(TEAM, "thrifty", &scene.honest(TEAM, "thrifty")).unwrap();
    scene.verified(TEAM, "thrifty", "thrifty").unwrap();
    scene.settle(Duration::from_secs(2)).unwrap();
    let writes = summary(&audit.writes().unwrap());
    // The last one is the mark of its Pod.
    assert_eq!(writes, ["create events", "patch agentcards/status", "patch networkpolicies", "patch pods"]);
}

#[test]
fn a_card_of_an_enrolled_agent_costs_policy_status_and_event() {
    let scene = scene();
    let name = "enrolled";
    scene.agents.serve(TEAM, name, &scene.honest(TEAM, name)).unwrap();
    let mut manifests = Agents::manifests(TEAM, name);
    manifests[0]["metadata"]["labels"].as_object_mut().unwrap().remove("protocol.kagenti.io/a2a");
    // Enrolled and isolated, but no card is made for an agent that names no protocol.
    scene.apply_all(&manifests).unwrap();
    scene.settle(Duration::from_secs(1)).unwrap();
    let mut audit = scene.audit().unwrap();
    manifests[0]["metadata"]["labels"]["protocol.kagenti.io/a2a"] = json!("");
    scene.apply_all(&manifests[..1]).unwrap();
    scene.verified(TEAM, &format!("{name}-deployment-card"), name).unwrap();
    scene.settle(Duration::from_secs(2)).unwrap();
    let writes = summary(&audit.writes().unwrap());
    // The AgentCard is made by the operator here, and the last one is the mark of its Pod; the verdict costs three.
    let verdict = ["create events", "patch agentcards", "patch agentcards/status", "patch networkpolicies"];
    assert_eq!(writes, [&verdict[..], &["patch pods"]].concat());
}

#[test]
fn one_event_tells_of_each_transition_and_a_new_signature_is_none() {
    let scene = scene();
    let name = "eventful";
    scene.agent(TEAM, name, &scene.honest(TEAM, name)).unwrap();
    scene.verified(TEAM, name, name).unwrap();
    scene.settle(Duration::from_secs(3)).unwrap();
    let mut audit = scene.audit().unwrap();
    // The same card, signed again, as a signer does twice an hour.
    for _ in 0..3 {
        scene.agents.serve(TEAM, name, &scene.honest(TEAM, name)).unwrap();
        // Looked at every second.
        std::thread::sleep(Duration::from_millis(1500));
    }
    let writes = audit.writes().unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    // Refused, looked at ten more times, and verified again: two events.
    let mut audit = scene.audit().unwrap();
    scene.agents.serve(TEAM, name, &scene.signed(&card_of(name, TEAM), TEAM, "other")).unwrap();
    scene.refused(TEAM, name, name, "IdentityMismatch").unwrap();
    std::thread::sleep(Duration::from_secs(10));
    scene.agents.serve(TEAM, name, &scene.honest(TEAM, name)).unwrap();
    scene.verified(TEAM, name, name).unwrap();
    scene.settle(Duration::from_secs(2)).unwrap();
    let writes = audit.writes().unwrap();
    assert_eq!(of(&writes, "events").len(), 2, "{writes:#?}");
    assert_eq!(of(&writes, "agentcards/status").len(), 2, "{writes:#?}");
    let warnings = scene.list("events.events.k8s.io", TEAM).unwrap();
    let about = |event: &&Value| {
        let regarding = &event["regarding"];
        regarding["kind"] == "AgentCard" && regarding["name"] == name && event["type"] == "Warning"
    };
    let reasons: Vec<&Value> = warnings.iter().filter(about).map(|event| &event["reason"]).collect();
    assert_eq!(reasons, ["IdentityMismatch"]);
}

#[test]
fn a_card_that_stays_refused_is_written_once() {
    let scene = scene();
    let name = "late";
    let svid = scene.authority.issue(TEAM, name, -7200, -3600);
    scene.agent(TEAM, name, &Agents::sign_at(&card_of(name, TEAM), &svid, -7000)).unwrap();
    scene.refused(TEAM, name, name, "CertificateExpired").unwrap();
    scene.settle(Duration::from_secs(2)).unwrap();
    let mut audit = scene.audit().unwrap();
    // Looked at every second, at another time each.
    std::thread::sleep(Duration::from_secs(4));
    assert!(audit.writes().unwrap().is_empty(), "{:#?}", audit.writes());
}

#[test]
fn conditions_say_which_generation_they_are_about() {
    let scene = scene();
    let name = "two-deployment-card";
    for (period, generation) in [("31s", 2), ("32s", 3)] {
        scene.patch("agentcard", TEAM, name, &json!({ "spec": { "syncPeriod": period } })).unwrap();
        let current = |card: &Value| card["status"]["observedGeneration"] == generation;
        let card = scene.operator.wait_card(TEAM, name, "the generation in status", current).unwrap();
        for condition in card["status"]["conditions"].as_array().unwrap() {
            assert_eq!(condition["observedGeneration"], generation, "{condition:#}");
        }
        assert_eq!(card["metadata"]["generation"], generation);
    }
    scene
        .rig
        .kubectl(&["wait", "--for=condition=Ready", "-n", TEAM, "agentcard", name, "--timeout=5s"])
        .unwrap();
    // Nobody's times move when nothing else does.
    let before = scene.get("agentcard", TEAM, name).unwrap()["status"]["conditions"].clone();
    scene.patch("agentcard", TEAM, name, &json!({ "metadata": { "labels": { "touched": "1" } } })).unwrap();
    scene.settle(Duration::from_secs(2)).unwrap();
    assert_eq!(scene.get("agentcard", TEAM, name).unwrap()["status"]["conditions"], before);
}

#[test]
fn nothing_is_read_that_is_not_needed_and_no_workload_is_ever_written() {
    let scene = scene();
    let mut audit = countersign_cluster_tests::Audit::from_the_start(scene.rig);
    let requests = audit.requests().unwrap();
    let seen =
        |resource: &str| requests.iter().filter(|request| request.resource == resource).collect::<Vec<_>>();
    assert!(seen("deployments").len() >= 2 && seen("pods").len() >= 2 && seen("configmaps").len() >= 2);
    assert_eq!(seen("secrets").len(), 0);
    for resource in ["deployments", "statefulsets", "replicasets", "pods"] {
        for request in seen(resource) {
            // Watched by label; one that a card names and no watch has seen, and one that is marked, by that name.
            let named = (request.verb == "get" || request.is_write()) && !request.place.1.is_empty();
            assert!(request.uri.contains("labelSelector=") || named, "{request:?}");
            assert!(!request.is_write() || resource == "pods", "{request:?}");
        }
    }
    for request in seen("configmaps") {
        // The bundle by its name in one namespace; a signed card by its own name.
        let named = request.uri.contains("fieldSelector=metadata.name") || !request.place.1.is_empty();
        assert!(named && !request.place.0.is_empty() && !request.is_write(), "{request:?}");
    }
    let wrote: std::collections::BTreeSet<&str> = requests
        .iter()
        .filter(|request| request.is_write())
        .map(|request| request.resource.as_str())
        .collect();
    let ours = ["agentcards", "agentcards/status", "events", "networkpolicies", "pods"];
    assert!(wrote.iter().all(|resource| ours.contains(resource)), "{wrote:?}");
}
