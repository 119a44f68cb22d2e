//! Many agents at once, and one among them that never answers.

use countersign_cluster_tests::{Scene, is_open, outcome};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Creates agents and returns how long it took until the last of `good` was verified.
fn until_verified(scene: &Scene, team: &str, good: &[&str], hung: &[&str]) -> Duration {
    for name in good {
        scene.agents.serve(team, name, &scene.honest(team, name)).unwrap();
    }
    for name in hung {
        scene.agents.hang(team, name).unwrap();
    }
    let started = Instant::now();
    // Whoever hangs is asked first.
    scene.agents.create(team, &[hung, good].concat()).unwrap();
    scene
        .rig
        .wait("the good agents", || {
            let cards = scene.list("agentcards", team)?;
            Ok(cards.iter().filter(|card| outcome(card) == "Verified").count() == good.len())
        })
        .unwrap();
    started.elapsed()
}

#[test]
fn agents_that_hang_delay_nobody() {
    let scene = Scene::start(&[]).unwrap();
    let names: Vec<String> = (0..49).map(|number| format!("agent-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stuck: Vec<String> = (0..5).map(|number| format!("hung-{number}")).collect();
    let stuck: Vec<&str> = stuck.iter().map(String::as_str).collect();
    for (team, _) in [("warm", 0), ("alone", 0), ("one-hangs", 1), ("five-hang", 5)] {
        scene.namespace(team, &json!({})).unwrap();
    }
    until_verified(&scene, "warm", &names[..5], &[]);
    let alone = until_verified(&scene, "alone", &names, &[]);
    let one = until_verified(&scene, "one-hangs", &names, &stuck[..1]);
    let five = until_verified(&scene, "five-hang", &names, &stuck);
    // A fetch of an agent that hangs takes 5 s; the machine's noise is allowed for, that is not.
    let allowed = alone.mul_f64(1.5) + Duration::from_secs(1);
    assert!(one < allowed && five < allowed, "alone {alone:?}, with one hung {one:?}, with five {five:?}");
    // The one that hangs is refused, and says why.
    let done = |card: &Value| outcome(card) == "FetchTimeout";
    scene.operator.wait_card("one-hangs", "hung-0-deployment-card", "a refusal", done).unwrap();
    scene.policy_is("one-hangs", "hung-0", "FetchTimeout").unwrap();
    scene.stop().unwrap();
}

#[test]
fn two_hundred_agents_at_once_all_get_their_verdict() {
    let scene = Scene::start(&[]).unwrap();
    scene.namespace("many", &json!({})).unwrap();
    let names: Vec<String> = (0..200).map(|number| format!("agent-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Every tenth is not what it says.
    let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
    for (number, name) in names.iter().enumerate() {
        let honest = scene.honest("many", name);
        if number % 10 == 9 {
            let tampered = String::from_utf8(honest).unwrap().replace("Does one thing", "Does anything");
            scene.agents.serve("many", name, tampered.as_bytes()).unwrap();
            bad.insert((*name).to_owned());
        } else {
            scene.agents.serve("many", name, &honest).unwrap();
            good.insert((*name).to_owned());
        }
    }
    scene.agents.create("many", &names).unwrap();
    let target = |card: &Value| card["spec"]["targetRef"]["name"].as_str().unwrap().to_owned();
    scene
        .rig
        .wait("200 verdicts and 202 policies", || {
            let cards = scene.list("agentcards", "many")?;
            let judged = cards.iter().filter(|card| !outcome(card).is_empty()).count();
            Ok(judged == 200 && scene.list("networkpolicies", "many")?.len() == 202)
        })
        .unwrap();
    scene.settle(Duration::from_secs(2)).unwrap();
    let cards = scene.list("agentcards", "many").unwrap();
    assert_eq!(cards.len(), 200);
    let with = |wanted: &str| {
        cards.iter().filter(|card| outcome(card) == wanted).map(target).collect::<BTreeSet<_>>()
    };
    assert_eq!(with("Verified"), good);
    assert_eq!(with("SignatureInvalid"), bad);
    let policies = scene.list("networkpolicies", "many").unwrap();
    let open: BTreeSet<String> = policies
        .iter()
        .filter(|policy| is_open(policy))
        .map(|policy| {
            policy["metadata"]["name"].as_str().unwrap().trim_end_matches("-signature-policy").to_owned()
        })
        .collect();
    assert_eq!(open, good);
    scene.stop().unwrap();
}
