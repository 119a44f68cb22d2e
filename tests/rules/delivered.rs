//! A card that is served unsigned, beside a signed copy of it: the served one is judged (rules 46, 47, 51 and 52).

use crate::cards::{World, attach, card, card_bytes, card_with, facts, jcs, replaced};
use countersign_core::bind::Source;
use countersign_core::canon::{Profile, ProfileSet, Uncovered, canonicalize};
use countersign_core::card::Card;
use countersign_core::deliver::card_with_delivered_signatures;
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::limits::BODY_BYTES;
use countersign_core::policy::Coverage;
use countersign_core::refusal::{Reason, Refusal};
use serde_json::{Value, json};

/// The outcome for a workload that serves one card beside another, and the message of a refusal.
fn judge(world: &World, served: &[u8], delivered: &[u8]) -> (Option<Reason>, String) {
    let mut facts = facts();
    let name = "weather-card-signed".to_owned();
    facts.source = Source::ConfigMap { expected_name: name.clone(), name, owned: true };
    let bound = card_with_delivered_signatures(served.to_vec(), delivered.to_vec(), &world.policy)
        .and_then(|document| world.bind(&document, &facts));
    let refusal = bound.err();
    (
        refusal.as_ref().map(Refusal::reason),
        refusal.map(|found| found.message().to_owned()).unwrap_or_default(),
    )
}

/// The card, signed over the form of a profile.
fn delivered(world: &World, card: &Value, profile: Profile) -> Vec<u8> {
    let document = Document::parse(card_bytes(card), &JsonLimits::CARD, Numbers::Strict).unwrap();
    attach(card, &[world.entry(&world.header(), &canonicalize(&document, profile).unwrap())])
}

#[test]
fn rule_52_a_delivered_signature_is_judged_on_the_card_that_is_served() {
    let mut world = World::new();
    world.policy.profiles = ProfileSet::ALL;
    let evil = "https://evil.example/a2a";
    let interface = json!([{"url": evil, "transport": "GRPC"}]);
    for profile in [Profile::Spec841, Profile::ProtoCleanJcs, Profile::ProtoFoldedJcs, Profile::PyLegacy] {
        let signed = delivered(&world, &card(), profile);
        for (served, expected, named) in [
            (card(), None, ""),
            (card_with("xVendor", json!(1)), None, ""),
            (card_with("url", json!(evil)), Some(Reason::UncoveredSecurityMember), "/url"),
            (
                card_with("additionalInterfaces", interface.clone()),
                Some(Reason::UncoveredSecurityMember),
                "/additionalInterfaces",
            ),
            (card_with("tenant", json!("other")), Some(Reason::UncoveredSecurityMember), "/tenant"),
            (card_with("description", json!("Another")), Some(Reason::SignatureInvalid), ""),
            (card_with("signatures", json!([])), None, ""),
        ] {
            let (reason, message) = judge(&world, &card_bytes(&served), &signed);
            assert_eq!(reason, expected, "{profile}: {served}: {message}");
            assert!(message.contains(named), "{message}");
        }
    }
}

#[test]
fn rule_52_with_a_report_only_policy_the_served_card_is_the_one_that_is_reported() {
    let mut world = World::reporting();
    let signed = delivered(&world, &card(), Profile::Spec841);
    let served = card_bytes(&card_with("url", json!("https://evil.example")));
    let document = card_with_delivered_signatures(served, signed, &world.policy).unwrap();
    let proof = world.assert_verified(&document);
    assert_eq!(proof.uncovered().first().map(Uncovered::pointer), Some("/url"));
    world.policy.coverage = Coverage::Strict;
    world.assert_refused(Reason::UncoveredSecurityMember, &document);
}

#[test]
fn rule_51_an_endpoint_that_only_the_served_card_has_signed_is_judged() {
    let world = World::new();
    let evil =
        json!([{"url": "https://evil.example/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]);
    let foreign = card_with("supportedInterfaces", evil);
    // Signed for what is served, delivered beside a harmless copy.
    let signature = world.entry(&world.header(), &jcs(&foreign));
    let (reason, message) = judge(&world, &card_bytes(&foreign), &attach(&card(), &[signature]));
    assert_eq!(reason, Some(Reason::EndpointNotOwned));
    assert!(message.contains("evil.example"), "{message}");
}

#[test]
fn rule_52_the_same_card_is_judged_as_it_was_delivered() {
    let world = World::new();
    let mut honest = card_with("xNumber", json!(1.5));
    let signed = delivered(&world, &honest, Profile::JcsRaw);
    // Another spelling of the same card: white space, an escape, a number.
    let served = replaced(&serde_json::to_vec_pretty(&honest).unwrap(), "Weather", r"\u0057eather");
    let served = replaced(&served, "1.5", "15e-1");
    let judged = card_with_delivered_signatures(served, signed.clone(), &world.policy).unwrap();
    assert_eq!(judged, signed);
    // And what is not the same is kept as it is served, to the digit.
    honest["xMore"] = json!(1);
    let served = replaced(&card_bytes(&honest), "1.5", "1.50");
    let judged = card_with_delivered_signatures(served, signed, &world.policy).unwrap();
    assert!(String::from_utf8(judged.clone()).unwrap().contains(r#""xNumber":1.50"#));
    assert!(Card::parse(judged, Numbers::Strict).is_ok());
}

#[test]
fn rule_52_what_is_delivered_is_bounded_and_denied_like_what_is_served() {
    let mut world = World::new();
    let signed = delivered(&world, &card(), Profile::Spec841);
    let served = card_bytes(&card_with("xVendor", json!(1)));
    // The numbers of the policy are those of both documents.
    let large = replaced(&served, r#""xVendor":1"#, r#""xVendor":9007199254740993"#);
    assert_eq!(judge(&world, &large, &signed).0, Some(Reason::JsonNumber));
    world.policy.numbers = Numbers::Binary64;
    assert_eq!(judge(&world, &large, &signed).0, None);
    world.policy.numbers = Numbers::Strict;
    let texts = vec!["x".repeat(60_000); 4];
    let mut long = card_with("xVendor", json!(texts));
    long["xMore"] = json!("x".repeat(BODY_BYTES - card_bytes(&long).len() - 100));
    assert_eq!(judge(&world, &card_bytes(&long), &signed).0, Some(Reason::BodyTooLarge));
    for broken in [&b"{"[..], br#"{"signatures":3}"#, b"[]"] {
        assert!(judge(&world, &served, broken).0.is_some());
        assert!(judge(&world, broken, &signed).0.is_some());
    }
    assert_eq!(judge(&world, &served, &card_bytes(&card())).0, Some(Reason::CardUnsigned));
    world.policy.deny.cards.insert(Card::parse(signed.clone(), Numbers::Strict).unwrap().digest());
    assert_eq!(judge(&world, &served, &signed).0, Some(Reason::Denied));
}
