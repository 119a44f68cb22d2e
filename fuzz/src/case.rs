//! Cards signed honestly and by attackers: what a verifier may be given.
//! Honest signatures are made once per process; nobody else has their keys.

use super::authority::{DOMAIN, FOREIGN, LEAF, NEIGHBOUR, NOW, P384, ROOT, RSA, WORKLOAD, key};
use super::cards::EXAMPLES;
use super::certs::Spec;
use countersign_core::bundle::{Bundle, parse_bundle};
use countersign_core::canon::{Profile, canonicalize};
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::spiffe::TrustDomain;
use data_encoding::{BASE64, BASE64_MIME, BASE64URL_NOPAD};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::sign::Signer;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Another workload of the trust domain, whose key an attacker has.
pub const NEIGHBOUR_ID: &str = "spiffe://example.org/ns/evil/sa/neighbour";

/// What one signature consists of.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Place of the card in [`EXAMPLES`].
    pub example: usize,
    pub protected: String,
    pub signature: String,
    /// The canonical bytes that were signed.
    pub payload: Vec<u8>,
}

/// Certificates that anyone can put into a chain.
pub static CERTIFICATES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let specs = [
        Spec::leaf(WORKLOAD, "root", LEAF, ROOT),
        Spec::leaf(NEIGHBOUR_ID, "root", NEIGHBOUR, ROOT),
        // The honest identity under a foreign root, and under the neighbour's SVID used as a CA.
        Spec::leaf(WORKLOAD, "root", NEIGHBOUR, FOREIGN),
        Spec::leaf(WORKLOAD, "leaf", FOREIGN, NEIGHBOUR),
        Spec::authority("root", "root", ROOT, ROOT),
        Spec::authority("root", "root", FOREIGN, FOREIGN),
        Spec::leaf(WORKLOAD, "root", P384, ROOT),
        Spec::leaf(WORKLOAD, "root", RSA, ROOT),
        expired(),
    ];
    specs.iter().map(|spec| spec.build().expect("a certificate")).collect()
});

/// An SVID of the honest workload that ended yesterday and whose key leaked since.
fn expired() -> Spec {
    let mut spec = Spec::leaf(WORKLOAD, "root", NEIGHBOUR, ROOT);
    (spec.not_before, spec.not_after) = (NOW - 90_000, NOW - 86_400);
    spec
}

/// Every example under every profile, signed by the workload; every third time with another of its keys.
pub static HONEST: LazyLock<Vec<Signed>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (example, card) in EXAMPLES.iter().enumerate() {
        for profile in Profile::ALL {
            let Some(payload) = payload(card, profile) else { continue };
            let (alg, key_place, leaf) =
                [("ES256", LEAF, 0), ("ES384", P384, 6), ("RS256", RSA, 7), ("PS256", RSA, 7)][all.len() % 4];
            let header = json!({"alg": alg, "kid": "k1", "typ": "JOSE",
                "x5c": [BASE64.encode(&CERTIFICATES[leaf]), BASE64.encode(&CERTIFICATES[4])]});
            let (protected, signature) = sign(&header.to_string(), &payload, alg, key_place);
            all.push(Signed { example, protected, signature, payload });
        }
    }
    all
});

/// The bundle of the trust domain: its root alone.
pub static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let text = BASE64_MIME.encode(&CERTIFICATES[4]).replace('\r', "");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n");
    let domain = TrustDomain::parse(DOMAIN).expect("a trust domain");
    parse_bundle(&domain, pem.into_bytes()).expect("a bundle")
});

/// The bytes that a signature under `profile` covers.
pub fn payload(card: &Value, profile: Profile) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(card).expect("a text");
    let document = Document::parse(text, &JsonLimits::CARD, Numbers::Binary64).ok()?;
    canonicalize(&document, profile).ok()
}

/// Signs, and returns `protected` and `signature` in base64url.
pub fn sign(header: &str, payload: &[u8], alg: &str, key_place: usize) -> (String, String) {
    let protected = BASE64URL_NOPAD.encode(header.as_bytes());
    let input = format!("{protected}.{}", BASE64URL_NOPAD.encode(payload));
    let signature = signature(input.as_bytes(), alg, key_place).unwrap_or_default();
    (protected, BASE64URL_NOPAD.encode(&signature))
}

fn signature(input: &[u8], alg: &str, key_place: usize) -> Option<Vec<u8>> {
    let key = key(key_place);
    let digest = if alg.ends_with("384") { MessageDigest::sha384() } else { MessageDigest::sha256() };
    let mut signer = Signer::new(digest, key).ok()?;
    if alg.starts_with("PS") {
        signer.set_rsa_padding(openssl::rsa::Padding::PKCS1_PSS).ok()?;
        signer.set_rsa_pss_saltlen(openssl::sign::RsaPssSaltlen::DIGEST_LENGTH).ok()?;
    }
    let made = signer.sign_oneshot_to_vec(input).ok()?;
    if !alg.starts_with("ES") {
        return Some(made);
    }
    let size = if alg == "ES384" { 48 } else { 32 };
    let pair = EcdsaSig::from_der(&made).ok()?;
    Some([pair.r().to_vec_padded(size).ok()?, pair.s().to_vec_padded(size).ok()?].concat())
}
