//! Attacks on the JWS part of a signature (rules 12 to 28), each on a card that is otherwise honest.

use crate::cards::{World, attach, card, entry, header, jcs};
use crate::pki::{Key, Leaf};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_core::jws::{Algorithm, PublicKey};
use countersign_core::policy::PinnedKey;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::SpiffeId;
use serde_json::{Value, json};

/// The honest card, signed under a header with one change.
fn signed_with(world: &World, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut header = world.header();
    change(&mut header);
    world.signed_under(&card(), &header)
}

fn with_parameter(world: &World, name: &str, value: Value) -> Vec<u8> {
    signed_with(world, |header| header[name] = value)
}

/// The honest card with its one signature entry changed after signing.
fn entry_changed(world: &World, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut made = world.entry(&world.header(), &jcs(&card()));
    change(&mut made);
    attach(&card(), &[made])
}

#[test]
fn rule_12_base64url_has_one_form_only() {
    let world = World::new();
    let signature = |made: &Value| made["signature"].as_str().unwrap().to_owned();
    for change in [
        |text: String| format!("{text}="),
        |text: String| format!("{}\n{}", &text[..10], &text[10..]),
        |text: String| format!(" {text}"),
        |text: String| format!("{}+", &text[..text.len() - 1]),
    ] {
        let bytes = entry_changed(&world, |made| made["signature"] = json!(change(signature(made))));
        world.assert_refused(Reason::Base64Malformed, &bytes);
    }
    // 64 bytes leave four spare bits in the last character; anything but zeros is another text.
    let spare = entry_changed(&world, |made| {
        let mut text = signature(made);
        let last = text.pop().unwrap();
        text.push(char::from(u8::try_from(last).unwrap() + 1));
        made["signature"] = json!(text);
    });
    world.assert_refused(Reason::Base64Malformed, &spare);
    let padded = entry_changed(&world, |made| {
        made["protected"] = json!(format!("{}=", made["protected"].as_str().unwrap()));
    });
    world.assert_refused(Reason::Base64Malformed, &padded);
}

