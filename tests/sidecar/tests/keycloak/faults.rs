//! A Keycloak that is slow, away, has other keys, or refuses: what waits, what goes on, and what callers learn of it.

use crate::{keycloak, keycloak_alone};
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::http::{self, Reply, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{self, SigningKey, ordinary_claims};
use countersign_sidecar_tests::keycloak::Keycloak;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use countersign_sidecar_tests::tokens::access_token;
use serde_json::json;
use std::time::{Duration, Instant};

/// The agent's client and its secret.
const AGENT: (&str, &str) = ("team/agent", "secret-of-the-agent");
/// A client whose tokens are not for the agent.
const STRANGER: (&str, &str) = ("team/stranger", "secret-of-the-stranger");
const STUB: &str = "https://id.example/realms/agents";

/// A Keycloak that answers nothing until this is dropped.
struct Paused<'a>(&'a Keycloak);

impl<'a> Paused<'a> {
    fn new(keycloak: &'a Keycloak) -> Self {
        keycloak.pause().unwrap();
        Self(keycloak)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let _ = self.0.resume();
    }
}

/// Makes a realm where the agent may get tokens for `team/tool`, and nothing else.
fn make_realm(keycloak: &Keycloak, realm: &str) {
    let admin = keycloak.admin();
    admin.create_realm(realm).unwrap();
    let agent = admin.create_confidential(realm, AGENT.0, AGENT.1).unwrap();
    admin.create_confidential(realm, STRANGER.0, STRANGER.1).unwrap();
    admin.create_confidential(realm, "team/tool", "secret-of-the-tool").unwrap();
    let own = admin.create_audience_scope(realm, "to-agent", AGENT.0).unwrap();
    admin.attach_default_scope(realm, &agent, &own).unwrap();
    let tool = admin.create_audience_scope(realm, "to-tool", "team/tool").unwrap();
    admin.attach_optional_scope(realm, &agent, &tool).unwrap();
}

/// The sidecar's configuration in such a realm.
fn settings(keycloak: &Keycloak, realm: &str) -> Settings {
    let routes = [
        "{host: 127.0.0.1, target_audience: team/tool, token_scopes: to-tool}",
        "{host: unreachable.example, target_audience: team/stranger, token_scopes: to-tool}",
        "{host: unknown.example, target_audience: team/tool, token_scopes: no-such-scope}",
    ];
    Settings {
        inbound: jwt_validation(&keycloak.issuer(realm), &keycloak.jwks_url(realm), AGENT.0),
        outbound: token_exchange(&keycloak.token_url(realm), AGENT, &routes),
        ..Settings::default()
    }
}

/// An agent in a realm of its own, with a tool that it calls.
struct Stage {
    realm: &'static str,
    scene: Scene,
    tool: Backend,
}

impl Stage {
    fn new(keycloak: &Keycloak, realm: &'static str) -> Self {
        make_realm(keycloak, realm);
        let environment = vec![("LOG_LEVEL".to_owned(), "debug".to_owned())];
        let options = Options { environment, ..Options::default() };
        let scene = Scene::start(&settings(keycloak, realm), &options).unwrap();
        Self { realm, scene, tool: Backend::start(Answer::text("the tool")).unwrap() }
    }

    fn token(&self, keycloak: &Keycloak) -> String {
        keycloak.client_token(self.realm, AGENT.0, AGENT.1).unwrap()
    }

    fn call_in(&self, token: &str) -> Reply {
        self.scene.call(&Request::new("GET", "/question").bearer(token)).unwrap()
    }

    fn call_tool(&self, token: &str) -> Reply {
        self.scene.call_out(&self.tool.url(), Some(token)).unwrap()
    }

    /// How often the token endpoint was asked.
    fn token_calls(&self) -> u64 {
        let metrics = http::get(&format!("http://{}/metrics", self.scene.at.stats)).unwrap().text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("authbridge_token_calls_total "));
        count.unwrap().parse().unwrap()
    }
}

fn assert_exchange_failed(reply: &Reply, word: &str) {
    let body = reply.json().unwrap();
    assert_eq!((reply.status, &body["error"]), (503, &json!("upstream.token-exchange-failed")), "{body}");
    assert_eq!(body["plugin"], "token-exchange");
    assert!(body["message"].as_str().unwrap().contains(word), "{body}");
}

