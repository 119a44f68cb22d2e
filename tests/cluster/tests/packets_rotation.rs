//! SPIRE replaces its root while agents talk: nobody honest loses trust on the way, and in the end everything that
//! the old root vouched for is closed.

use countersign_cluster_tests::{Agents, Node, Packets, Signer, card_of, look_every, until};
use serde_json::Value;
use std::time::{Duration, Instant};

const TEAM: &str = "rotation";

/// How many X.509 authorities SPIRE publishes.
fn authorities(node: &Node) -> usize {
    let bundle: Value = serde_json::from_str(&node.rig.spire().published().unwrap()).unwrap();
    bundle["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "x509-svid").count()
}

/// Asserts that every one of these agents is trusted, by its status and by packets.
fn assert_trusted(node: &Node, names: &[&str], when: &str) {
    for name in names {
        let card = node.card(TEAM, &format!("{name}-deployment-card")).unwrap();
        let outcome = card["status"]["verdict"]["outcome"].as_str().unwrap_or_default().to_lowercase();
        assert_eq!(outcome, "verified", "{name} {when}: {}\n{}", card["status"], node.report());
        let address = node.pod(TEAM, name).unwrap();
        let found = node.connect(TEAM, "deploy/caller", &address).unwrap();
        assert_eq!(found, Packets::Pass, "caller → {name} {when}\n{}", node.report());
    }
}

/// Lets an agent serve a card that SPIRE's authority of now vouches for.
fn sign_again(node: &Node, name: &str) {
    let svid = node.svid(TEAM, name, "1h").unwrap();
    node.serve(TEAM, name, &Agents::sign(&card_of(name, TEAM), &svid)).unwrap();
}

#[test]
fn no_honest_agent_loses_trust_while_the_root_is_replaced_and_nothing_of_the_old_one_keeps_it() {
    let node = Node::with_operator(&[]).unwrap();
    node.namespace(TEAM).unwrap();
    for name in ["caller", "renewed", "stale"] {
        node.create_honest(TEAM, name).unwrap();
    }
    node.rig.spire().register(TEAM, "itself").unwrap();
    node.create(TEAM, "itself", Signer::InitContainer(&card_of("itself", TEAM))).unwrap();
    let all = ["caller", "renewed", "stale", "itself"];
    for name in all {
        node.wait_verdict(TEAM, name, None).unwrap();
        look_every(&node.rig, 2, TEAM, &format!("{name}-deployment-card")).unwrap();
    }
    for name in all {
        let address = node.pod(TEAM, name).unwrap();
        node.wait_packets((TEAM, "deploy/caller"), &address, Packets::Pass).unwrap();
    }

    let spire = node.rig.spire();
    let old = spire.authorities().unwrap().active.unwrap();
    let new = spire.prepare().unwrap();
    until("both roots are published", Duration::from_mins(2), || Ok(authorities(&node) == 2)).unwrap();
    assert_trusted(&node, &all, "once both roots are published");
    spire.activate(&new).unwrap();
    assert_trusted(&node, &all, "once the new root signs");
    spire.taint(&old).unwrap();
    for name in ["caller", "renewed"] {
        sign_again(&node, name);
    }
    // It signs again as it starts again, which is what SPIRE's users do without a sidecar.
    node.rig.kubectl(&["rollout", "restart", "-n", TEAM, "deployment/itself"]).unwrap();
    node.rig.kubectl(&["rollout", "status", "-n", TEAM, "deployment/itself", "--timeout=120s"]).unwrap();
    node.wait_verdict(TEAM, "itself", None).unwrap();
    // Everybody's new signature has been looked at, of which status does not tell.
    node.looked(TEAM, &all, 2).unwrap();
    assert_trusted(&node, &all, "once everybody could sign again");

    let address = node.pod(TEAM, "stale").unwrap();
    // Nobody will ask it again for an hour: what follows comes from the bundle alone.
    look_every(&node.rig, 3600, TEAM, "stale-deployment-card").unwrap();
    spire.revoke(&old).unwrap();
    until("the new root alone", Duration::from_mins(2), || Ok(authorities(&node) == 1)).unwrap();
    let gone = Instant::now();
    node.wait_verdict(TEAM, "stale", Some("AnchorUnknown")).unwrap();
    println!("from the bundle without the old root to the refusal: {:.1?}", gone.elapsed());
    let dropped = node.wait_packets((TEAM, "deploy/caller"), &address, Packets::Dropped).unwrap();
    println!("and to the first dropped packet: {dropped:.1?}, of which it waited 2 s for an answer");
    assert_trusted(&node, &["caller", "renewed", "itself"], "once the old root is gone");
    assert_eq!(node.connect(TEAM, "deploy/caller", &address).unwrap(), Packets::Dropped);
}
