//! One signature of a chain: the child's bytes under the issuer's key, paid for before it is checked (rules 39, 40).
//!
//! webpki's algorithm table and ring do the work. Its own path search is not used: among the equally named
//! authorities of SPIRE it would try keys in an order, and a number of times, that the sender can influence.

use super::certificate::Certificate;
use crate::jws::KeyView;
use crate::limits::Budget;
use crate::refusal::Refusal;
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::ring as algorithms;

/// RSA, P-256 and P-384 with SHA-2. Matched on the exact bytes of both `AlgorithmIdentifiers`.
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

/// True when some key could check a signature of this algorithm.
pub(crate) fn is_supported(signature_algorithm: &[u8]) -> bool {
    SUPPORTED.iter().any(|known| known.signature_alg_id().as_ref() == signature_algorithm)
}

/// Whether `issuer` signed `child`. A key that cannot make such a signature did not, at no cost; everything
/// else costs what the issuer's key costs, and an empty budget is a refusal.
pub(crate) fn is_signed_by(
    child: &Certificate<'_>,
    issuer: KeyView<'_>,
    budget: &mut Budget,
) -> Result<bool, Refusal> {
    let fitting = SUPPORTED.iter().find(|known| {
        known.signature_alg_id().as_ref() == child.signature_algorithm
            && known.public_key_alg_id().as_ref() == issuer.kind.algorithm_id()
    });
    let Some(algorithm) = fitting else { return Ok(false) };
    budget.spend(issuer.kind.cost())?;
    Ok(algorithm.verify_signature(issuer.bits, child.signed, child.signature).is_ok())
}
