//! What the signer makes of cards as people write them: 67 shapes of public cards, and cards made at random.
//! The verifier with the default policy is the judge of every card that the signer does not refuse.

use crate::cards::{World, card, card_bytes};
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::policy::Coverage;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::sign::{NewlySigned, SignOptions, SigningKey, sign_card};
use countersign_core::upgrade::upgrade_card;
use countersign_core::verify::CoverageLevel;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

fn sign(world: &World, card: Vec<u8>) -> Result<NewlySigned, Refusal> {
    let options =
        SignOptions { chain: &world.svid.chain, lifetime: None, also_kagenti: false, now: world.time() };
    sign_card(card, &SigningKey::from_pkcs8(&world.svid.pkcs8())?, options)
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own fixtures")]
fn read(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../tests/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path)
}

/// The shapes by number.
fn shapes() -> BTreeMap<String, Vec<u8>> {
    let manifest: Vec<String> = serde_json::from_slice(&read("fixtures/card-shapes/manifest.json")).unwrap();
    let shape = |name: String| {
        let bytes = read(&format!("fixtures/card-shapes/{name}.json"));
        (name, bytes)
    };
    manifest.into_iter().map(shape).collect()
}

/// `signed` and the profiles that the signatures are named after, or the refusal.
fn told(world: &World, signed: Result<NewlySigned, Refusal>) -> String {
    match signed {
        Ok(signed) => {
            let verified = world.assert_verified(&signed.card);
            assert_eq!((verified.coverage(), verified.uncovered().len()), (CoverageLevel::Full, 0));
            let forms: Vec<_> = signed.signatures.iter().map(|one| form(&one.profiles)).collect();
            format!("signed {}", forms.join(" + "))
        }
        Err(refusal) => refusal.to_string(),
    }
}

/// Which of the current readers verify a signature.
fn form(profiles: &[Profile]) -> String {
    let current = [Profile::Spec841, Profile::JcsRaw, Profile::ProtoCleanJcs, Profile::ProtoFoldedJcs];
    let names: Vec<_> = current.iter().filter(|one| profiles.contains(one)).map(|one| one.id()).collect();
    names.join(" ")
}

fn compare(
    table: &str,
    make: impl Fn(&World, Vec<u8>) -> Result<NewlySigned, Refusal>,
    expected_signed: usize,
) {
    let world = World::new();
    let table = String::from_utf8(read(&format!("rules/{table}.toml"))).unwrap();
    let expected: BTreeMap<String, String> = toml::from_str(&table).unwrap();
    let found: BTreeMap<String, String> =
        shapes().into_iter().map(|(shape, card)| (shape, told(&world, make(&world, card)))).collect();
    assert_eq!(found, expected);
    let signed = found.values().filter(|found| found.starts_with("signed ")).count();
    assert_eq!((signed, found.len()), (expected_signed, 67));
}

#[test]
fn shapes_of_public_cards_are_signed_and_verify_or_the_refusal_names_the_member() {
    compare("shapes_signed", sign, 55);
}

#[test]
fn shapes_of_public_cards_are_upgraded_without_loss_or_the_refusal_names_the_member() {
    compare("shapes_upgraded", |world, card| sign(world, upgrade_card(card)?), 17);
}

/// Values that one reader or another takes for something else: empty, of the wrong type, or hard to spell.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![
            Just(json!(0)),
            Just(json!(1.5)),
            Just(json!(1e20)),
            Just(json!(-0.0)),
            Just(json!(5e-324))
        ],
        prop_oneof![
            Just(""),
            Just("x"),
            Just("1.0"),
            Just("JSONRPC"),
            Just("https://a.example/"),
            Just("\u{e9}<\u{2028}😀")
        ]
        .prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((member(), inner), 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    prop::sample::select(
        &[
            "name",
            "description",
            "url",
            "version",
            "skills",
            "capabilities",
            "supportedInterfaces",
            "security",
            "securitySchemes",
            "protocolVersion",
            "protocolBinding",
            "preferredTransport",
            "additionalInterfaces",
            "extensions",
            "params",
            "streaming",
            "stateTransitionHistory",
            "authentication",
            "id",
            "tags",
            "type",
            "in",
            "provider",
            "x-vendor",
            "\u{e9}",
            "signatures",
            "supportsAuthenticatedExtendedCard",
        ][..],
    )
    .prop_map(str::to_owned)
}

/// A shape of a public card, or the card of the tests, with some members replaced.
fn any_card() -> impl Strategy<Value = Value> {
    let bases: Vec<Value> =
        shapes().into_values().map(|shape| serde_json::from_slice(&shape).unwrap()).chain([card()]).collect();
    let changes = prop::collection::vec((member(), value()), 0..4);
    (prop::sample::select(bases), changes).prop_map(|(mut card, changes)| {
        card.as_object_mut().unwrap().extend(changes);
        card
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_signed_verifies_in_full_with_the_defaults(card in any_card()) {
        let world = World::new();
        if let Ok(signed) = sign(&world, card_bytes(&card)) {
            let verified = world.verify(&signed.card).unwrap();
            prop_assert_eq!(verified.coverage(), CoverageLevel::Full);
            // Each signature is good under each profile that it is said to be good under, and under no other.
            for profile in Profile::ALL {
                let mut world = World { policy: world.policy.clone(), authority: world.authority.clone(), ..World::new() };
                world.policy.profiles = ProfileSet::NONE.with(profile);
                world.policy.coverage = Coverage::Report;
                let said = signed.signatures.iter().any(|one| one.profiles.contains(&profile));
                prop_assert_eq!(said, world.verify(&signed.card).is_ok(), "{}", profile);
            }
        }
    }

    #[test]
    fn what_is_upgraded_is_signed_and_upgrading_it_again_changes_nothing(card in any_card()) {
        if let Ok(upgraded) = upgrade_card(card_bytes(&card)) {
            prop_assert_eq!(&upgrade_card(upgraded.clone()).unwrap(), &upgraded);
            let world = World::new();
            let signed = sign(&world, upgraded).unwrap();
            world.verify(&signed.card).unwrap();
            let without = signed.without_sdks.map(|refusal| refusal.reason());
            prop_assert!(without.is_none_or(|reason| reason == Reason::UncoveredSecurityMember), "{:?}", without);
        }
    }
}
