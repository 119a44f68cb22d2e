//! The role of a leaf: an X509-SVID of a workload, which may sign a card (rules 33 to 35; X509-SVID §4 and §5).

use super::certificate::Certificate;
use crate::refusal::{Reason, Refusal};
use crate::spiffe::SpiffeId;
use crate::text::Quoted;

/// Verifies the role of a leaf and returns its SPIFFE ID, of which there must be exactly one.
pub(crate) fn verify_leaf_role(leaf: &Certificate<'_>) -> Result<SpiffeId, Refusal> {
    if leaf.is_ca {
        return Err(Refusal::new(Reason::LeafIsCa, "the first certificate has CA=true"));
    }
    check_key_usage(leaf)?;
    if leaf.purposes.is_some_and(|purposes| !purposes.both_ends_of_tls) {
        let message = "the leaf's extended key usage lacks serverAuth or clientAuth";
        return Err(Refusal::new(Reason::LeafExtendedKeyUsage, message));
    }
    let Some(uri) = leaf.first_uri.filter(|_| leaf.uri_count == 1) else {
        let message = format!("the leaf carries {} URI names, not exactly one", leaf.uri_count);
        return Err(Refusal::new(Reason::LeafSan, message));
    };
    let id = SpiffeId::parse(uri)?;
    if !id.has_path() {
        let message = format!("the leaf's SPIFFE ID {} names a trust domain, not a workload", Quoted(uri));
        return Err(Refusal::new(Reason::SpiffeIdMalformed, message));
    }
    Ok(id)
}

fn check_key_usage(leaf: &Certificate<'_>) -> Result<(), Refusal> {
    let problem = match leaf.key_usage {
        None => "the leaf has no key usage",
        Some(usage) if !usage.critical => "the leaf's key usage is not critical",
        Some(usage) if !usage.digital_signature => "the leaf's key usage lacks digitalSignature",
        Some(usage) if usage.signs_certificates => "the leaf's key usage contains keyCertSign",
        Some(usage) if usage.signs_revocations => "the leaf's key usage contains cRLSign",
        Some(_) => return Ok(()),
    };
    Err(Refusal::new(Reason::LeafKeyUsage, problem))
}