#[test]
fn while_keycloak_hangs_known_tokens_work_and_new_ones_are_refused_in_time() {
    let (keycloak, _alone) = keycloak_alone();
    let stage = Stage::new(keycloak, "slow");
    let [known, new] = [stage.token(keycloak), stage.token(keycloak)];
    assert_eq!(stage.call_tool(&known).status, 200);
    let exchanged = stage.tool.last().unwrap().bearer().map(str::to_owned);

    let paused = Paused::new(keycloak);
    let began = Instant::now();
    assert_eq!(stage.call_tool(&known).status, 200);
    assert_eq!(stage.tool.last().unwrap().bearer().map(str::to_owned), exchanged);
    // A token that was never seen is judged by keys that are there.
    assert_eq!(stage.call_in(&new).status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let (calls, began) = (stage.token_calls(), Instant::now());
    std::thread::scope(|threads| {
        let waiting: Vec<_> = (0..10).map(|_| threads.spawn(|| stage.call_tool(&new))).collect();
        // Who waits for Keycloak keeps nobody else waiting.
        assert_eq!(stage.call_tool(&known).status, 200);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        for reply in waiting {
            assert_exchange_failed(&reply.join().unwrap(), "no answer in time");
        }
    });
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(stage.token_calls(), calls + 1);
    assert_eq!(stage.scene.readiness().unwrap().0, 200);

    drop(paused);
    until("a new token", Duration::from_secs(10), || Ok(stage.call_tool(&new).status == 200)).unwrap();
}

#[test]
fn a_restart_of_keycloak_is_survived_and_a_sidecar_that_starts_meanwhile_waits_for_it() {
    let (keycloak, _alone) = keycloak_alone();
    let stage = Stage::new(keycloak, "away");
    let [known, new] = [stage.token(keycloak), stage.token(keycloak)];
    assert_eq!(stage.call_tool(&known).status, 200);
    keycloak.stop().unwrap();

    assert_eq!(stage.call_in(&known).status, 200);
    assert_eq!(stage.call_tool(&known).status, 200);
    let began = Instant::now();
    assert_exchange_failed(&stage.call_tool(&new), "the token endpoint");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // A reload that does not concern it changes nothing for callers.
    let blocks = "session: {ttl: 7m}".to_owned();
    stage.scene.rewrite(&Settings { blocks, ..settings(keycloak, "away") }).unwrap();
    let reloads = || Ok(stage.scene.stats("/reload/status")?["reloads_ok"] == 1);
    until("the reload", Duration::from_secs(15), reloads).unwrap();
    assert_eq!([stage.call_in(&known), stage.call_in(&new)].map(|reply| reply.status), [200, 200]);
    assert_eq!(stage.call_tool(&known).status, 200);
    let late = Scene::start_unready(&settings(keycloak, "away"), &Options::default()).unwrap();
    until("the late sidecar", Duration::from_secs(10), || Ok(late.readiness().is_ok())).unwrap();
    let (status, problems) = late.readiness().unwrap();
    assert_eq!(status, 503, "{problems}");
    assert!(problems["problems"]["jwt-validation"].is_string(), "{problems}");
    let request = Request::new("GET", "/question").bearer(&known);
    let refused = late.call(&request).unwrap();
    assert_eq!((refused.status, &refused.json().unwrap()["error"]), (503, &json!("auth.unavailable")));

    keycloak.start_again().unwrap();
    let new = stage.token(keycloak);
    assert_eq!(stage.call_tool(&new).status, 200);
    until("keys", Duration::from_secs(15), || Ok(late.call(&request)?.status == 200)).unwrap();
    assert_eq!(late.readiness().unwrap().0, 200);
}

#[test]
fn new_signing_keys_count_at_once_and_removed_ones_no_more() {
    let (keycloak, _shared) = keycloak();
    let admin = keycloak.admin();
    let stage = Stage::new(keycloak, "keys");
    let first = stage.token(keycloak);
    assert_eq!(stage.call_in(&first).status, 200);

    // The same name and algorithm, but not the key.
    let kid = admin.signing_kid(stage.realm).unwrap();
    let claims = jwt::claims(&first).unwrap();
    let forged = stage.call_in(&SigningKey::rsa(&kid).unwrap().sign(&claims).unwrap());
    assert_eq!((forged.status, &forged.json().unwrap()["error"]), (401, &json!("auth.invalid-token")));

    admin.add_signing_key(stage.realm).unwrap();
    let second = stage.token(keycloak);
    assert_ne!(jwt::header(&first).unwrap()["kid"], jwt::header(&second).unwrap()["kid"]);
    assert_eq!(stage.call_in(&second).status, 200);
    assert_eq!(stage.call_in(&first).status, 200);

    // Another sidecar, because one that fetched keys for an unknown name does so again after ten seconds only.
    let other = Scene::start(&settings(keycloak, stage.realm), &Options::default()).unwrap();
    let call = |token: &str| other.call(&Request::new("GET", "/question").bearer(token)).unwrap();
    assert_eq!([call(&first).status, call(&second).status], [200, 200]);
    admin.replace_signing_keys(stage.realm).unwrap();
    assert_eq!(call(&stage.token(keycloak)).status, 200);
    for removed in [&first, &second] {
        let reply = call(removed);
        assert_eq!((reply.status, &reply.json().unwrap()["reason"]), (401, &json!("TokenKeyUnknown")));
    }
}

#[test]
fn a_flood_of_unknown_keys_causes_one_fetch_in_ten_seconds_and_hides_no_new_key() {
    let (old, new) = (SigningKey::p256("old").unwrap(), SigningKey::p256("new").unwrap());
    let jwks = JwksServer::start(&[&old]).unwrap();
    let inbound = jwt_validation(STUB, &jwks.url(), "agent");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    assert_eq!(jwks.requests(), 1);
    let call = |token: &str| scene.call(&Request::new("GET", "/").bearer(token)).unwrap();
    let claims = ordinary_claims(STUB, "agent", "alice");
    let strange = |number: usize| {
        let header = json!({"alg": "ES256", "kid": format!("strange-{number}")});
        call(&old.sign_with(&header, &claims).unwrap()).status
    };

    let began = Instant::now();
    for number in 0..100 {
        assert_eq!(strange(number), 401);
    }
    // Once in ten seconds for each of two causes, and once at the start.
    let most = |began: Instant| 3 + 2 * usize::try_from(began.elapsed().as_secs() / 10).unwrap();
    assert!((2..=most(began)).contains(&jwks.requests()), "{}", jwks.requests());
    // A wrong signature under a known name is held to a limit of its own.
    let impostor = SigningKey::p256("old").unwrap().sign(&claims).unwrap();
    let refused = call(&impostor);
    assert_eq!((refused.status, &refused.json().unwrap()["reason"]), (401, &json!("SignatureInvalid")));

    jwks.publish(&[&old, &new]);
    let token = new.sign(&claims).unwrap();
    until("the new key", Duration::from_secs(15), || {
        Ok(strange(jwks.requests()) == 401 && call(&token).status == 200)
    })
    .unwrap();
    assert!((3..=most(began)).contains(&jwks.requests()), "{}", jwks.requests());
}

#[test]
fn another_key_under_the_same_name_counts_without_waiting_for_the_next_period() {
    let [before, after] = [(); 2].map(|()| SigningKey::p256("same").unwrap());
    let jwks = JwksServer::start(&[&before]).unwrap();
    let inbound = jwt_validation(STUB, &jwks.url(), "agent");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    let claims = ordinary_claims(STUB, "agent", "alice");
    let call = |key: &SigningKey| {
        scene.call(&Request::new("GET", "/").bearer(&key.sign(&claims).unwrap())).unwrap().status
    };
    assert_eq!(call(&before), 200);
    // As after a restore from a backup. Nothing was fetched out of turn yet, so the first token brings the keys.
    jwks.publish(&[&after]);
    assert_eq!(call(&after), 200);
    assert_eq!(
        (call(&before), jwks.requests()),
        (401, 2),
        "the old key is gone, and nobody may ask again yet"
    );
}

#[test]
fn what_keycloak_refuses_is_told_by_its_word_and_without_anything_secret() {
    let (keycloak, _shared) = keycloak();
    let stage = Stage::new(keycloak, "refusals");
    let token = stage.token(keycloak);
    let strangers = keycloak.client_token(stage.realm, STRANGER.0, STRANGER.1).unwrap();
    let forged = SigningKey::p256("k").unwrap();
    let forged = forged.sign(&ordinary_claims(&keycloak.issuer(stage.realm), AGENT.0, "alice")).unwrap();
    for (url, subject, word) in [
        ("http://unreachable.example/", &token, "invalid_request"),
        ("http://unknown.example/", &token, "invalid_scope"),
        (stage.tool.url().as_str(), &strangers, "access_denied"),
        (&stage.tool.url(), &forged, "invalid_request"),
    ] {
        let reply = stage.scene.call_out(url, Some(subject)).unwrap();
        assert_exchange_failed(&reply, word);
        let log = stage.scene.bridge.log();
        assert!(log.contains("upstream.token-exchange-failed"), "{log}");
        for secret in [subject, AGENT.1] {
            assert!(!log.contains(secret) && !reply.text().contains(secret), "{}", reply.text());
        }
        // Nor its signature alone, nor its claims.
        for part in subject.split('.').skip(1) {
            assert!(!log.contains(part) && !reply.text().contains(part));
        }
    }
    assert!(stage.tool.seen().is_empty(), "the tool was called without a token of its own");
    assert_eq!(stage.call_tool(&token).status, 200);
}

#[test]
fn a_burst_of_requests_that_fail_asks_keycloak_once() {
    let (keycloak, _shared) = keycloak();
    let stage = Stage::new(keycloak, "burst");
    let form =
        [("grant_type", "client_credentials"), ("client_id", STRANGER.0), ("client_secret", STRANGER.1)];
    let strangers = access_token(keycloak.token(stage.realm, &form).unwrap()).unwrap();
    let began = Instant::now();
    std::thread::scope(|threads| {
        let all: Vec<_> = (0..40).map(|_| threads.spawn(|| stage.call_tool(&strangers))).collect();
        for reply in all {
            assert_exchange_failed(&reply.join().unwrap(), "access_denied");
        }
    });
    assert_exchange_failed(&stage.call_tool(&strangers), "access_denied");
    // A failure counts for a second and a half.
    let most = 1 + u64::try_from(began.elapsed().as_millis() / 1500).unwrap();
    assert!((1..=most).contains(&stage.token_calls()), "{} calls", stage.token_calls());
    // Nobody else has to bear it.
    assert_eq!(stage.call_tool(&stage.token(keycloak)).status, 200);

    let calls = stage.token_calls();
    until("another question", Duration::from_secs(5), || {
        assert_exchange_failed(&stage.call_tool(&strangers), "access_denied");
        Ok(stage.token_calls() > calls)
    })
    .unwrap();
}
