//! The bare signature checks of a verification, by ring directly over bytes that are laid out beforehand.

use super::pki::{split, take};
use countersign_core::bundle::Bundle;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};

/// One signature check.
pub(crate) struct Check {
    algorithm: &'static dyn VerificationAlgorithm,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    /// In the unit of the budget.
    pub(crate) cost: u32,
    /// False for the check that finds out that the signature does not match.
    matches: bool,
}

impl Check {
    /// The signature on `certificate` by the key of `issuer`, both DER.
    pub(crate) fn of_certificate(certificate: &[u8], issuer: &[u8]) -> Self {
        let (_, contents, _) = split(certificate);
        let (signed, rest) = take(contents);
        let (_, rest) = take(rest);
        let (_, signature, _) = split(rest);
        let key = public_key(issuer);
        let is_point = key.first() == Some(&4);
        let algorithm: &'static dyn VerificationAlgorithm =
            if is_point { &ECDSA_P256_SHA256_ASN1 } else { &RSA_PKCS1_2048_8192_SHA256 };
        Self {
            algorithm,
            key,
            message: signed,
            // Behind the count of unused bits.
            signature: signature.get(1..).expect("a bit string").to_vec(),
            cost: if is_point { 10 } else { 4 },
            matches: true,
        }
    }

    /// An ES256 signature over a JWS signing input.
    pub(crate) fn of_jws(leaf: &[u8], message: Vec<u8>, signature: &[u8], matches: bool) -> Self {
        let signature = signature.to_vec();
        Self {
            algorithm: &ECDSA_P256_SHA256_FIXED,
            key: public_key(leaf),
            message,
            signature,
            cost: 10,
            matches,
        }
    }

    pub(crate) fn run(&self) {
        let key = UnparsedPublicKey::new(self.algorithm, &self.key);
        assert_eq!(key.verify(&self.message, &self.signature).is_ok(), self.matches, "a bare check");
    }
}

/// The authority of `bundle` that signed `certificate`, found by trying.
pub(crate) fn issuer_in<'b>(bundle: &'b Bundle, certificate: &[u8]) -> &'b [u8] {
    let of = |der: &'b [u8]| Check::of_certificate(certificate, der);
    let verifies = |check: &Check| {
        UnparsedPublicKey::new(check.algorithm, &check.key).verify(&check.message, &check.signature).is_ok()
    };
    bundle.anchors().iter().map(|anchor| anchor.der()).find(|der| verifies(&of(der))).expect("the issuer")
}

/// The key bits of a certificate: the seventh element of a version 3 tbsCertificate holds them.
fn public_key(certificate: &[u8]) -> Vec<u8> {
    let (_, contents, _) = split(certificate);
    let (_, mut rest, _) = split(contents);
    for _ in 0..6 {
        (_, rest) = take(rest);
    }
    let (_, spki, _) = split(rest);
    let (_, bits) = take(spki);
    let (_, bits, _) = split(bits);
    bits.get(1..).expect("a bit string").to_vec()
}
