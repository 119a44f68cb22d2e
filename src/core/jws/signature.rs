//! The signature check of a JWS: algorithm against key, shape of the signature, then ring.
//! Each signature has one accepted encoding, so that nobody can make a second one of it (rules 14 to 19).

use super::algorithm::Algorithm;
use super::key::{KeyKind, PublicKey};
use crate::refusal::{Reason, Refusal};
use ring::signature::{self as ring_signature, UnparsedPublicKey, VerificationAlgorithm};

/// Orders of the base points of P-256 and P-384, big-endian (SEC 2 §2.4.2 and §2.5.1).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a,
    0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];
/// Order of the Ed25519 base point, little-endian (RFC 8032 §5.1).
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
];
/// 2^255 − 19, little-endian. A y-coordinate at or above this prime is a second encoding of a smaller one.
const ED25519_PRIME: [u8; 32] = [
    0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];
/// The y-coordinates of the Ed25519 points of order 1, 2, 4 and 8, little-endian, with the sign bit cleared.
const ED25519_SMALL_ORDER: [[u8; 32]; 5] = [
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0; 32],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
];

/// Verifies `signature` over `signing_input`.
///
/// Fails with `AlgorithmKeyMismatch` if `algorithm` does not fit the key (rule 14), with `SignatureMalformed` if the
/// bytes cannot be a signature by such a key (rules 17 and 19), and with `SignatureInvalid` if they are none over
/// this input (rule 16).
pub fn verify_signature(
    algorithm: Algorithm,
    key: &PublicKey,
    signing_input: &[u8],
    signature: &[u8],
) -> Result<(), Refusal> {
    if !algorithm.fits(key.kind()) {
        let message = format!("the signature is {algorithm}, the signer's key is {}", key.kind());
        return Err(Refusal::new(Reason::AlgorithmKeyMismatch, message));
    }
    let view = key.view();
    check_shape(view.kind, view.bits, signature).map_err(|problem| {
        Refusal::new(Reason::SignatureMalformed, format!("the {algorithm} signature {problem}"))
    })?;
    UnparsedPublicKey::new(ring_algorithm(algorithm), view.bits).verify(signing_input, signature).map_err(
        |_| {
            Refusal::new(
                Reason::SignatureInvalid,
                format!("the {algorithm} signature does not match the signed bytes"),
            )
        },
    )
}

fn ring_algorithm(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Es256 => &ring_signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &ring_signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Rs256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &ring_signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &ring_signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &ring_signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::EdDsa => &ring_signature::ED25519,
    }
}

fn check_shape(kind: KeyKind, key: &[u8], signature: &[u8]) -> Result<(), String> {
    let expected = match kind {
        KeyKind::P256 | KeyKind::Ed25519 => 64,
        KeyKind::P384 => 96,
        KeyKind::Rsa { bits } => bits.div_ceil(8),
    };
    if signature.len() != expected {
        return Err(format!("is {} bytes long, not {expected}", signature.len()));
    }
    let (first, second) = signature.split_at_checked(expected.div_euclid(2)).unwrap_or_default();
    match kind {
        KeyKind::P256 => check_ecdsa_scalars(first, second, &P256_ORDER),
        KeyKind::P384 => check_ecdsa_scalars(first, second, &P384_ORDER),
        KeyKind::Ed25519 => check_ed25519(key, second),
        KeyKind::Rsa { .. } => Ok(()),
    }
}

/// Refuses r or s outside 1 to n − 1 (FIPS 186-5 §6.4.2).
fn check_ecdsa_scalars(r: &[u8], s: &[u8], order: &[u8]) -> Result<(), String> {
    // The lengths are equal, so big-endian byte strings compare as the numbers do.
    let in_range = |scalar: &[u8]| scalar.iter().any(|byte| *byte != 0) && scalar < order;
    if in_range(r) && in_range(s) { Ok(()) } else { Err("has r or s outside 1 to n-1".to_owned()) }
}

fn check_ed25519(key: &[u8], s: &[u8]) -> Result<(), String> {
    if !is_below_little_endian(s, &ED25519_ORDER) {
        return Err("has S at or above the group order".to_owned());
    }
    let mut y = key.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    if !is_below_little_endian(&y, &ED25519_PRIME) || ED25519_SMALL_ORDER.iter().any(|point| y == point) {
        return Err("was made for a key of small order or in a second encoding".to_owned());
    }
    Ok(())
}

fn is_below_little_endian(number: &[u8], bound: &[u8]) -> bool {
    number.len() == bound.len() && number.iter().rev().lt(bound.iter().rev())
}
