//! Many agents at once, and one among them that never answers.

use crate::scene;
use countersign_cluster_tests::{Scene, condition, is_open, outcome};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Creates agents of which some hang, and shows that a good one was verified before the last of those was given up.
fn verified_beside(team: &str, good: &[&str], hung: &[&str]) -> &'static Scene {
    let scene = scene(team);
    for name in good {
        scene.agents.serve(team, name, &scene.honest(team, name)).unwrap();
    }
    for name in hung {
        scene.agents.hang(team, name).unwrap();
    }
    // Whoever hangs is asked first.
    scene.agents.create(team, &[hung, good].concat()).unwrap();
    let mut cards = Vec::new();
    let with = |cards: &[Value], wanted: &str| cards.iter().filter(|card| outcome(card) == wanted).count();
    scene
        .rig
        .wait("all verdicts", || {
            cards = scene.list("agentcards", team)?;
            Ok((with(&cards, "Verified"), with(&cards, "FetchTimeout")) == (good.len(), hung.len()))
        })
        .unwrap();
    // When the verdict came, as status tells it: in a form that sorts by time.
    let at = |wanted: &str| {
        let found = cards.iter().filter(|card| outcome(card) == wanted);
        let mut times: Vec<_> =
            found.map(|card| condition(card, "Verified")["lastTransitionTime"].as_str().unwrap()).collect();
        times.sort_unstable();
        times
    };
    let (verified, given_up) = (at("Verified"), at("FetchTimeout"));
    assert!(verified[0] < given_up[hung.len() - 1], "{team}: good agents waited: {verified:?} {given_up:?}");
    scene
}

#[test]
fn agents_that_hang_delay_nobody() {
    let names: Vec<String> = (0..49).map(|number| format!("agent-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stuck: Vec<String> = (0..5).map(|number| format!("hung-{number}")).collect();
    let stuck: Vec<&str> = stuck.iter().map(String::as_str).collect();
    verified_beside("five-hang", &names, &stuck);
    let scene = verified_beside("one-hangs", &names, &stuck[..1]);
    scene.policy_is("one-hangs", "hung-0", "FetchTimeout").unwrap();
}

#[test]
fn two_hundred_agents_at_once_all_get_their_verdict() {
    let scene = scene("many");
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
    scene.settle("many", Duration::from_secs(2)).unwrap();
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
}
