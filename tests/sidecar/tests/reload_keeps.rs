//! What a reload keeps: keys, verified and exchanged tokens, and sessions, so that it changes nothing for callers while the
//! identity provider is down, and a fleet that reloads at once does not ask it again.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::http::Request;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, jwks, ordinary_claims};
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use serde_json::json;
use std::time::Duration;

const ISSUER: &str = "https://id.example";
const LIMIT: Duration = Duration::from_secs(20);

/// A sidecar with both gates, and everything that it asks.
struct Stage {
    scene: Scene,
    key: SigningKey,
    keys: JwksServer,
    endpoint: Backend,
    tool: Backend,
}

impl Stage {
    fn start() -> Self {
        let key = SigningKey::p256("k1").unwrap();
        let keys = JwksServer::start(&[&key]).unwrap();
        let exchanged = json!({ "access_token": "exchanged", "token_type": "Bearer", "expires_in": 300 });
        let endpoint = Backend::start(Answer::json(&exchanged)).unwrap();
        let tool = Backend::start(Answer::text("tool")).unwrap();
        let settings = settings(&keys.url(), &endpoint, "session: {ttl: 5m}");
        let scene = Scene::start(&settings, &Options::default()).unwrap();
        Self { scene, key, keys, endpoint, tool }
    }

    /// Changes the settings and waits until they are in force.
    fn reload(&self, settings: &Settings) {
        let reloads = || self.scene.stats("/reload/status").map(|status| status["reloads_ok"].as_u64());
        let before = reloads().unwrap();
        self.scene.rewrite(settings).unwrap();
        until("reload", LIMIT, || Ok(reloads()? > before)).unwrap();
    }

    fn token(&self, subject: &str) -> String {
        self.key.sign(&ordinary_claims(ISSUER, "agent", subject)).unwrap()
    }

    /// The status for a caller with this token.
    fn call_in(&self, token: &str) -> u16 {
        self.scene.call(&Request::new("GET", "/x").bearer(token)).unwrap().status
    }

    fn call_out(&self) -> u16 {
        self.scene.call_out(&format!("{}/x", self.tool.url()), Some("subject")).unwrap().status
    }
}

fn settings(keys: &str, endpoint: &Backend, blocks: &str) -> Settings {
    Settings {
        inbound: jwt_validation(ISSUER, keys, "agent"),
        outbound: token_exchange(
            &format!("{}/token", endpoint.url()),
            ("agent", "s"),
            &["{host: 127.0.0.1, target_audience: tool}"],
        ),
        blocks: blocks.to_owned(),
        ..Settings::default()
    }
}

#[test]
fn a_reload_while_the_identity_provider_is_down_changes_nothing_for_callers() {
    let stage = Stage::start();
    let known = stage.token("known");
    assert_eq!((stage.call_in(&known), stage.call_out()), (200, 200));
    let asked = (stage.keys.requests(), stage.endpoint.seen().len());
    stage.keys.answer(Answer::status(500));
    stage.endpoint.answer(Answer::status(500));

    stage.reload(&settings(&stage.keys.url(), &stage.endpoint, "session: {ttl: 6m}"));
    assert_eq!((stage.call_in(&known), stage.call_in(&stage.token("new"))), (200, 200));
    assert_eq!((stage.call_out(), stage.tool.last().unwrap().bearer()), (200, Some("exchanged")));
    assert_eq!((stage.keys.requests(), stage.endpoint.seen().len()), asked, "nobody was asked again");
    let (status, body) = stage.scene.readiness().unwrap();
    assert_eq!(status, 200, "{body}");
}

#[test]
fn new_keys_are_fetched_before_the_configuration_that_needs_them_counts() {
    let stage = Stage::start();
    let slow = Answer::json(&jwks(&[&stage.key])).after(Duration::from_secs(1));
    let other = Backend::start(slow).unwrap();
    let next = settings(&format!("{}/jwks", other.url()), &stage.endpoint, "session: {ttl: 5m}");
    stage.scene.rewrite(&next).unwrap();
    let (mut subject, mut fetched) = (0, None);
    let reloaded = || stage.scene.stats("/reload/status").unwrap()["reloads_ok"] == 1;
    until("reload", LIMIT, || {
        subject += 1;
        assert_eq!(stage.call_in(&stage.token(&format!("s{subject}"))), 200);
        fetched = Some(other.seen().len());
        Ok(reloaded())
    })
    .unwrap();
    assert_eq!(fetched, Some(1));
    // A reload does not wait for keys that never come.
    other.answer(Answer::status(500));
    let third = settings(&format!("{}/other", other.url()), &stage.endpoint, "session: {ttl: 5m}");
    stage.reload(&third);
    assert_eq!(stage.call_in(&stage.token("late")), 503);
}

#[test]
fn a_stricter_policy_counts_for_tokens_that_were_accepted_before() {
    let stage = Stage::start();
    let token = stage.token("known");
    assert_eq!(stage.call_in(&token), 200);
    let mut next = settings(&stage.keys.url(), &stage.endpoint, "session: {ttl: 5m}");
    next.inbound += "\n    required_scopes: [rare]";
    stage.reload(&next);
    assert_eq!(stage.call_in(&token), 403);
    // Another client gets no token that was made for the one before.
    assert_eq!((stage.call_out(), stage.endpoint.seen().len()), (200, 1));
    next.outbound = next.outbound.replace("client_secret: \"s\"", "client_secret: \"t\"");
    stage.reload(&next);
    assert_eq!((stage.call_out(), stage.endpoint.seen().len()), (200, 2));
}
