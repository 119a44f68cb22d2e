//! What a changed file changes while the sidecar runs, beside its pipelines: mTLS, where identities come from, sessions.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{self, Connection, Request, Tls};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use countersign_sidecar_tests::spire::{Spire, X509Files};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);

/// Our own SVID in the layout of spiffe-helper.
fn files(svid: &X509Files) -> Folder {
    let folder = Folder::new("svid").unwrap();
    for (name, from) in
        [("svid.pem", &svid.chain), ("svid_key.pem", &svid.key), ("svid_bundle.pem", &svid.bundle)]
    {
        folder.write(name, std::fs::read_to_string(from).unwrap()).unwrap();
    }
    folder
}

fn blocks(folder: &Path, mode: &str, peers: &str) -> String {
    format!(
        "spiffe: {{files_dir: \"{}\"}}\nmtls: {{mode: {mode}, allowed_peers: [\"{peers}\"]}}",
        folder.display()
    )
}

#[test]
fn mtls_is_switched_on_made_strict_and_narrowed_without_a_restart() {
    let spire = Spire::start("example.org").unwrap();
    let svid = spire.mint_x509("spiffe://example.org/ns/team1/sa/agent", "1h").unwrap();
    let folder = files(&svid);
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let with = |blocks: String| Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent-a"),
        blocks,
        ..Settings::default()
    };
    let scene = Scene::start(&with(String::new()), &Options::default()).unwrap();
    let address = scene.at.inbound.to_string();
    let request = Request::new("GET", "/healthz");
    let tls = Tls::with_certificate(&svid.bundle, &svid.chain, &svid.key).unwrap();
    let plain = || request.send(&address).is_ok_and(|reply| reply.status == 200);
    let mutual = || request.send_tls(&address, &tls).is_ok_and(|reply| reply.status == 200);
    assert!(plain() && !mutual());

    scene.rewrite(&with(blocks(folder.path(), "permissive", "spiffe://example.org"))).unwrap();
    until("mTLS", LIMIT, || Ok(mutual())).unwrap();
    assert!(plain(), "permissive serves both");

    let mut kept = Connection::open(&address).unwrap();
    assert_eq!(kept.send(&request).unwrap().status, 200);
    scene.rewrite(&with(blocks(folder.path(), "strict", "spiffe://example.org"))).unwrap();
    until("strict mTLS", LIMIT, || Ok(!plain())).unwrap();
    assert!(mutual());
    assert!(kept.is_closed_within(LIMIT).unwrap(), "a plain connection from before is ended");

    let mut kept = Connection::open_tls(&address, &tls).unwrap();
    assert_eq!(kept.send(&request).unwrap().status, 200);
    scene.rewrite(&with(blocks(folder.path(), "strict", "spiffe://example.org/ns/team2/*"))).unwrap();
    until("narrower peers", LIMIT, || Ok(!mutual())).unwrap();
    assert!(kept.is_closed_within(LIMIT).unwrap(), "a peer that is no longer admitted is ended");
}

#[test]
fn sessions_are_switched_off_and_bounded_without_a_restart() {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let with = |blocks: &str| Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent-a"),
        blocks: blocks.to_owned(),
        ..Settings::default()
    };
    let scene = Scene::start(&with(""), &Options::default()).unwrap();
    let sessions = || http::get(&format!("http://{}/v1/sessions", scene.at.sessions)).unwrap();
    for _ in 0..10 {
        assert_eq!(scene.call(&Request::new("GET", "/healthz")).unwrap().status, 200);
    }
    assert_eq!(sessions().json().unwrap()["sessions"][0]["events"], 20);
    scene.rewrite(&with("session: {max_events: 5}")).unwrap();
    let bounded = || {
        assert_eq!(scene.call(&Request::new("GET", "/healthz"))?.status, 200);
        Ok(sessions().json()?["sessions"][0]["events"] == 5)
    };
    until("a smaller store", LIMIT, bounded).unwrap();
    scene.rewrite(&with("session: {enabled: false}")).unwrap();
    until("no store", LIMIT, || Ok(sessions().status == 404)).unwrap();
}
