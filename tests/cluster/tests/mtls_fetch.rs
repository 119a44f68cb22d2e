//! Cards over SPIFFE mTLS, with SVIDs of a real SPIRE at both ends.

use countersign_cluster_tests::{Agents, Operator, SpireAgents, card_of, condition, is, look_every, reason};
use countersign_rig::{Options, Rig};

#[test]
fn a_card_is_fetched_from_exactly_its_workload_or_not_at_all() {
    let rig = Rig::node(&Options { without_policy: true, ..Options::default() }).unwrap();
    let agents = SpireAgents::new(&rig, &["team"]).unwrap();
    agents.register_operator().unwrap();
    let weather = agents.mint("team", "weather", "weather").unwrap();
    let forged = agents.mint("team", "stars", "stars").unwrap();
    let stars_svid = SpireAgents::svid(&forged).unwrap();
    agents.forge("team", "stars", &forged).unwrap();
    let moon = agents.mint("team", "moon", "moon").unwrap();
    let tides_svid = SpireAgents::svid(&agents.mint("team", "tides", "tides").unwrap()).unwrap();

    // The plain port would serve a card that is good in every respect: only a downgrade would find it.
    let plain = agents.serve(9000, None).unwrap();
    let good = Agents::sign(&card_of("weather", "team"), &SpireAgents::svid(&weather).unwrap());
    plain.put(&good).unwrap();
    let honest = agents.serve(9001, Some(&weather)).unwrap();
    honest.put(&good).unwrap();
    // An SVID of the same trust domain, in front of a card that its owner really signed.
    let impostor = agents.serve(9002, Some(&weather)).unwrap();
    impostor.put(&Agents::sign(&card_of("tides", "team"), &tides_svid)).unwrap();
    let unknown = agents.serve(9003, Some(&forged)).unwrap();
    unknown.put(&Agents::sign(&card_of("stars", "team"), &stars_svid)).unwrap();
    let unsigned = agents.serve(9004, Some(&moon)).unwrap();
    unsigned.put(card_of("moon", "team").to_string().as_bytes()).unwrap();

    // No agent of SPIRE at this path yet.
    let socket = "/run/spire/later.sock";
    let operator =
        Operator::start(&rig, &["--verified-fetch-spiffe-socket", &format!("unix://{socket}")]).unwrap();
    operator.wait_ready().unwrap();
    agents.create("team", "weather", &[("http", &plain), ("agent-tls", &honest)]).unwrap();
    let card = operator
        .wait_card("team", "weather-deployment-card", "a refusal", |card| is(card, "Verified", "False"))
        .unwrap();
    assert_eq!(reason(&card), "FetchFailed");
    let message = condition(&card, "Synced")["message"].as_str().unwrap();
    assert!(message.contains("no SVID") && message.contains(socket), "{message}");

    // It comes up: the operator is not restarted.
    look_every(&rig, 1, "team", "weather-deployment-card").unwrap();
    let real = rig.spire().socket();
    assert!(rig.command("ln").arg("-s").arg(&real).arg(socket).status().unwrap().success());
    let card = operator
        .wait_card("team", "weather-deployment-card", "a verified card", |card| is(card, "Verified", "True"))
        .unwrap();
    assert_eq!(condition(&card, "Verified")["reason"], "mTLSVerified");
    assert_eq!(card["status"]["attestedAgentSpiffeId"], "spiffe://rig.example/ns/team/sa/weather");
    assert_eq!(card["status"]["signatureSpiffeId"], "spiffe://rig.example/ns/team/sa/weather");

    agents.create("team", "tides", &[("agent-tls", &impostor)]).unwrap();
    agents.create("team", "stars", &[("http", &plain), ("agent-tls", &unknown)]).unwrap();
    agents.create("team", "moon", &[("agent-tls", &unsigned)]).unwrap();
    // A Service leads nowhere before kube-proxy has seen it: the first refusal may say that.
    let refused = |name: &str, wanted: &str| {
        let name = format!("{name}-deployment-card");
        operator
            .wait_card("team", &name, wanted, |card| is(card, "Verified", "False") && reason(card) == wanted)
            .unwrap()
    };
    let card = refused("tides", "PeerIdentityMismatch");
    assert!(is(&card, "Synced", "False"), "its card was never asked for: {card:#}");
    let card = refused("stars", "AnchorUnknown");
    assert!(is(&card, "Synced", "False"));
    // The connection proves who serves; only a signature proves the card.
    refused("moon", "CardUnsigned");

    // The honest server is replaced by an impostor at the same address.
    drop(honest);
    let tides = rig.folder().join("tides");
    let replaced = agents.serve(9001, Some(&tides)).unwrap();
    replaced.put(&good).unwrap();
    refused("weather", "PeerIdentityMismatch");
    operator.stop().unwrap();
    rig.down().unwrap();
}
