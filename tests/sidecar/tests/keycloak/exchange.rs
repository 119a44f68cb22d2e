//! Keycloak does what the scenarios count on: it exchanges tokens, replaces its keys, and knows clients by their SVIDs.

use crate::{keycloak, keycloak_alone};
use countersign_sidecar_tests::http;
use countersign_sidecar_tests::jwt;
use countersign_sidecar_tests::spire::Spire;
use countersign_sidecar_tests::tokens::{JWT_SPIFFE, access_token};

const EXCHANGE: &str = "exchange";
const SVID: &str = "svid";

#[test]
fn keycloak_starts_from_the_seed_and_exchanges_a_users_token_for_another_audience() {
    let (keycloak, _alone) = keycloak_alone();
    let admin = keycloak.admin();
    admin.create_realm(EXCHANGE).unwrap();
    admin.set_token_lifespan(EXCHANGE, 120).unwrap();
    let caller = admin.create_confidential(EXCHANGE, "team/caller", "caller-secret").unwrap();
    admin.create_confidential(EXCHANGE, "team/weather", "weather-secret").unwrap();
    let alice = admin.create_user(EXCHANGE, "alice", "alice-pw").unwrap();
    // The caller must be in the audience of what it exchanges, and may ask for the other one.
    let own = admin.create_audience_scope(EXCHANGE, "aud-caller", "team/caller").unwrap();
    admin.attach_default_scope(EXCHANGE, &caller, &own).unwrap();
    let other = admin.create_audience_scope(EXCHANGE, "aud-weather", "team/weather").unwrap();
    admin.attach_optional_scope(EXCHANGE, &caller, &other).unwrap();
    assert_eq!(admin.client_uuid(EXCHANGE, "team/caller").unwrap(), caller);
    assert_eq!(admin.client_secret(EXCHANGE, &caller).unwrap(), "caller-secret");

    let user = ("alice", "alice-pw");
    let subject = keycloak.password_token(EXCHANGE, "team/caller", Some("caller-secret"), user).unwrap();
    let caller = ("team/caller", "caller-secret");
    let exchanged =
        access_token(keycloak.exchange(EXCHANGE, caller, &subject, "team/weather", "aud-weather").unwrap());
    let claims = jwt::claims(&exchanged.unwrap()).unwrap();
    assert_eq!(claims["aud"], "team/weather");
    assert_eq!(claims["azp"], "team/caller");
    assert_eq!(claims["sub"], alice.as_str());
    assert_eq!(claims["iss"], keycloak.issuer(EXCHANGE).as_str());
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 120);
    let (status, refusal) = keycloak.exchange(EXCHANGE, caller, &subject, "team/weather", "").unwrap();
    assert_eq!((status, &refusal["error"]), (400, &"invalid_request".into()));

    // New keys sign at once; the old ones are published until they are removed.
    let published = |kid: &str| {
        let keys = http::get(&keycloak.jwks_url(EXCHANGE)).unwrap().json().unwrap();
        keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid)
    };
    let before = admin.signing_kid(EXCHANGE).unwrap();
    let after = admin.add_signing_key(EXCHANGE).unwrap();
    assert_ne!(before, after);
    let token = keycloak.client_token(EXCHANGE, "team/weather", "weather-secret").unwrap();
    assert_eq!(jwt::header(&token).unwrap()["kid"], after.as_str());
    assert!(published(&before) && published(&after));
    admin.remove_old_signing_keys(EXCHANGE).unwrap();
    assert!(!published(&before) && published(&after));

    keycloak.stop().unwrap();
    assert!(keycloak.client_token(EXCHANGE, "team/weather", "weather-secret").is_err());
    keycloak.start_again().unwrap();
    keycloak.client_token(EXCHANGE, "team/weather", "weather-secret").unwrap();
}

#[test]
fn an_svid_from_spire_authenticates_a_client_in_keycloak() {
    let spire = Spire::start("example.org").unwrap();
    let id = "spiffe://example.org/ns/team/sa/weather";
    spire.register(id, 10_001).unwrap();
    let (keycloak, _shared) = keycloak();
    let admin = keycloak.admin();
    admin.create_realm(SVID).unwrap();
    admin.trust_spiffe(SVID, "spire", "example.org", &spire.bundle_url().unwrap()).unwrap();
    admin.create_spiffe_client(SVID, id, "spire", id).unwrap();

    let log_in = |svid: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", svid),
        ];
        keycloak.token(SVID, &form).unwrap()
    };
    let svid = spire.fetch_jwt(10_001, &keycloak.issuer(SVID)).unwrap();
    let token = access_token(log_in(&svid)).unwrap();
    assert_eq!(jwt::claims(&token).unwrap()["azp"], id);
    let elsewhere = spire.fetch_jwt(10_001, "https://elsewhere.example").unwrap();
    assert_eq!(log_in(&elsewhere).0, 400);
}
