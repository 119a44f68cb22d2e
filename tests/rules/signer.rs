//! The signer: what every current form agrees on, what is signed twice, and what is refused.

use crate::cards::{World, card, card_bytes, card_with, replaced};
use crate::pki::{Key, Leaf, NOW};
use countersign_core::canon::{Profile, ProfileSet, Uncovered, canonicalize};
use countersign_core::history::{History, Seen};
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::jws::Algorithm;
use countersign_core::limits::{BODY_BYTES, cost};
use countersign_core::policy::Freshness;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::sign::{NewlySigned, SignOptions, Signer, SigningKey, sign_card};
use countersign_core::time::Seconds;
use countersign_core::verify::CoverageLevel;
use serde_json::{Value, json};

fn sign<'w>(
    world: &'w World,
    card: &Value,
    change: impl FnOnce(&mut SignOptions<'w>),
) -> Result<Vec<u8>, Reason> {
    sign_with(world, &key_of(world), card, change).map_err(|refusal| refusal.reason())
}

fn key_of(world: &World) -> SigningKey {
    SigningKey::from_pkcs8(&world.svid.pkcs8()).unwrap()
}

fn sign_with<'w>(
    world: &'w World,
    signer: &dyn Signer,
    card: &Value,
    change: impl FnOnce(&mut SignOptions<'w>),
) -> Result<Vec<u8>, Refusal> {
    let mut options = options(world);
    change(&mut options);
    sign_card(card_bytes(card), signer, options).map(|signed| signed.card)
}

fn options(world: &World) -> SignOptions<'_> {
    SignOptions { chain: &world.svid.chain, lifetime: None, also_kagenti: false, now: world.time() }
}

