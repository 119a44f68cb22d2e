//! h2spec, the conformance suite for servers of HTTP/2, against the port that takes requests to the agent.

use countersign_rig::parts;
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use std::collections::BTreeSet;
use std::process::Command;

/// What a server of both versions on one port, and the library that frames HTTP/2, do otherwise: the first is answered
/// as HTTP/1.1 with 400, the second resets the stream with another code.
const KNOWN: [&str; 2] = [
    "Sends invalid connection preface",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
];

#[test]
fn the_suite_finds_what_is_known_and_nothing_else() {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let inbound = jwt_validation("https://id.example", &jwks.url(), "agent-a");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    let output = Command::new(parts::program("h2spec", "h2spec").unwrap())
        .args(["-h", "127.0.0.1", "-p", &scene.at.inbound.port().to_string(), "-P", "/healthz"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let (cases, failures) = said.split_once("\nFailures:").unwrap_or((&said, ""));
    let passed = cases.matches('✔').count();
    assert!(passed >= 140, "{said}");
    let failed: BTreeSet<&str> = failures
        .lines()
        .filter_map(|line| line.split_once("× ")?.1.split_once(": ").map(|(_, name)| name))
        .collect();
    let surprises: Vec<&&str> = failed.iter().filter(|name| !KNOWN.contains(name)).collect();
    assert!(surprises.is_empty(), "{said}");
}
