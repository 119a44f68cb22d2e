//! Trust bundles from the Workload API of a real SPIRE, while its root is replaced.

use countersign_cluster_tests::{Agents, Operator, SpireAgents, card_of, find, is, look_every};
use countersign_rig::{Options, Rig};
use serde_json::Value;

#[test]
fn a_root_that_spire_revokes_takes_trust_away_without_any_config_map() {
    let rig = Rig::node(&Options { without_policy: true, ..Options::default() }).unwrap();
    let agents = SpireAgents::new(&rig, &["team"]).unwrap();
    agents.register_operator().unwrap();
    let server = agents.serve(9000, None).unwrap();
    let old_svid = SpireAgents::svid(&agents.mint("team", "weather", "old").unwrap()).unwrap();
    server.put(&Agents::sign(&card_of("weather", "team"), &old_svid)).unwrap();
    let flags = ["--trust-bundle-source", "workload-api", "--verified-fetch-spiffe-socket", &agents.socket()];
    // The ConfigMap that SPIRE publishes is not the source: the flag names one that does not exist.
    let none = ["--spire-trust-bundle-configmap", "no-such-bundle"];
    let operator = Operator::start(&rig, &[&flags[..], &none].concat()).unwrap();
    operator.wait_ready().unwrap();
    agents.create("team", "weather", &[("http", &server)]).unwrap();
    let name = "weather-deployment-card";
    operator.wait_card("team", name, "a verified card", |card| is(card, "Verified", "True")).unwrap();

    let spire = rig.spire();
    let old = spire.authorities().unwrap().active.unwrap();
    let new = spire.prepare().unwrap();
    spire.activate(&new).unwrap();
    // One that only the new root vouches for tells that it has arrived.
    let marker = agents.serve(9001, None).unwrap();
    let new_svid = SpireAgents::svid(&agents.mint("team", "marker", "marker").unwrap()).unwrap();
    marker.put(&Agents::sign(&card_of("marker", "team"), &new_svid)).unwrap();
    agents.create("team", "marker", &[("http", &marker)]).unwrap();
    let trusted = |card: &Value| is(card, "Verified", "True");
    operator.wait_card("team", "marker-deployment-card", "the new root", trusted).unwrap();
    look_every(&rig, 1, "team", name).unwrap();
    server.looked(&rig, 1).unwrap();
    assert!(trusted(&find(&rig, "agentcard", "team", name).unwrap().unwrap()), "trust in the overlap");
    // Nobody will ask again for an hour: what follows comes from the bundle alone.
    look_every(&rig, 3600, "team", name).unwrap();
    spire.taint(&old).unwrap();
    spire.revoke(&old).unwrap();
    let card = operator.wait_card("team", name, "a refusal", |card| is(card, "Verified", "False")).unwrap();
    assert_eq!(card["status"]["verdict"]["reason"], "AnchorUnknown");

    look_every(&rig, 1, "team", name).unwrap();
    let new_svid = SpireAgents::svid(&agents.mint("team", "weather", "new").unwrap()).unwrap();
    server.put(&Agents::sign(&card_of("weather", "team"), &new_svid)).unwrap();
    operator.wait_card("team", name, "trust in the new root", |card| is(card, "Verified", "True")).unwrap();

    // The agent of SPIRE goes: what was accepted counts for its limit, and nobody is told otherwise.
    rig.kill_component("spire-agent").unwrap();
    server.looked(&rig, 3).unwrap();
    assert!(trusted(&find(&rig, "agentcard", "team", name).unwrap().unwrap()), "the last good bundle");
    operator.stop().unwrap();
    rig.down().unwrap();
}