fn sign_all(world: &World, card: &Value) -> Result<NewlySigned, Refusal> {
    sign_card(card_bytes(card), &key_of(world), options(world))
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
fn no_signature_of_a_card_fits_the_card_without_its_requirements() {
    let world = World::new();
    for (name, value) in [
        ("securityRequirements", json!([{"schemes": {"bearer": {"list": []}}}])),
        ("security", json!([{"bearer": []}])),
        ("url", json!("https://weather.demo.svc/")),
    ] {
        let signed = sign_all(&world, &card_with(name, value)).unwrap();
        let all: Value = serde_json::from_slice(&signed.card).unwrap();
        let served = Document::parse(signed.card.clone(), &JsonLimits::CARD, Numbers::Strict).unwrap();
        let form = canonicalize(&served, Profile::ProtoFoldedJcs).unwrap();
        let mut stripped: Value = serde_json::from_slice(&form).unwrap();
        for index in 0..all["signatures"].as_array().unwrap().len() {
            stripped["signatures"] = json!([all["signatures"][index]]);
            let found = world.verify(&card_bytes(&stripped));
            assert!(found.is_err() || stripped.get(name).is_some(), "{name}: signature {index} fits");
        }
    }
}

#[test]
fn what_readers_see_differently_is_signed_twice() {
    let world = World::new();
    for (name, value, lost) in [
        ("url", json!("https://weather.demo.svc/"), &["/url"][..]),
        ("xVendor", json!("v"), &["/xVendor"]),
        ("securityRequirements", json!([{"schemes": {"x": {"list": []}}}]), &["/securityRequirements"]),
        ("securitySchemes", json!({"m": {"mtlsSecurityScheme": {}}}), &["/securitySchemes"]),
        ("description", json!(""), &[]),
        ("skills", json!([]), &[]),
        (
            "capabilities",
            json!({"extensions": [{"uri": "u", "params": {"a": ""}}]}),
            &["/capabilities/extensions/0/params"],
        ),
    ] {
        let signed = sign_all(&world, &card_with(name, value)).unwrap();
        if ["url", "securityRequirements", "securitySchemes"].contains(&name) {
            // It decides about security, so the form without it gets no signature.
            assert_eq!(signed.signatures.len(), 1, "{name}");
            let without = signed.without_sdks.as_ref().unwrap();
            assert_eq!(without.reason(), Reason::UncoveredSecurityMember, "{name}");
            assert!(lost.iter().any(|member| without.message().contains(member)), "{name}: {without}");
            assert_eq!(world.assert_verified(&signed.card).coverage(), CoverageLevel::Full, "{name}");
            continue;
        }
        let [whole, sdks] = signed.signatures.as_slice() else { panic!("{name}: {signed:?}") };
        assert!(whole.profiles.contains(&Profile::JcsRaw) && whole.uncovered.is_empty(), "{name}");
        assert!(!sdks.profiles.contains(&Profile::JcsRaw), "{name}");
        for sdk in [Profile::ProtoCleanJcs, Profile::ProtoFoldedJcs] {
            assert!(sdks.profiles.contains(&sdk), "{name}: {sdk}");
        }
        let left_out = sdks.uncovered.listed();
        let left_out: Vec<_> = left_out.iter().map(Uncovered::pointer).collect();
        assert_eq!(left_out, lost, "{name}");
        assert_eq!(world.assert_verified(&signed.card).coverage(), CoverageLevel::Full, "{name}");
    }
    // An incomplete provider coincides under all forms.
    let signed = sign_all(&world, &card_with("provider", json!({"organization": "o"}))).unwrap();
    assert_eq!(signed.signatures.len(), 1);
}

#[test]
fn a_form_of_the_sdks_that_is_no_card_gets_no_signature() {
    let world = World::new();
    let odd = json!({"name": "x", "url": 5, "capabilities": ["a"]});
    let typed = sign_all(&world, &odd).unwrap();
    assert_eq!((typed.signatures.len(), typed.without_sdks.unwrap().reason()), (1, Reason::CardMemberType));
    let own = json!({"name": "x", "capabilities": {"own": true}});
    let nothing = sign_all(&world, &own).unwrap();
    assert_eq!(
        (nothing.signatures.len(), nothing.without_sdks.unwrap().reason()),
        (1, Reason::PayloadNotCard)
    );
    assert_eq!(sign(&world, &own, |options| options.also_kagenti = true), Err(Reason::PayloadNotCard));
    for no_card in [json!({}), json!({"name": "x"}), json!({"skills": [1]})] {
        assert_eq!(sign(&world, &no_card, |_| {}), Err(Reason::PayloadNotCard), "{no_card}");
    }
}

#[test]
fn numbers_that_rfc_8785_spells_longer_are_written_as_received() {
    let world = World::new();
    let card = card_with("xVendor", json!("?"));
    let bytes = replaced(&card_bytes(&card), "\"?\"", "[1e20,1.50]");
    let signed = sign_card(bytes, &key_of(&world), options(&world)).unwrap().card;
    assert!(String::from_utf8_lossy(&signed).contains("[1e20,1.50]"));
    world.assert_verified(&signed);
}

#[test]
fn a_card_that_its_signatures_make_too_large_is_not_signed() {
    let world = World::new();
    let long: Vec<_> = (0..10).map(|_| "x".repeat(26_100)).collect();
    let large = card_with("xVendor", json!(long));
    assert!(card_bytes(&large).len() < BODY_BYTES);
    assert_eq!(sign(&world, &large, |_| {}), Err(Reason::BodyTooLarge));
}

#[test]
fn rule_49_the_signature_that_covers_most_decides() {
    let mut world = World::new();
    let signed = sign(&world, &card_with("xVendor", json!("v")), |_| {}).unwrap();
    let verified = world.assert_verified(&signed);
    let profiles: Vec<_> =
        verified.signatures().iter().map(|outcome| outcome.result.clone().unwrap()).collect();
    assert_eq!(profiles, [Profile::JcsRaw, Profile::Spec841]);
    assert_eq!((verified.profile(), verified.coverage()), (Profile::JcsRaw, CoverageLevel::Full));
    // Without the first signature the member is not covered.
    world.policy.profiles = ProfileSet::NONE.with(Profile::Spec841);
    let alone = world.assert_verified(&signed);
    assert_eq!((alone.coverage(), alone.uncovered().len()), (CoverageLevel::Partial, 1));
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
fn a_signer_that_signs_twice_pays_for_its_chain_once() {
    let mut world = World::reporting();
    let signed = sign(&world, &card(), |options| options.also_kagenti = true).unwrap();
    // The chain, both signatures over the common form, and the second one over kagenti's.
    world.policy.budget = 4 * cost::P256;
    assert!(world.assert_verified(&signed).signatures().iter().all(|outcome| outcome.result.is_ok()));
    world.policy.budget -= 1;
    let short = world.assert_verified(&signed).signatures()[1].result.clone();
    assert_eq!(short.unwrap_err().reason(), Reason::WorkBudget);
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
    let (accepted, freshness) = (world.assert_verified(&long).accepted(), world.policy.freshness);
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
    let unusable = SigningKey::from_pkcs8(b"not a key").unwrap_err();
    assert_eq!(unusable.reason(), Reason::SigningKeyUnusable);
    let ed25519 = World::with(&Leaf { key: Key::Ed25519, ..Leaf::default() });
    assert!(SigningKey::from_pkcs8(&ed25519.svid.pkcs8()).is_err());
}

/// A signer that says one thing and does another.
struct Liar {
    key: SigningKey,
    algorithm: Algorithm,
    change: Change,
}

type Change = fn(Vec<u8>) -> Vec<u8>;

impl Signer for Liar {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.key.sign(signing_input).map(self.change)
    }
}

/// r and s as they stand in an X.509 signature, which is what a KMS returns.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| [&[2, 33, 0][..], half].concat();
    let (r, s) = raw.split_at(32);
    [&[0x30, 70][..], &integer(r), &integer(s)].concat()
}

