//! One tenant cannot keep the operator from others: nor from ending their trust in time, nor from asking their agents.

use countersign_cluster_tests::{Agents, Scene, Tarpit, card_of, is_open, outcome, user_card};
use serde_json::{Value, json};

/// The clock may be a minute off on either side, so a leaf counts that long beyond its end.
const SKEW: i64 = 60;

/// A verified agent whose proof ends so many seconds from now, and which is not looked at again by itself.
fn ending(scene: &Scene, team: &str, name: &str, seconds: i64) {
    let svid = scene.authority.issue(team, name, -600, seconds - SKEW);
    let signed = Agents::sign_at(&card_of(name, team), &svid, -300);
    scene.agents.serve(team, name, &signed).unwrap();
    let mut card = user_card(team, name, name);
    card["spec"]["syncPeriod"] = json!("30m");
    let mut items = vec![card];
    items.extend(Agents::manifests(team, name));
    scene.apply_all(&items).unwrap();
    scene.verified(team, name, name).unwrap();
}

/// Waits until the tarpit has what it wants: each of its cards is refused because its agent hangs.
fn until_hung(scene: &Scene, tarpit: &Tarpit<'_>) {
    for (namespace, name) in tarpit.cards() {
        let hangs = |card: &Value| outcome(card) == "FetchTimeout";
        scene.operator.wait_card(namespace, name, "an agent that hangs", hangs).unwrap();
    }
}

#[test]
fn a_tenant_behind_a_tarpit_delays_neither_the_end_of_others_nor_a_look_at_them() {
    let scene = Scene::start(&["--min-sync-period=5s"]).unwrap();
    for namespace in ["tarpit", "elsewhere"] {
        scene.namespace(namespace, &json!({})).unwrap();
    }
    scene.agent("elsewhere", "turning", &scene.honest("elsewhere", "turning")).unwrap();
    scene.verified("elsewhere", "turning", "turning").unwrap();
    let tarpit = Tarpit::new(&scene.agents, &["tarpit"], 32).unwrap();
    let ((), toggled) = tarpit.while_toggled(|| {
        until_hung(&scene, &tarpit);
        // What comes new is judged, ends in time, and is not looked at before: its proof outlives the load.
        ending(&scene, "elsewhere", "ending", 20);
        scene.refused("elsewhere", "ending", "ending", "CertificateExpired").unwrap();
        // Agents of others are asked as before, also the one that has signed again.
        scene.agents.serve("elsewhere", "ending", &scene.honest("elsewhere", "ending")).unwrap();
        let bad = scene.signed(&card_of("turning", "elsewhere"), "elsewhere", "other");
        scene.agents.serve("elsewhere", "turning", &bad).unwrap();
        scene.refused("elsewhere", "turning", "turning", "IdentityMismatch").unwrap();
        scene.agents.serve("elsewhere", "turning", &scene.honest("elsewhere", "turning")).unwrap();
        scene.verified("elsewhere", "turning", "turning").unwrap();
        // Neither are the tarpit's own good agents worse off than by its own doing.
        scene.agent("tarpit", "good", &scene.honest("tarpit", "good")).unwrap();
        scene.verified("tarpit", "good", "good").unwrap();
    });
    assert!(toggled > 100, "the specs were changed only {toggled} times");
    scene.stop().unwrap();
}

#[test]
fn trust_ends_in_time_although_nobody_can_be_asked() {
    let scene = Scene::start(&[]).unwrap();
    let names: Vec<String> = (0..24).map(|number| format!("tarpit-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for namespace in names.iter().chain(&["elsewhere"]) {
        scene.namespace(namespace, &json!({})).unwrap();
    }
    // A shorter proof could end before there is any load, and a longer one is waited for.
    ending(&scene, "elsewhere", "ending", 60);
    let tarpit = Tarpit::new(&scene.agents, &names, 2).unwrap();
    let ((), toggled) = tarpit.while_toggled(|| {
        until_hung(&scene, &tarpit);
        let card = scene.get("agentcard", "elsewhere", "ending").unwrap();
        assert_eq!(outcome(&card), "Verified", "the load came too late: {card:#}");
        // More namespaces than slots hold an agent that hangs: every slot waits for one of them.
        scene.refused("elsewhere", "ending", "ending", "CertificateExpired").unwrap();
    });
    assert!(toggled > 20, "the specs were changed only {toggled} times");
    // Nothing of what hangs is open, and what is closed stays so while its AgentCard is made again.
    scene.delete("agentcard", "elsewhere", "ending").unwrap();
    scene.agents.withdraw("elsewhere", "ending").unwrap();
    scene.agents.hang("elsewhere", "ending").unwrap();
    scene.rig.apply(&user_card("elsewhere", "ending", "ending").to_string()).unwrap();
    let closed_until_given_up = || {
        for policy in scene.list("networkpolicies", "elsewhere")? {
            assert!(!is_open(&policy), "{policy:#}");
        }
        Ok(outcome(&scene.get("agentcard", "elsewhere", "ending")?) == "FetchTimeout")
    };
    scene.rig.wait("the end of the fetch that hangs", closed_until_given_up).unwrap();
    scene.stop().unwrap();
}
