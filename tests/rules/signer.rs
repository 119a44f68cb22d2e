//! The signer: what it signs every current form agrees on, and what it refuses.

use crate::cards::{World, card, card_bytes, card_with};
use crate::pki::{Key, Leaf, NOW};
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::history::{Accepted, History, Seen};
use countersign_core::policy::Freshness;
use countersign_core::refusal::Reason;
use countersign_core::sign::{SignOptions, SigningKey, sign_card};
use countersign_core::time::Seconds;
use countersign_core::verify::CoverageLevel;
use ring::rand::SystemRandom;
use serde_json::{Value, json};

fn sign<'w>(
    world: &'w World,
    card: &Value,
    change: impl FnOnce(&mut SignOptions<'w>),
) -> Result<Vec<u8>, Reason> {
    let random = SystemRandom::new();
    let key = SigningKey::from_pkcs8(&world.svid.pkcs8(), &random).unwrap();
    let mut options =
        SignOptions { chain: &world.svid.chain, lifetime: None, also_kagenti: false, now: world.time() };
    change(&mut options);
    sign_card(card_bytes(card), &key, options, &random).map_err(|refusal| refusal.reason())
}

#[test]
fn a_signed_card_is_verified_in_full_under_each_of_the_first_three_forms() {
    for key in [Key::P256, Key::P384, Key::Rsa2048] {
        let mut world = World::with(&Leaf { key, ..Leaf::default() });
        let signed = sign(&world, &card(), |_| {}).unwrap();
        for profile in [Profile::Spec841, Profile::JcsRaw, Profile::ProtoCleanJcs] {
            world.policy.profiles = ProfileSet::NONE.with(profile);
            assert_eq!(world.assert_verified(&signed).coverage(), CoverageLevel::Full, "{profile}");
        }
    }
}

#[test]
fn defaults_are_left_out_and_old_signatures_replaced() {
    let world = World::new();
    let mut odd = card_with("securitySchemes", json!({}));
    odd["supportedInterfaces"][0]["tenant"] = json!("");
    odd["signatures"] = json!("not even a list");
    let signed = sign(&world, &odd, |_| {}).unwrap();
    assert_eq!(signed.len(), sign(&world, &card(), |_| {}).unwrap().len());
    let signed = world.assert_verified(&signed);
    assert!(signed.document().root().as_object().unwrap().get("securitySchemes").is_none());
}

#[test]
fn what_readers_see_differently_is_not_signed() {
    let world = World::new();
    for (name, value) in [
        ("url", json!("https://weather.demo.svc/")),
        ("xVendor", json!("v")),
        ("securityRequirements", json!([{"schemes": {"x": {"list": []}}}])),
        ("securitySchemes", json!({"m": {"mtlsSecurityScheme": {}}})),
        ("description", json!("")),
        ("skills", json!([])),
        ("provider", json!({"organization": "o"})),
        ("capabilities", json!({"extensions": [{"uri": "u", "params": {"a": ""}}]})),
    ] {
        let card = card_with(name, value);
        let reason = sign(&world, &card, |_| {}).err();
        // An incomplete provider coincides under all forms; everything else does not.
        assert_eq!(reason, (name != "provider").then_some(Reason::CardNotSignable), "{name}");
    }
}

#[test]
fn a_second_signature_serves_the_existing_kagenti_verifier() {
    let mut world = World::reporting();
    let signed = sign(&world, &card(), |options| options.also_kagenti = true).unwrap();
    let outcomes = world.assert_verified(&signed);
    let profiles: Vec<_> =
        outcomes.signatures().iter().map(|outcome| outcome.result.clone().unwrap()).collect();
    assert_eq!(profiles, [Profile::Spec841, Profile::KagentiGo]);
    world.policy.profiles = ProfileSet::NONE.with(Profile::KagentiGo);
    assert_eq!(world.assert_verified(&signed).profile(), Profile::KagentiGo);
}

#[test]
fn a_signature_ends_with_its_leaf_or_with_its_own_lifetime_and_outlives_neither() {
    let mut world = World::new();
    let plain = sign(&world, &card(), |_| {}).unwrap();
    let long = sign(&world, &card(), |options| options.lifetime = Some(Seconds::new(10_000))).unwrap();
    let short = sign(&world, &card(), |options| options.lifetime = Some(Seconds::new(100))).unwrap();
    for signed in [&plain, &long] {
        assert_eq!(world.assert_verified(signed).not_after().as_unix(), i64::try_from(NOW + 3590).unwrap());
    }
    let (accepted, freshness) = (Accepted::of(&world.assert_verified(&long)), world.policy.freshness);
    let history = History::after(None, &[accepted], Seen::Everything, freshness, world.time());
    assert_eq!(world.assert_verified(&long).not_after().as_unix(), i64::try_from(NOW + 3590).unwrap());
    assert_eq!(world.assert_verified(&short).not_after().as_unix(), i64::try_from(NOW + 100).unwrap());
    world.now = NOW + 200;
    world.assert_refused(Reason::SignatureTimes, &short);
    world.now = NOW + 4000;
    world.assert_refused(Reason::CertificateExpired, &long);
    // A card that was seen in time counts further where that is allowed, until its own end.
    world.policy.freshness = Freshness::Witnessed { max_age: Seconds::new(86_400) };
    world.history = history;
    world.assert_verified(&long);
    world.now = NOW + 10_061;
    world.assert_refused(Reason::SignatureTimes, &long);
    world.now = NOW + 4000;
    assert_eq!(sign(&world, &card(), |_| {}), Err(Reason::CertificateExpired));
}

#[test]
fn a_key_of_somebody_else_signs_nothing() {
    let (world, other) = (World::new(), World::new());
    let stolen = sign(&world, &card(), |options| options.chain = &other.svid.chain);
    assert_eq!(stolen, Err(Reason::SigningKeyUnusable));
    assert_eq!(sign(&world, &card(), |options| options.chain = &[]), Err(Reason::ChainTooLarge));
    let unusable = SigningKey::from_pkcs8(b"not a key", &SystemRandom::new()).unwrap_err();
    assert_eq!(unusable.reason(), Reason::SigningKeyUnusable);
    let ed25519 = World::with(&Leaf { key: Key::Ed25519, ..Leaf::default() });
    assert!(SigningKey::from_pkcs8(&ed25519.svid.pkcs8(), &SystemRandom::new()).is_err());
}