#[test]
fn a_signer_elsewhere_signs_like_a_key_in_memory_and_one_that_lies_signs_nothing() {
    let (world, other) = (World::new(), World::new());
    let rsa = World::with(&Leaf { key: Key::Rsa2048, ..Leaf::default() });
    let lie = |key, algorithm, change: Change| {
        sign_with(&world, &Liar { key, algorithm, change }, &card(), |options| options.also_kagenti = true)
    };
    let honest = lie(key_of(&world), Algorithm::Es256, |made| made).unwrap();
    world.assert_verified(&honest);
    let own = || key_of(&world);
    let (es256, keep): (_, Change) = (Algorithm::Es256, |made| made);
    for (refused, found) in [
        (lie(own(), es256, |made| der(&made)), "72 bytes long"),
        (lie(own(), es256, |made| made[1..].to_vec()), "63 bytes long"),
        (lie(own(), es256, |_| Vec::new()), "0 bytes long"),
        (lie(own(), es256, |_| vec![0; 64]), "r or s outside"),
        (lie(own(), es256, |_| vec![7; 64]), "does not belong to"),
        (lie(key_of(&other), es256, keep), "does not belong to"),
        (lie(key_of(&rsa), es256, keep), "256 bytes long"),
        (lie(own(), Algorithm::Es384, keep), "signs with ES384"),
        (lie(own(), Algorithm::EdDsa, keep), "signs with EdDSA"),
        (lie(key_of(&rsa), Algorithm::Rs256, keep), "signs with RS256"),
    ] {
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.reason(), Reason::SigningKeyUnusable);
        assert!(refusal.message().contains(found), "{found}: {refusal}");
    }
    // RS256 and PS256 fit the same key and differ only in what is signed.
    let liar = Liar { key: key_of(&rsa), algorithm: Algorithm::Ps256, change: keep };
    let refusal = sign_with(&rsa, &liar, &card(), |_| {}).unwrap_err();
    assert_eq!(refusal.reason(), Reason::SigningKeyUnusable);
    let ed25519 = World::with(&Leaf { key: Key::Ed25519, ..Leaf::default() });
    let liar = Liar { key: key_of(&world), algorithm: Algorithm::EdDsa, change: keep };
    let refusal = sign_with(&ed25519, &liar, &card(), |_| {}).unwrap_err();
    assert!(refusal.message().contains("Ed25519"), "{refusal}");
}