#[test]
fn rule_12_the_protected_header_is_a_bounded_json_object() {
    let world = World::new();
    let over = |header: &[u8]| attach(&card(), &[entry(&world.svid, header, &jcs(&card()))]);
    world.assert_refused(Reason::HeaderMalformed, &over(b"[]"));
    world.assert_refused(Reason::JsonSyntax, &over(b"{alg:1}"));
    world.assert_refused(Reason::JsonDuplicateMember, &over(br#"{"alg":"none","alg":"ES256"}"#));
    world
        .assert_refused(Reason::HeaderTooLarge, &with_parameter(&world, "pad", json!("x".repeat(16 * 1024))));
    world.assert_refused(
        Reason::HeaderTooLarge,
        &entry_changed(&world, |made| made["signature"] = json!("A".repeat(2000))),
    );
    let empty = entry_changed(&world, |made| made["protected"] = json!(""));
    assert!(world.reason(&empty).is_some());
}

#[test]
fn rule_13_only_allowed_asymmetric_algorithms_are_tried() {
    let mut world = World::new();
    for name in ["none", "None", "HS256", "HS512", "ES512", "ES256K", "es256", "EdDSA", "RS512", ""] {
        world.assert_refused(Reason::AlgorithmNotAllowed, &with_parameter(&world, "alg", json!(name)));
    }
    world.assert_refused(Reason::AlgorithmMissing, &with_parameter(&world, "alg", json!(["ES256"])));
    let missing = signed_with(&world, |header| {
        header.as_object_mut().unwrap().remove("alg");
    });
    world.assert_refused(Reason::AlgorithmMissing, &missing);
    // Allowing one changes nothing about the rest.
    world.policy.algorithms = world.policy.algorithms.with(Algorithm::Rs512);
    world.assert_refused(Reason::AlgorithmKeyMismatch, &with_parameter(&world, "alg", json!("RS512")));
}

#[test]
fn rule_13_a_signature_of_algorithm_none_is_refused_although_it_is_empty() {
    let world = World::new();
    let bytes = with_parameter(&world, "alg", json!("none"));
    let mut document: Value = serde_json::from_slice(&bytes).unwrap();
    document["signatures"][0]["signature"] = json!("");
    world.assert_refused(Reason::AlgorithmNotAllowed, &crate::cards::card_bytes(&document));
}

#[test]
fn rule_14_the_algorithm_belongs_to_the_type_and_curve_of_the_key() {
    let world = World::new();
    for name in ["RS256", "PS256", "ES384"] {
        world.assert_refused(Reason::AlgorithmKeyMismatch, &with_parameter(&world, "alg", json!(name)));
    }
    let rsa = World::with(&Leaf { key: Key::Rsa2048, ..Leaf::default() });
    let mut header = rsa.header();
    header["alg"] = json!("ES256");
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let made = json!({"protected": protected, "signature": URL_SAFE_NO_PAD.encode([1; 64])});
    rsa.assert_refused(Reason::AlgorithmKeyMismatch, &attach(&card(), &[made]));
}

#[test]
fn rule_17_a_der_signature_is_not_a_jws_signature() {
    let world = World::new();
    let bytes = entry_changed(&world, |made| {
        let raw = URL_SAFE_NO_PAD.decode(made["signature"].as_str().unwrap()).unwrap();
        let integer = |half: &[u8]| {
            let half = [&[0], half].concat();
            let start = half.iter().position(|byte| *byte != 0).unwrap_or(0);
            let start = if half[start] >= 0x80 { start - 1 } else { start };
            crate::pki::element(2, &half[start..])
        };
        let der = crate::pki::element(0x30, &[integer(&raw[..32]), integer(&raw[32..])].concat());
        made["signature"] = json!(URL_SAFE_NO_PAD.encode(der));
    });
    world.assert_refused(Reason::SignatureMalformed, &bytes);
    let zero = entry_changed(&world, |made| made["signature"] = json!(URL_SAFE_NO_PAD.encode([0; 64])));
    world.assert_refused(Reason::SignatureMalformed, &zero);
}

#[test]
fn rule_18_the_malleated_twin_of_a_signature_has_the_same_identity() {
    // n − s is as good as s, so nothing that identifies a card may depend on the signature bytes alone.
    let world = World::new();
    let honest = world.assert_verified(&world.signed(&card()));
    let twin = entry_changed(&world, |made| {
        let mut raw = URL_SAFE_NO_PAD.decode(made["signature"].as_str().unwrap()).unwrap();
        let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
        let negated = subtract(&order, &raw[32..]);
        raw[32..].copy_from_slice(&negated);
        made["signature"] = json!(URL_SAFE_NO_PAD.encode(raw));
    });
    let twin = world.assert_verified(&twin);
    assert_eq!(twin.document().text(), honest.document().text());
    assert_eq!((twin.leaf(), twin.spiffe_id()), (honest.leaf(), honest.spiffe_id()));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut out: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let difference = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(difference < 0);
            u8::try_from(difference.rem_euclid(256)).unwrap()
        })
        .collect();
    out.reverse();
    out
}

#[test]
fn rule_20_critical_extensions_are_refused_in_either_header() {
    let world = World::new();
    for crit in [json!(["b64"]), json!([]), json!("x"), json!(null)] {
        world.assert_refused(Reason::HeaderCritical, &with_parameter(&world, "crit", crit.clone()));
        let unprotected = entry_changed(&world, |made| made["header"] = json!({"crit": crit}));
        world.assert_refused(Reason::HeaderCritical, &unprotected);
    }
}

#[test]
fn rule_21_unencoded_payloads_are_refused_whatever_the_value() {
    let world = World::new();
    for b64 in [json!(false), json!(true), json!("x")] {
        world.assert_refused(Reason::HeaderUnencodedPayload, &with_parameter(&world, "b64", b64));
    }
}

