//! The real parts do what the scenarios count on.

use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::envoy::Envoy;
use countersign_sidecar_tests::http::{self, Connection, Tls};
use countersign_sidecar_tests::jwt;
use countersign_sidecar_tests::keycloak::Keycloak;
use countersign_sidecar_tests::ports;
use countersign_sidecar_tests::spire::Spire;
use countersign_sidecar_tests::tokens::{JWT_SPIFFE, access_token};

const REALM: &str = "agents";

#[test]
fn keycloak_starts_from_the_seed_and_exchanges_a_users_token_for_another_audience() {
    let mut keycloak = Keycloak::start().unwrap();
    let admin = keycloak.admin();
    admin.create_realm(REALM).unwrap();
    admin.set_token_lifespan(REALM, 120).unwrap();
    let caller = admin.create_confidential(REALM, "team/caller", "caller-secret").unwrap();
    admin.create_confidential(REALM, "team/weather", "weather-secret").unwrap();
    let alice = admin.create_user(REALM, "alice", "alice-pw").unwrap();
    // The caller must be in the audience of what it exchanges, and may ask for the other one.
    let own = admin.create_audience_scope(REALM, "aud-caller", "team/caller").unwrap();
    admin.attach_default_scope(REALM, &caller, &own).unwrap();
    let other = admin.create_audience_scope(REALM, "aud-weather", "team/weather").unwrap();
    admin.attach_optional_scope(REALM, &caller, &other).unwrap();
    assert_eq!(admin.client_uuid(REALM, "team/caller").unwrap(), caller);
    assert_eq!(admin.client_secret(REALM, &caller).unwrap(), "caller-secret");

    let user = ("alice", "alice-pw");
    let subject = keycloak.password_token(REALM, "team/caller", Some("caller-secret"), user).unwrap();
    let caller = ("team/caller", "caller-secret");
    let exchanged =
        access_token(keycloak.exchange(REALM, caller, &subject, "team/weather", "aud-weather").unwrap());
    let claims = jwt::claims(&exchanged.unwrap()).unwrap();
    assert_eq!(claims["aud"], "team/weather");
    assert_eq!(claims["azp"], "team/caller");
    assert_eq!(claims["sub"], alice.as_str());
    assert_eq!(claims["iss"], keycloak.issuer(REALM).as_str());
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 120);
    let (status, refusal) = keycloak.exchange(REALM, caller, &subject, "team/weather", "").unwrap();
    assert_eq!((status, &refusal["error"]), (400, &"invalid_request".into()));

    // New keys sign at once; the old ones are published until they are removed.
    let published = |kid: &str| {
        let keys = http::get(&keycloak.jwks_url(REALM)).unwrap().json().unwrap();
        keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid)
    };
    let before = admin.signing_kid(REALM).unwrap();
    let after = admin.add_signing_key(REALM).unwrap();
    assert_ne!(before, after);
    let token = keycloak.client_token(REALM, "team/weather", "weather-secret").unwrap();
    assert_eq!(jwt::header(&token).unwrap()["kid"], after.as_str());
    assert!(published(&before) && published(&after));
    admin.remove_old_signing_keys(REALM).unwrap();
    assert!(!published(&before) && published(&after));

    keycloak.stop().unwrap();
    assert!(keycloak.client_token(REALM, "team/weather", "weather-secret").is_err());
    keycloak.start_again().unwrap();
    keycloak.client_token(REALM, "team/weather", "weather-secret").unwrap();
}

#[test]
fn an_svid_from_spire_authenticates_a_client_in_keycloak() {
    let spire = Spire::start("example.org").unwrap();
    let id = "spiffe://example.org/ns/team/sa/weather";
    spire.register(id, 10_001).unwrap();
    let keycloak = Keycloak::start().unwrap();
    let admin = keycloak.admin();
    admin.create_realm(REALM).unwrap();
    admin.trust_spiffe(REALM, "spire", "example.org", &spire.bundle_url().unwrap()).unwrap();
    admin.create_spiffe_client(REALM, id, "spire", id).unwrap();

    let log_in = |svid: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", svid),
        ];
        keycloak.token(REALM, &form).unwrap()
    };
    let svid = spire.fetch_jwt(10_001, &keycloak.issuer(REALM)).unwrap();
    let token = access_token(log_in(&svid)).unwrap();
    assert_eq!(jwt::claims(&token).unwrap()["azp"], id);
    let elsewhere = spire.fetch_jwt(10_001, "https://elsewhere.example").unwrap();
    assert_eq!(log_in(&elsewhere).0, 400);
}

#[test]
fn two_users_get_two_identities_from_spire() {
    let mut spire = Spire::start("example.org").unwrap();
    let (first, second) = ("spiffe://example.org/first", "spiffe://example.org/second");
    spire.register(first, 10_001).unwrap();
    spire.register(second, 10_002).unwrap();
    for (user, id) in [(10_001, first), (10_002, second)] {
        let claims = jwt::claims(&spire.fetch_jwt(user, "test").unwrap()).unwrap();
        assert_eq!(claims["sub"], id);
    }
    let files = spire.fetch_x509(10_001).unwrap();
    Tls::with_certificate(&files.bundle, &files.chain, &files.key).unwrap();
    spire.mint_x509("spiffe://example.org/minted", "5s").unwrap();

    // What has the agent learnt is still there after a restart, and a new authority signs once it is active.
    spire.restart_agent().unwrap();
    let old = jwt::header(&spire.fetch_jwt(10_001, "test").unwrap()).unwrap()["kid"].clone();
    let authority = spire.jwt_authority();
    let replaced = authority.show().unwrap().active.unwrap();
    let id = authority.prepare().unwrap();
    authority.activate(&id).unwrap();
    let new = jwt::header(&spire.fetch_jwt(10_001, "another").unwrap()).unwrap()["kid"].clone();
    assert_ne!(old, new);
    authority.taint(&replaced).unwrap();
    authority.revoke(&replaced).unwrap();
    let kids = spire.bundle().unwrap().to_string();
    assert!(kids.contains(new.as_str().unwrap()) && !kids.contains(old.as_str().unwrap()));
    let authority = spire.x509_authority();
    authority.activate(&authority.prepare().unwrap()).unwrap();
}

#[test]
fn envoy_serves_a_static_response_and_passes_on_to_a_backend() {
    let backend = Backend::start(Answer::text("from the backend")).unwrap();
    let port = ports::free().unwrap();
    let settings = format!(
        r#"
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{path: /static}}
                direct_response: {{status: 418, body: {{inline_string: "by itself"}}}}
              - match: {{prefix: /}}
                route: {{cluster: backend}}
  clusters:
  - name: backend
    type: STATIC
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}
"#,
        backend.address().port()
    );
    let envoy = Envoy::start(&settings).unwrap();
    let mut connection = Connection::open(&format!("127.0.0.1:{port}")).unwrap();
    let own = connection.send(&http::Request::new("GET", "/static")).unwrap();
    assert_eq!((own.status, own.text().as_str()), (418, "by itself"));
    let passed = connection.send(&http::Request::new("POST", "/a%2Fb?c=d").body("question")).unwrap();
    assert_eq!(passed.text(), "from the backend");
    let seen = backend.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.text().as_str(), seen.complete), ("/a%2Fb?c=d", "question", true));
    assert_eq!(envoy.admin("/server_info").unwrap().json().unwrap()["state"], "LIVE");
}
