//! What a signer has to know of its own leaf before it signs; proves nothing about who issued it.

use super::certificate::Certificate;
use super::leaf::verify_leaf_role;
use crate::jws::PublicKey;
use crate::refusal::Refusal;
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;

/// The facts of a leaf certificate that is an X509-SVID by its form.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeafFacts {
    /// The identity that it names.
    pub spiffe_id: SpiffeId,
    /// Its public key.
    pub key: PublicKey,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// Reads the leaf that is about to sign; it has to be an X509-SVID in form (rules 30 and 33 to 35).
pub fn leaf_facts(der: &[u8]) -> Result<LeafFacts, Refusal> {
    let leaf = Certificate::parse(der)?;
    Ok(LeafFacts {
        spiffe_id: verify_leaf_role(&leaf)?,
        key: PublicKey::from_spki(leaf.spki)?,
        not_before: leaf.validity.not_before,
        not_after: leaf.validity.not_after,
    })
}
