//! The signature of one certificate under the key of its issuer (rules 39 and 40).
//!
//! webpki's algorithm table and ring verify the signature. webpki's path search is not used: among the equally named
//! authorities of SPIRE a sender could influence the order and the number of the keys that it tries.

use super::certificate::Certificate;
use crate::budget::WorkBudget;
use crate::jws::KeyView;
use crate::refusal::Refusal;
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::ring as algorithms;

/// Supported signature algorithms: RSA, P-256 and P-384 with SHA-2, matched by the exact bytes of the
/// `AlgorithmIdentifiers` of signature and key.
static SUPPORTED: [&dyn SignatureVerificationAlgorithm; 10] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// True if a key of some kind can verify a signature of this algorithm.
pub(crate) fn is_supported(signature_algorithm: &[u8]) -> bool {
    SUPPORTED.iter().any(|known| known.signature_alg_id().as_ref() == signature_algorithm)
}

/// True if `issuer` signed `child`. Takes the cost of the issuer's key from `budget` first and fails if too little is
/// left. A key whose kind cannot make such a signature costs nothing.
pub(crate) fn is_signed_by(
    child: &Certificate<'_>,
    issuer: KeyView<'_>,
    budget: &mut WorkBudget,
) -> Result<bool, Refusal> {
    let fitting = SUPPORTED.iter().find(|known| {
        known.signature_alg_id().as_ref() == child.signature_algorithm
            && known.public_key_alg_id().as_ref() == issuer.kind.algorithm_id()
    });
    let Some(algorithm) = fitting else { return Ok(false) };
    budget.spend(issuer.kind.cost())?;
    Ok(algorithm.verify_signature(issuer.bits, child.signed, child.signature).is_ok())
}
