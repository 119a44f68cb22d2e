//! What the operator asks of the API server: nothing while nothing changes, little when something does.

use crate::scene;
use countersign_cluster_tests::{
    Agents, Audit, Authority, Request, Scene, TRUST_DOMAIN, bundle_json, card_of, outcome, user_card,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The shared scene with a new namespace, in which these agents have been verified by cards that the operator made.
fn settled(team: &'static str, names: &[&str]) -> (&'static Scene, &'static str) {
    let scene = scene(team);
    for name in names {
        scene.agents.serve(team, name, &scene.honest(team, name)).unwrap();
    }
    scene.agents.create(team, names).unwrap();
    for name in names {
        scene.verified(team, &format!("{name}-deployment-card"), name).unwrap();
    }
    scene.settle(team, Duration::from_secs(2)).unwrap();
    (scene, team)
}

/// The versions of everything that a flapping operator would change.
fn versions(scene: &Scene, team: &str) -> BTreeMap<String, Value> {
    let kinds = ["networkpolicies", "agentcards", "deployments", "replicasets", "services", "configmaps"];
    let all = kinds.iter().flat_map(|kind| {
        let objects = scene.list(kind, team).unwrap();
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
    let names = ["one", "two", "three", "four", "five"];
    let (scene, team) = settled("quiet-minute", &names);
    // What is asserted not to happen is counted by something that does see it.
    assert!(Audit::from_the_start(scene.rig).writes().unwrap().len() > 10);
    let (mut audit, before) = (scene.audit(team).unwrap(), versions(scene, team));
    let asked = names.map(|name| scene.agents.asked(team, name));
    // Time itself is what is tested here: nothing may come due in a minute, which is twice the sync period.
    std::thread::sleep(Duration::from_secs(65));
    let writes = audit.writes().unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions(scene, team), before);
    for (name, asked) in names.iter().zip(asked) {
        // Every card was fetched and judged again at least once.
        assert!(scene.agents.asked(team, name) > asked, "{name} was not looked at");
    }
}

#[test]
fn keys_for_tokens_order_and_sequence_of_the_bundle_change_nothing() {
    let (scene, team) = settled("bundles", &["one", "two"]);
    // Whether a bundle has arrived is told by an agent that is trusted with every second one.
    let (other, by) = ("bundles-marker", Authority::new(TRUST_DOMAIN));
    scene.namespace(other, &json!({})).unwrap();
    let signed = Agents::sign(&card_of("marker", other), &by.issue(other, "marker", -60, 3600));
    scene.agent(other, "marker", &signed).unwrap();
    scene.refused(other, "marker", "marker", "AnchorUnknown").unwrap();
    let key = bundle_json(&[&by], 0)["keys"][0].clone();

    let (mut audit, before) = (scene.audit(team).unwrap(), versions(scene, team));
    let mut sequence = 10;
    let mut publish = |bundle: &Value| {
        for marks in [true, false] {
            sequence += 1;
            let mut bundle = bundle.clone();
            bundle["spiffe_sequence"] = json!(sequence);
            if marks {
                bundle["keys"].as_array_mut().unwrap().push(key.clone());
            }
            scene.agents.publish(&bundle).unwrap();
            let wanted = if marks { "Verified" } else { "AnchorUnknown" };
            let arrived = |card: &Value| outcome(card) == wanted;
            scene.operator.wait_card(other, "marker", "the next bundle", arrived).unwrap();
        }
    };
    let mut bundle = bundle_json(&[&scene.authority], 0);
    publish(&bundle);
    let token_key = json!({ "kty": "EC", "crv": "P-256", "use": "jwt-svid", "kid": "a",
        "x": "gDr2UmWmKCsVzLJpbDEbBTHGbpLlmg1DpDGDV_eGjFs", "y": "KVBnmV9sCmxpSbBnvPsQ_Kxdfw-eBUcROCDRSHRD8Eg" });
    bundle["keys"].as_array_mut().unwrap().push(token_key);
    publish(&bundle);
    bundle["keys"].as_array_mut().unwrap().reverse();
    publish(&bundle);
    bundle["keys"].as_array_mut().unwrap().remove(0);
    publish(&bundle);
    // An authority more, and gone again, is no change for cards of the other.
    let next = Authority::new(TRUST_DOMAIN);
    publish(&bundle_json(&[&next, &scene.authority], 0));
    publish(&bundle_json(&[&scene.authority], 0));
    let writes = audit.writes().unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions(scene, team), before);
}

#[test]
fn a_users_card_without_a_workload_costs_status_and_event() {
    let (scene, team) = (scene("lonely"), "lonely");
    let mut audit = scene.audit(team).unwrap();
    scene.apply_all(&[user_card(team, "lonely", "nobody")]).unwrap();
    let refused = |card: &Value| outcome(card) == "WorkloadNotFound";
    scene.operator.wait_card(team, "lonely", "a first verdict", refused).unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    assert_eq!(summary(&audit.writes().unwrap()), ["create events", "patch agentcards/status"]);
}

#[test]
fn a_users_card_costs_at_most_three_writes_to_a_verdict() {
    // The namespace has agents already, so it is isolated.
    let (scene, team) = settled("thrifty", &["one"]);
    // The card comes before its workload, and the workload before it is available: that is no verdict yet.
    let mut audit = scene.audit(team).unwrap();
    scene.agent(team, "thrifty", &scene.honest(team, "thrifty")).unwrap();
    scene.verified(team, "thrifty", "thrifty").unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    let writes = summary(&audit.writes().unwrap());
    // The last one is the mark of its Pod.
    assert_eq!(writes, ["create events", "patch agentcards/status", "patch networkpolicies", "patch pods"]);
}

#[test]
fn a_card_of_an_enrolled_agent_costs_policy_status_and_event() {
    let (scene, team, name) = (scene("enrolled"), "enrolled", "enrolled");
    scene.agents.serve(team, name, &scene.honest(team, name)).unwrap();
    let mut manifests = Agents::manifests(team, name);
    manifests[0]["metadata"]["labels"].as_object_mut().unwrap().remove("protocol.kagenti.io/a2a");
    // Enrolled and isolated, but no card is made for an agent that names no protocol.
    scene.apply_all(&manifests).unwrap();
    scene.rig.wait("isolation", || Ok(scene.list("networkpolicies", team)?.len() >= 2)).unwrap();
    scene.has_pods(team, name, 1).unwrap();
    scene.settle(team, Duration::from_secs(1)).unwrap();
    let mut audit = scene.audit(team).unwrap();
    manifests[0]["metadata"]["labels"]["protocol.kagenti.io/a2a"] = json!("");
    scene.apply_all(&manifests[..1]).unwrap();
    scene.verified(team, &format!("{name}-deployment-card"), name).unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    let writes = audit.writes().unwrap();
    // The AgentCard is made by the operator here, and the last one is the mark of its Pod; the verdict costs three.
    let verdict = ["create events", "patch agentcards", "patch agentcards/status", "patch networkpolicies"];
    assert_eq!(summary(&writes), [&verdict[..], &["patch pods"]].concat(), "{writes:#?}");
}

#[test]
fn a_new_signature_of_the_same_card_is_written_nowhere() {
    let (scene, team, name) = (scene("signed-again"), "signed-again", "weather");
    scene.agent(team, name, &scene.honest(team, name)).unwrap();
    scene.verified(team, name, name).unwrap();
    scene.settle(team, Duration::from_secs(3)).unwrap();
    let mut audit = scene.audit(team).unwrap();
    // The same card, signed again, as a signer does twice an hour.
    for _ in 0..3 {
        scene.agents.serve(team, name, &scene.honest(team, name)).unwrap();
        scene.looked(team, name, 1).unwrap();
    }
    let writes = audit.writes().unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
}

#[test]
fn one_event_tells_of_each_transition() {
    let (scene, team, name) = (scene("eventful"), "eventful", "weather");
    scene.agent(team, name, &scene.honest(team, name)).unwrap();
    scene.verified(team, name, name).unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    // Refused, looked at ten more times, and verified again: two events.
    let mut audit = scene.audit(team).unwrap();
    scene.agents.serve(team, name, &scene.signed(&card_of(name, team), team, "other")).unwrap();
    scene.refused(team, name, name, "IdentityMismatch").unwrap();
    scene.looked(team, name, 10).unwrap();
    scene.agents.serve(team, name, &scene.honest(team, name)).unwrap();
    scene.verified(team, name, name).unwrap();
    // On a busy machine events come late: the first verdict, the refusal and the second verdict have one each.
    let told = || {
        let events = scene.list("events.events.k8s.io", team)?;
        Ok(events.iter().filter(|event| event["regarding"]["kind"] == "AgentCard").count() >= 3)
    };
    scene.rig.wait("an event for each transition", told).unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    let writes = audit.writes().unwrap();
    assert_eq!(of(&writes, "events").len(), 2, "{writes:#?}");
    assert_eq!(of(&writes, "agentcards/status").len(), 2, "{writes:#?}");
    let warnings = scene.list("events.events.k8s.io", team).unwrap();
    let about = |event: &&Value| {
        let regarding = &event["regarding"];
        regarding["kind"] == "AgentCard" && regarding["name"] == name && event["type"] == "Warning"
    };
    let reasons: Vec<&Value> = warnings.iter().filter(about).map(|event| &event["reason"]).collect();
    assert_eq!(reasons, ["IdentityMismatch"]);
    for event in warnings.iter().filter(about) {
        let note = event["note"].as_str().unwrap();
        assert!(note.ends_with(". Sign with the SVID of the workload's own service account."), "{note}");
    }
    // The same again within minutes is told again, with its own words, and needs no other right.
    scene.agents.serve(team, name, &scene.signed(&card_of(name, team), team, "third")).unwrap();
    scene.refused(team, name, name, "IdentityMismatch").unwrap();
    scene
        .rig
        .wait("the second event", || {
            let warnings = scene.list("events.events.k8s.io", team)?;
            Ok(warnings.iter().filter(about).any(|event| event["note"].to_string().contains("sa/third")))
        })
        .unwrap();
    let events = audit.writes().unwrap();
    assert!(events.iter().filter(|write| write.resource == "events").all(|write| write.verb == "create"));
}

#[test]
fn a_card_that_stays_refused_is_written_once() {
    let (scene, team, name) = (scene("late"), "late", "late");
    let svid = scene.authority.issue(team, name, -7200, -3600);
    scene.agent(team, name, &Agents::sign_at(&card_of(name, team), &svid, -7000)).unwrap();
    scene.refused(team, name, name, "CertificateExpired").unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    let mut audit = scene.audit(team).unwrap();
    // Looked at every second, at another time each.
    scene.looked(team, name, 4).unwrap();
    assert!(audit.writes().unwrap().is_empty(), "{:#?}", audit.writes());
}

#[test]
fn conditions_say_which_generation_they_are_about() {
    let (scene, team) = settled("generations", &["two"]);
    let name = "two-deployment-card";
    for (period, generation) in [("31s", 2), ("32s", 3)] {
        scene.patch("agentcard", team, name, &json!({ "spec": { "syncPeriod": period } })).unwrap();
        let current = |card: &Value| card["status"]["observedGeneration"] == generation;
        let card = scene.operator.wait_card(team, name, "the generation in status", current).unwrap();
        for condition in card["status"]["conditions"].as_array().unwrap() {
            assert_eq!(condition["observedGeneration"], generation, "{condition:#}");
        }
        assert_eq!(card["metadata"]["generation"], generation);
    }
    scene
        .rig
        .kubectl(&["wait", "--for=condition=Ready", "-n", team, "agentcard", name, "--timeout=5s"])
        .unwrap();
    // Nobody's times move when nothing else does.
    let before = scene.get("agentcard", team, name).unwrap()["status"]["conditions"].clone();
    scene.patch("agentcard", team, name, &json!({ "metadata": { "labels": { "touched": "1" } } })).unwrap();
    scene.settle(team, Duration::from_secs(2)).unwrap();
    assert_eq!(scene.get("agentcard", team, name).unwrap()["status"]["conditions"], before);
}

#[test]
fn nothing_is_read_that_is_not_needed_and_no_workload_is_written_but_to_enrol_it() {
    // Whatever else the shared scene serves has to obey as well.
    let (scene, _) = settled("readings", &["one"]);
    let mut audit = Audit::from_the_start(scene.rig);
    let requests = audit.requests().unwrap();
    let seen =
        |resource: &str| requests.iter().filter(|request| request.resource == resource).collect::<Vec<_>>();
    // What an AgentRuntime of another scenario enrols is written under field managers of their own.
    let enrols = |request: &Request| {
        let managers = ["countersign-agentruntime", "countersign-mesh"];
        managers.iter().any(|manager| request.uri.contains(&format!("fieldManager={manager}")))
    };
    assert!(seen("deployments").len() >= 2 && seen("pods").len() >= 2 && seen("configmaps").len() >= 2);
    assert_eq!(seen("secrets").len(), 0);
    for resource in ["deployments", "statefulsets", "replicasets", "pods"] {
        for request in seen(resource) {
            // Watched by label; one that a card names and no watch has seen, and one that is marked, by that name.
            let named = (request.verb == "get" || request.is_write()) && !request.place.1.is_empty();
            assert!(request.uri.contains("labelSelector=") || named, "{request:?}");
            assert!(!request.is_write() || resource == "pods" || enrols(request), "{request:?}");
        }
    }
    for request in seen("configmaps") {
        // The bundle by its name in one namespace; a signed card by its own name; the defaults of a namespace by their label.
        let named = request.uri.contains("fieldSelector=metadata.name")
            || request.uri.contains("labelSelector=kagenti.io%2Fdefaults")
            || !request.place.1.is_empty();
        assert!(named && !request.place.0.is_empty() && !request.is_write(), "{request:?}");
    }
    let wrote: std::collections::BTreeSet<&str> = requests
        .iter()
        .filter(|request| request.is_write() && !enrols(request))
        .map(|request| request.resource.as_str())
        .filter(|resource| !resource.starts_with("agentruntimes"))
        .collect();
    let ours = ["agentcards", "agentcards/status", "events", "networkpolicies", "pods"];
    assert!(wrote.iter().all(|resource| ours.contains(resource)), "{wrote:?}");
}
