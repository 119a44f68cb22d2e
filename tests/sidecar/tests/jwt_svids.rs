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

/// A sidecar that authenticates to a token endpoint with JWT-SVIDs that live 40 s.
struct Stage {
    spire: Spire,
    endpoint: Backend,
    tool: Backend,
    scene: Scene,
    _jwks: JwksServer,
    subject: std::cell::Cell<u32>,
}

impl Stage {
    fn start() -> Self {
        let options = spire::Options { jwt_ttl: "40s".to_owned(), ..spire::Options::new("example.org") };
        let spire = Spire::start_with(options).unwrap();
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
        Self { spire, endpoint, tool, scene, _jwks: jwks, subject: std::cell::Cell::new(0) }
    }

    /// The status of a call whose subject needs a token of its own.
    fn call(&self) -> u16 {
        self.subject.set(self.subject.get() + 1);
        self.call_as(&format!("subject-{}", self.subject.get()))
    }

    fn call_as(&self, subject: &str) -> u16 {
        self.scene.call_out(&format!("{}/x", self.tool.url()), Some(subject)).unwrap().status
    }

    /// Sleeps until this many seconds before `end`.
    fn sleep_until(end: i64, before: i64) {
        std::thread::sleep(Duration::from_secs(u64::try_from(end - since_epoch() - before).unwrap()));
    }
}

#[test]
fn a_svid_in_its_last_seconds_waits_for_its_renewal_and_is_used_if_that_fails() {
    let stage = Stage::start();
    assert_eq!(stage.call(), 200);
    let end = assertion_end(&stage.endpoint);
    stage.spire.freeze_agent().unwrap();
    Stage::sleep_until(end, 9);
    // The renewal does not come, and what is still valid is handed out in time.
    assert_eq!((stage.call(), assertion_end(&stage.endpoint)), (200, end));
    assert!(since_epoch() < end, "it was valid when it was handed out");
    let spire = &stage.spire;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            spire.thaw_agent().unwrap();
        });
        assert_eq!(stage.call_as("waits"), 200);
    });
    assert!(assertion_end(&stage.endpoint) > end, "it waited for the renewal that was under way");
}

#[test]
fn nobody_with_a_valid_svid_waits_for_the_workload_api() {
    let stage = Stage::start();
    let Stage { spire, endpoint, tool, scene, .. } = &stage;
    let call = || stage.call();
    assert_eq!(call(), 200);
    let end = assertion_end(endpoint);

    spire.freeze_agent().unwrap();
    // Past half of its life, so that it is to be renewed, and nobody answers.
    Stage::sleep_until(end, 15);
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!((call(), assertion_end(endpoint)), (200, end));
        assert!(began.elapsed() < ANSWER / 2, "{:?}", began.elapsed());
    }
    // It has ended, and waiters fail together instead of one after the other.
    Stage::sleep_until(end, -1);
    let (began, url) = (Instant::now(), format!("{}/x", tool.url()));
    std::thread::scope(|threads| {
        let url = &url;
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
    assert_ne!(assertion_end(endpoint), end);
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
