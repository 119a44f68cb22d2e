//! The clock of the machine is set forward and back while the sidecar runs: what had been judged is judged by the time
//! of now, and no token lives longer because the clock went back.

use countersign_rig::parts;
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::Request;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ISSUER: &str = "https://id.example/realms/agents";

/// A clock that a test sets; only the time of day, not the one that goes forward.
struct Clock(Folder);

impl Clock {
    fn new() -> Self {
        let clock = Self(Folder::new("clock").unwrap());
        clock.set("+0");
        clock
    }

    fn set(&self, offset: &str) {
        self.0.write("offset", offset).unwrap();
    }

    fn options(&self) -> Options {
        let library = parts::program("faketime", "libfaketime.so.1").unwrap();
        let variable = |name: &str, value: String| (name.to_owned(), value);
        let environment = vec![
            variable("LD_PRELOAD", library.display().to_string()),
            variable("FAKETIME_TIMESTAMP_FILE", self.0.join("offset").display().to_string()),
            variable("FAKETIME_NO_CACHE", "1".to_owned()),
            variable("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        Options { environment, ..Options::default() }
    }
}

#[test]
fn a_token_is_judged_by_the_time_of_now_even_if_it_was_judged_before() {
    let clock = Clock::new();
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let inbound = jwt_validation(ISSUER, &jwks.url(), "agent-a");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &clock.options()).unwrap();
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    let outcome = || {
        let reply = scene.call(&Request::new("GET", "/x").bearer(&token)).unwrap();
        (reply.status, reply.json().map(|body| body["reason"].clone()).unwrap_or_default())
    };
    assert_eq!(outcome().0, 200);
    clock.set("+3h");
    assert_eq!(outcome(), (401, json!("TokenExpired")));
    clock.set("-3h");
    assert_eq!(outcome(), (401, json!("TokenNotYetValid")));
    clock.set("+0");
    assert_eq!(outcome().0, 200);
}

#[test]
fn an_exchanged_token_does_not_live_longer_because_the_clock_went_back() {
    let clock = Clock::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let endpoint = Backend::start_with(move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        Answer::json(
            &json!({ "access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": 4 }),
        )
    })
    .unwrap();
    let tool = Backend::start(Answer::text("tool")).unwrap();
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let settings = Settings {
        inbound: jwt_validation(ISSUER, &jwks.url(), "agent-a"),
        outbound: token_exchange(
            &endpoint.url(),
            ("agent", "s"),
            &["{host: 127.0.0.1, target_audience: tool}"],
        ),
        ..Settings::default()
    };
    let scene = Scene::start(&settings, &clock.options()).unwrap();
    let url = format!("{}/x", tool.url());
    let call = || assert_eq!(scene.call_out(&url, Some("subject")).unwrap().status, 200);
    call();
    clock.set("-3h");
    call();
    assert_eq!(calls.load(Ordering::Relaxed), 1, "it is kept while it lives");
    let renewed = || {
        call();
        Ok(calls.load(Ordering::Relaxed) == 2)
    };
    until("the end of the token", Duration::from_secs(8), renewed).unwrap();
    clock.set("+3h");
    call();
    assert_eq!(calls.load(Ordering::Relaxed), 3, "by this clock the token has ended");
}
