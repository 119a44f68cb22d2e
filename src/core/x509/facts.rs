//! Facts of a leaf certificate for its holder, read before signing. They prove nothing about the issuer.

use super::certificate::Certificate;
use super::leaf::verify_leaf_role;
use crate::jws::PublicKey;
use crate::refusal::Refusal;
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;

/// Facts of a leaf certificate that has the form of an X509-SVID.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeafFacts {
    /// The SPIFFE ID in the certificate.
    pub spiffe_id: SpiffeId,
    /// The public key in the certificate.
    pub key: PublicKey,
    /// First second of validity (`notBefore`).
    pub not_before: Timestamp,
    /// Last second of validity (`notAfter`).
    pub not_after: Timestamp,
}

/// Parses a DER leaf and fails unless it has the form of an X509-SVID (rules 30 and 33 to 35).
pub fn leaf_facts(der: &[u8]) -> Result<LeafFacts, Refusal> {
    let leaf = Certificate::parse(der)?;
    Ok(LeafFacts {
        spiffe_id: verify_leaf_role(&leaf)?,
        key: PublicKey::from_spki(leaf.spki)?,
        not_before: leaf.validity.not_before,
        not_after: leaf.validity.not_after,
    })
}