#[test]
fn rule_22_the_unprotected_header_neither_shadows_nor_decides() {
    let world = World::new();
    for name in ["alg", "kid", "x5c", "jku", "jwk", "x5u", "x5t", "typ"] {
        let bytes = entry_changed(&world, |made| made["header"] = json!({name: "x"}));
        world.assert_refused(Reason::HeaderUnprotected, &bytes);
    }
    let mut header = world.header();
    header["note"] = json!("a");
    let mut made = world.entry(&header, &jcs(&card()));
    made["header"] = json!({"note": "b"});
    world.assert_refused(Reason::HeaderUnprotected, &attach(&card(), &[made]));
    let harmless = entry_changed(&world, |made| made["header"] = json!({"timestamp": "2026-11-18"}));
    world.assert_verified(&harmless);
}

#[test]
fn rule_23_tokens_of_other_protocols_are_refused_by_their_type() {
    let world = World::new();
    for typ in
        [json!("at+jwt"), json!("dpop+jwt"), json!("jose"), json!("application/jose"), json!(1), json!(null)]
    {
        world.assert_refused(Reason::HeaderType, &with_parameter(&world, "typ", typ));
    }
    for typ in ["JOSE", "JOSE+JSON", "JWT"] {
        world.assert_verified(&with_parameter(&world, "typ", json!(typ)));
    }
    world.assert_verified(&signed_with(&world, |header| {
        header.as_object_mut().unwrap().remove("typ");
    }));
}

#[test]
fn rule_24_a_token_signed_with_the_same_key_is_not_a_card() {
    let world = World::reporting();
    for claims in [
        json!({"iss": "x", "sub": "spiffe://example.org/ns/a/sa/b", "exp": 1_795_003_600}),
        json!({"name": "Weather"}),
        json!({"name": "", "skills": [1]}),
        json!({"capabilities": {"streaming": true}}),
    ] {
        world.assert_refused(Reason::PayloadNotCard, &world.signed(&claims));
    }
    // An empty value of another type is not the default that may be left out.
    let mut empty = World::new();
    empty.policy.profiles =
        countersign_core::canon::ProfileSet::NONE.with(countersign_core::canon::Profile::ProtoCleanJcs);
    let signature = empty.entry(&empty.header(), &jcs(&card()));
    let odd = crate::cards::card_with("securitySchemes", json!(""));
    let rejection = empty.verify(&attach(&odd, &[signature])).unwrap_err();
    assert_eq!(
        rejection.others.first().map(countersign_core::refusal::Refusal::reason),
        Some(Reason::CardMemberType)
    );
    let mistyped = crate::cards::card_with("skills", json!("many"));
    let signed = world.signed(&mistyped);
    // The raw form covers it as it is; the 1.0 forms have none for a member of another type.
    let verified = world.assert_verified(&signed);
    assert_eq!(verified.profile().id(), "jcs-raw");
    let mut only_spec = World { policy: world.policy.clone(), ..world };
    only_spec.policy.profiles =
        countersign_core::canon::ProfileSet::NONE.with(countersign_core::canon::Profile::Spec841);
    let rejection = only_spec.verify(&signed).unwrap_err();
    assert!(rejection.others.iter().any(|other| other.reason() == Reason::CardMemberType), "{rejection:?}");
}

#[test]
fn rule_25_a_key_id_is_short_printable_and_never_something_to_open() {
    let mut world = World::new();
    for kid in [json!(""), json!(1), json!("a\nb"), json!("k\u{202e}"), json!("x".repeat(257)), json!(null)] {
        world.assert_refused(Reason::KeyIdMalformed, &with_parameter(&world, "kid", kid));
    }
    // RFC 7515 allows any text, and nobody opens it.
    for kid in ["../../etc/passwd", "https://keys.example/1?a", "a\\b", "spiffe://a/b", "cl\u{e9}"] {
        let signed = world.assert_verified(&with_parameter(&world, "kid", json!(kid)));
        assert_eq!(signed.key_id(), Some(kid));
    }
    world.assert_verified(&with_parameter(&world, "kid", json!("\u{e9}".repeat(256))));
    let missing = signed_with(&world, |header| {
        header.as_object_mut().unwrap().remove("kid");
    });
    world.assert_refused(Reason::KeyIdMalformed, &missing);
    world.policy.require_key_id = false;
    world.assert_verified(&missing);
}

