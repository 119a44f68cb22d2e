//! Attacks on keys and signatures themselves (rules 15, 16, 19 and 41).

use crate::cards::{World, attach, card, header, jcs};
use crate::pki::{Key, Leaf, element};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::jws::{Algorithm, PublicKey, verify_signature};
use countersign_core::policy::PinnedKey;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use serde_json::json;

/// A SubjectPublicKeyInfo with an RSA key of this modulus and exponent.
fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let modulus = element(0x02, &[&[0], modulus].concat());
    let key = element(0x30, &[modulus, element(0x02, exponent)].concat());
    let algorithm =
        element(0x30, &[element(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), vec![5, 0]].concat());
    element(0x30, &[algorithm, element(0x03, &[&[0][..], &key].concat())].concat())
}

fn ed25519_spki(key: &[u8]) -> Vec<u8> {
    let algorithm = element(0x30, &element(0x06, &[0x2b, 0x65, 0x70]));
    element(0x30, &[algorithm, element(0x03, &[&[0][..], key].concat())].concat())
}

#[test]
fn rule_15_rsa_keys_have_2048_to_4096_bits_and_an_honest_exponent() {
    let modulus = |bytes: usize| {
        let mut modulus = vec![0xc5; bytes];
        modulus[bytes - 1] |= 1;
        modulus
    };
    let reason = |spki: Vec<u8>| PublicKey::from_spki(&spki).err().map(|refusal| refusal.reason());
    let usual = [1, 0, 1];
    for bytes in [256, 384, 512] {
        assert_eq!(reason(rsa_spki(&modulus(bytes), &usual)), None, "{bytes}");
    }
    for bytes in [64, 128, 255, 513, 1024] {
        assert_eq!(reason(rsa_spki(&modulus(bytes), &usual)), Some(Reason::ChainAlgorithm), "{bytes}");
    }
    for exponent in [&[1][..], &[3], &[17], &[1, 0, 0], &[1, 0, 2], &[1, 0, 0, 0, 1], &[0]] {
        assert_eq!(reason(rsa_spki(&modulus(256), exponent)), Some(Reason::ChainAlgorithm), "{exponent:?}");
    }
}

#[test]
fn rule_16_the_padding_of_an_rsa_signature_is_the_one_that_the_algorithm_names() {
    let world = World::with(&Leaf { key: Key::Rsa2048, ..Leaf::default() });
    let made = |named: &str, used: Algorithm| {
        let mut header = header(&world.svid);
        header["alg"] = json!(named);
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        let input = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(jcs(&card())));
        let signature = URL_SAFE_NO_PAD.encode(world.svid.sign(used, input.as_bytes()));
        attach(&card(), &[json!({"protected": protected, "signature": signature})])
    };
    world.assert_verified(&made("RS256", Algorithm::Rs256));
    world.assert_verified(&made("PS256", Algorithm::Ps256));
    world.assert_refused(Reason::SignatureInvalid, &made("RS256", Algorithm::Ps256));
    world.assert_refused(Reason::SignatureInvalid, &made("PS256", Algorithm::Rs256));
    // Another hash, and with it another salt length.
    world.assert_refused(Reason::SignatureInvalid, &made("PS256", Algorithm::Ps384));
    world.assert_refused(Reason::SignatureInvalid, &made("RS256", Algorithm::Rs512));
}

#[test]
fn rule_19_ed25519_is_for_pinned_keys_under_both_of_its_names() {
    let leaf = Leaf { key: Key::Ed25519, ..Leaf::default() };
    let mut world = World::with(&leaf);
    world.policy.algorithms = world.policy.algorithms.with(Algorithm::EdDsa);
    let made = |alg: &str, chain: bool| {
        let mut header = header(&world.svid);
        header["alg"] = json!(alg);
        if !chain {
            header.as_object_mut().unwrap().remove("x5c");
        }
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        let input = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(jcs(&card())));
        let signature = URL_SAFE_NO_PAD.encode(world.svid.sign(Algorithm::EdDsa, input.as_bytes()));
        attach(&card(), &[json!({"protected": protected, "signature": signature})])
    };
    let (eddsa, ed25519, chained) = (made("EdDSA", false), made("Ed25519", false), made("EdDSA", true));
    world.assert_refused(Reason::ChainAlgorithm, &chained);
    let key = PublicKey::from_spki(&world.svid.spki()).unwrap();
    let spiffe_id = SpiffeId::parse("spiffe://example.org/pinned").unwrap();
    world.policy.pinned_keys.insert("k1".to_owned(), PinnedKey { key, spiffe_id });
    world.assert_verified(&eddsa);
    world.assert_verified(&ed25519);
}

#[test]
fn rule_19_keys_of_small_order_and_second_encodings_are_refused() {
    // With a key of order 1 the signature (R = identity, S = 0) fits every message.
    let identity = [&[1][..], &[0; 31]].concat();
    let signature = [identity.as_slice(), &[0; 32]].concat();
    let refused = PublicKey::from_spki(&ed25519_spki(&identity))
        .and_then(|key| verify_signature(Algorithm::EdDsa, &key, b"any message", &signature));
    assert!(refused.is_err());
    let world = World::with(&Leaf { key: Key::Ed25519, ..Leaf::default() });
    let key = PublicKey::from_spki(&world.svid.spki()).unwrap();
    let mut signature = world.svid.sign(Algorithm::EdDsa, b"message");
    verify_signature(Algorithm::EdDsa, &key, b"message", &signature).unwrap();
    // S + L is the same scalar in another encoding (RFC 8032 §5.1.7 wants S < L).
    let order = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10_u8,
    ];
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum % 256).unwrap();
        carry = sum / 256;
    }
    let refusal = verify_signature(Algorithm::EdDsa, &key, b"message", &signature).unwrap_err();
    assert!(matches!(refusal.reason(), Reason::SignatureInvalid | Reason::SignatureMalformed), "{refusal}");
    let short = verify_signature(Algorithm::EdDsa, &key, b"message", &signature[..63]).unwrap_err();
    assert_eq!(short.reason(), Reason::SignatureMalformed);
}

#[test]
fn rule_41_a_spiffe_id_has_one_spelling() {
    for odd in [
        "SPIFFE://example.org/a",
        "spiffe://Example.org/a",
        "spiffe://example.org:80/a",
        "spiffe://u@example.org/a",
        "spiffe://example.org/a/",
        "spiffe://example.org//a",
        "spiffe://example.org/./a",
        "spiffe://example.org/../a",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://example.org/%61",
        "spiffe:///a",
        "spiffe://example.org/a b",
        "spiffe://ex\u{e4}mple.org/a",
        "https://example.org/a",
        "spiffe:/example.org/a",
        "",
    ] {
        let refusal = SpiffeId::parse(odd).expect_err(odd);
        assert_eq!(refusal.reason(), Reason::SpiffeIdMalformed, "{odd}");
    }
    // A longer name that starts alike is another domain.
    let id = SpiffeId::parse("spiffe://example.org.evil/ns/a/sa/b").unwrap();
    assert_ne!(id.trust_domain(), &TrustDomain::parse("example.org").unwrap());
    let world = World::with(&Leaf { uris: vec!["spiffe://example.org.evil/ns/a/sa/b"], ..Leaf::default() });
    world.assert_refused(Reason::TrustDomainMismatch, &world.signed(&card()));
}
