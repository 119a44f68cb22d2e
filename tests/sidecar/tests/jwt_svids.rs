//! JWT-SVIDs as client credentials while the SPIRE agent is frozen, and tokens whose lifetime the endpoint does not tell.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{self, SigningKey};
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use countersign_sidecar_tests::spire::{self, Spire};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ID: &str = "spiffe://example.org/ns/team/sa/agent";
const USER: u32 = 12_001;
/// The time that the sidecar gives the Workload API for one answer.
const ANSWER: Duration = Duration::from_secs(10);

fn since_epoch() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn keys() -> JwksServer {
    JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap()
}

/// The `exp` of the assertion that the endpoint saw last.
fn assertion_end(endpoint: &Backend) -> i64 {
    let form = endpoint.last().unwrap().text();
    let assertion = form.split('&').find_map(|field| field.strip_prefix("client_assertion="));
    jwt::claims(assertion.unwrap()).unwrap()["exp"].as_i64().unwrap()
}

#[test]
fn nobody_with_a_valid_svid_waits_for_the_workload_api() {
    let spire =
        Spire::start_with(spire::Options { jwt_ttl: "40s".to_owned(), ..spire::Options::new("example.org") })
            .unwrap();
    spire.register(ID, USER).unwrap();
    let exchanged = json!({ "access_token": "t", "token_type": "Bearer", "expires_in": 300 });
    let endpoint = Backend::start(Answer::json(&exchanged)).unwrap();
    let (tool, jwks) = (Backend::start(Answer::text("tool")).unwrap(), keys());
    let outbound = format!(
        "- name: token-exchange\n  config:\n    token_url: \"{}/token\"\n    identity: {{type: spiffe, client_id: \
         \"{ID}\", jwt_audience: \"https://id.example\"}}\n    routes:\n      file: /nonexistent/routes.yaml\n      \
         rules:\n        - {{host: 127.0.0.1, target_audience: tool}}",
        endpoint.url()
    );
    let settings = Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        outbound,
        blocks: format!("spiffe: {{socket: \"{}\"}}", spire.address()),
        ..Settings::default()
    };
    let scene = Scene::start(&settings, &Options { user: Some(USER), ..Options::default() }).unwrap();
    let subject = std::cell::Cell::new(0);
    // Every subject asks for a token of its own.
    let call = || {
        subject.set(subject.get() + 1);
        scene
            .call_out(&format!("{}/x", tool.url()), Some(&format!("subject-{}", subject.get())))
            .unwrap()
            .status
    };
    assert_eq!(call(), 200);
    let end = assertion_end(&endpoint);

    spire.freeze_agent().unwrap();
    // Past half of its life, so that it is to be renewed, and nobody answers.
    std::thread::sleep(Duration::from_secs(u64::try_from(end - since_epoch() - 15).unwrap()));
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!((call(), assertion_end(&endpoint)), (200, end));
        assert!(began.elapsed() < ANSWER / 2, "{:?}", began.elapsed());
    }
    // It has ended, and waiters fail together instead of one after the other.
    std::thread::sleep(Duration::from_secs(u64::try_from(end - since_epoch() + 1).unwrap()));
    let (began, url) = (Instant::now(), format!("{}/x", tool.url()));
    std::thread::scope(|threads| {
        let (scene, url) = (&scene, &url);
        let all: Vec<_> = (0..5)
            .map(|index| {
                threads.spawn(move || scene.call_out(url, Some(&format!("late-{index}"))).unwrap().status)
            })
            .collect();
        for one in all {
            assert_eq!(one.join().unwrap(), 503);
        }
    });
    assert!(began.elapsed() < 2 * ANSWER + ANSWER / 2, "{:?}", began.elapsed());
    spire.thaw_agent().unwrap();
    countersign_sidecar_tests::process::until("another SVID", Duration::from_secs(30), || Ok(call() == 200))
        .unwrap();
    assert_ne!(assertion_end(&endpoint), end);
}

#[test]
fn a_token_without_a_lifetime_is_asked_for_once_by_all_who_wait() {
    let endpoint = Backend::start(
        Answer::json(&json!({ "access_token": "t", "token_type": "Bearer" }))
            .after(Duration::from_millis(200)),
    )
    .unwrap();
    let (tool, jwks) = (Backend::start(Answer::text("tool")).unwrap(), keys());
    let routes = ["{host: 127.0.0.1, target_audience: tool}"];
    let settings = Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        outbound: token_exchange(&format!("{}/token", endpoint.url()), ("agent", "s"), &routes),
        ..Settings::default()
    };
    let scene = Scene::start(&settings, &Options::default()).unwrap();
    let url = format!("{}/x", tool.url());
    std::thread::scope(|threads| {
        let all: Vec<_> =
            (0..20).map(|_| threads.spawn(|| scene.call_out(&url, Some("s")).unwrap().status)).collect();
        for one in all {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
    assert!(endpoint.seen().len() <= 2, "{}", endpoint.seen().len());
}