#[test]
fn rule_25_a_fingerprint_as_key_id_names_the_leaf() {
    let world = World::new();
    let fingerprint = countersign_core::encoding::sha256(&world.svid.chain[0]).to_string();
    world.assert_verified(&with_parameter(&world, "kid", json!(fingerprint[..16])));
    world.assert_refused(Reason::KeyIdMismatch, &with_parameter(&world, "kid", json!("0123456789abcdef")));
}

#[test]
fn rule_26_no_key_and_no_address_from_the_header_is_used() {
    let world = World::new();
    world.assert_refused(Reason::KeyInHeader, &with_parameter(&world, "jwk", json!({"kty": "EC"})));
    world.assert_refused(Reason::KeyInHeader, &with_parameter(&world, "jku", json!({})));
    world.assert_refused(
        Reason::ThumbprintMismatch,
        &with_parameter(&world, "x5t#S256", json!(URL_SAFE_NO_PAD.encode([7; 32]))),
    );
    let leaf = countersign_core::encoding::sha256(&world.svid.chain[0]);
    world.assert_verified(&with_parameter(
        &world,
        "x5t#S256",
        json!(URL_SAFE_NO_PAD.encode(leaf.as_bytes())),
    ));
    // An address is neither followed nor a key: with a chain it is ignored, without one there is no key.
    world.assert_verified(&with_parameter(&world, "jku", json!("http://169.254.169.254/keys")));
    world.assert_verified(&with_parameter(&world, "jku", json!(null)));
    let only_address = signed_with(&world, |header| {
        header.as_object_mut().unwrap().remove("x5c");
        header["jku"] = json!("http://169.254.169.254/keys");
    });
    world.assert_refused(Reason::KeySourceMissing, &only_address);
}

#[test]
fn rule_27_a_signature_has_exactly_one_key_source() {
    let mut world = World::new();
    let without_chain = signed_with(&world, |header| {
        header.as_object_mut().unwrap().remove("x5c");
    });
    world.assert_refused(Reason::KeySourceMissing, &without_chain);
    let key = PublicKey::from_spki(&world.svid.spki()).unwrap();
    let spiffe_id = SpiffeId::parse("spiffe://example.org/pinned").unwrap();
    world.policy.pinned_keys.insert("k1".to_owned(), PinnedKey { key, spiffe_id });
    let pinned = world.assert_verified(&without_chain);
    assert_eq!(pinned.spiffe_id().as_str(), "spiffe://example.org/pinned");
    world.assert_refused(Reason::KeySourceAmbiguous, &world.signed(&card()));
}

#[test]
fn rule_28_unknown_parameters_are_ignored_up_to_a_number() {
    let world = World::new();
    let with = |count: usize| {
        signed_with(&world, |header| {
            for index in 0..count {
                header[format!("x{index}")] = json!(index);
            }
        })
    };
    world.assert_verified(&with(28));
    world.assert_refused(Reason::HeaderTooLarge, &with(29));
}

#[test]
fn rule_29_the_chain_is_standard_base64_in_a_short_list() {
    let world = World::new();
    let leaf = &world.svid.chain[0];
    for x5c in [
        json!("x"),
        json!([1]),
        json!([]),
        json!([URL_SAFE_NO_PAD.encode(leaf)]),
        json!([format!("{}\n", STANDARD.encode(leaf))]),
    ] {
        let reason = world.reason(&with_parameter(&world, "x5c", x5c));
        assert!(matches!(reason, Some(Reason::ChainEncoding | Reason::Base64Malformed)), "{reason:?}");
    }
    let six = vec![STANDARD.encode(leaf); 6];
    world.assert_refused(Reason::ChainTooLarge, &with_parameter(&world, "x5c", json!(six)));
}

#[test]
fn rule_32_the_key_that_verifies_is_the_key_of_the_leaf_that_passed() {
    // The chain is the honest workload's, the signature somebody else's from the same authority.
    let world = World::new();
    let other = world.authority.issue(&Leaf::default());
    let made = entry(&other, header(&world.svid).to_string().as_bytes(), &jcs(&card()));
    world.assert_refused(Reason::SignatureInvalid, &attach(&card(), &[made]));
}
