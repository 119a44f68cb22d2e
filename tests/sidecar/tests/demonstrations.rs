//! The demonstrations that work against the existing AuthBridge, each in the form in which it works there.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::http::{self, Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ISSUER: &str = "https://id.example/realms/agents";

fn validating(jwks: &JwksServer) -> Settings {
    Settings { inbound: jwt_validation(ISSUER, &jwks.url(), "agent-a"), ..Settings::default() }
}

fn scene(jwks: &JwksServer) -> Scene {
    Scene::start(&validating(jwks), &Options::default()).unwrap()
}

/// An endpoint that answers with tokens that say what they were asked for, and counts.
fn token_endpoint(delay: Duration) -> (Backend, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let endpoint = Backend::start_with(move |seen| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        let scope = seen.text().split('&').find_map(|field| field.strip_prefix("scope=").map(str::to_owned));
        let token = format!("token-{number}-{}", scope.unwrap_or_default());
        let body = serde_json::json!({ "access_token": token, "token_type": "Bearer", "expires_in": 300 });
        Answer::json(&body).after(delay)
    });
    (endpoint.unwrap(), calls)
}

#[test]
fn a_path_that_looks_public_reaches_the_agent_only_with_a_token() {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let scene = scene(&jwks);
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    assert_eq!(scene.call(&Request::new("GET", "/healthz")).unwrap().status, 200);
    assert_eq!(scene.call(&Request::new("GET", "/admin").bearer(&token)).unwrap().status, 200);
    scene.agent.forget();
    for target in
        ["/admin", "/healthz%3f/../../admin", "/mcp/../healthz", "/.well-known/x%3f/../../mcp", "/%68ealthz"]
    {
        let status = scene.call(&Request::new("GET", target)).unwrap().status;
        assert!(matches!(status, 400 | 401), "{target}: {status}");
    }
    assert!(scene.agent.seen().is_empty(), "the agent saw {:?}", scene.agent.seen());
}

#[test]
fn two_routes_with_different_scopes_get_two_tokens() {
    let (endpoint, calls) = token_endpoint(Duration::ZERO);
    let server = Backend::start(Answer::text("tool")).unwrap();
    let port = server.address().port();
    let routes = [
        "{host: localhost, target_audience: tool, token_scopes: admin}",
        "{host: 127.0.0.1, target_audience: tool, token_scopes: read}",
    ];
    let outbound = token_exchange(&format!("{}/token", endpoint.url()), ("agent", "s"), &routes);
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let scene = Scene::start(&Settings { outbound, ..validating(&jwks) }, &Options::default()).unwrap();
    for (host, expected) in
        [("localhost", "token-0-admin"), ("127.0.0.1", "token-1-read"), ("LOCALHOST", "token-0-admin")]
    {
        assert_eq!(scene.call_out(&format!("http://{host}:{port}/x"), Some("subject")).unwrap().status, 200);
        assert_eq!(server.last().unwrap().bearer(), Some(expected), "{host}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_hundred_requests_at_once_ask_for_one_token() {
    let (endpoint, calls) = token_endpoint(Duration::from_millis(50));
    let server = Backend::start(Answer::text("tool")).unwrap();
    let routes = ["{host: 127.0.0.1, target_audience: tool}"];
    let outbound = token_exchange(&format!("{}/token", endpoint.url()), ("agent", "s"), &routes);
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let scene = Scene::start(&Settings { outbound, ..validating(&jwks) }, &Options::default()).unwrap();
    let url = format!("{}/x", server.url());
    std::thread::scope(|threads| {
        let all: Vec<_> = (0..100)
            .map(|_| threads.spawn(|| scene.call_out(&url, Some("subject")).unwrap().status))
            .collect();
        for one in all {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(server.seen().len(), 100);
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let routes = [];
    let outbound = token_exchange("http://127.0.0.1:1/token", ("agent", "very-secret-indeed"), &routes);
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let scene = Scene::start(&Settings { outbound, ..validating(&jwks) }, &Options::default()).unwrap();
    let shown = http::get(&format!("http://{}/config", scene.at.stats)).unwrap().text();
    assert!(shown.contains("client_secret") && shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains("very-secret-indeed") && !scene.bridge.log().contains("very-secret-indeed"));
}

#[test]
fn keys_that_cannot_be_fetched_at_first_are_fetched_later_and_readiness_says_so() {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    jwks.answer(Answer::text("down").with_status(500));
    let scene = Scene::start_unready(&validating(&jwks), &Options::default()).unwrap();
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    let request = Request::new("GET", "/x").bearer(&token);
    let says_why = || {
        let Ok((status, body)) = scene.readiness() else { return Ok(false) };
        assert_eq!(status, 503, "{body}");
        Ok(body["problems"]["jwt-validation"].as_str().is_some_and(|why| why.contains("500")))
    };
    until("the reason", Duration::from_secs(10), says_why).unwrap();
    assert_eq!(scene.call(&request).unwrap().status, 503);
    jwks.publish(&[&key]);
    until("a request", Duration::from_secs(15), || Ok(scene.call(&request)?.status == 200)).unwrap();
    assert_eq!(scene.readiness().unwrap().0, 200);
}

#[test]
fn silent_connections_delay_nobody() {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let scene = scene(&jwks);
    let silent: Vec<_> = (0..50).map(|_| Connection::open(&scene.at.inbound.to_string()).unwrap()).collect();
    let began = Instant::now();
    assert_eq!(scene.call(&Request::new("GET", "/healthz")).unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    drop(silent);
}
