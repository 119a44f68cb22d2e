//! The role of an issuer: a certificate of a trust domain that may issue certificates (rule 36).

use super::certificate::Certificate;
use crate::refusal::{Reason, Refusal};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::text::Quoted;

/// Refuses an issuer without CA=true or keyCertSign, for other purposes than an SVID's, or with the SPIFFE ID of a
/// workload or of another domain than `trust_domain` (rule 36; X509-SVID §3.2 and §4).
pub(crate) fn check_issuer_role(issuer: &Certificate<'_>, trust_domain: &TrustDomain) -> Result<(), Refusal> {
    if !issuer.is_ca {
        return Err(Refusal::new(Reason::IssuerNotCa, "it does not have CA=true"));
    }
    if !issuer.key_usage.is_some_and(|usage| usage.signs_certificates) {
        return Err(Refusal::new(Reason::IssuerKeyUsage, "its key usage lacks keyCertSign"));
    }
    // Critical or not, the extension limits what the key may be used for (RFC 5280 §4.2.1.12), and path validators hold
    // every certificate below to it.
    if issuer.purposes.is_some_and(|purposes| !purposes.both_ends_of_tls && !purposes.any) {
        let message = "its extended key usage lacks serverAuth or clientAuth, and anyExtendedKeyUsage";
        return Err(Refusal::new(Reason::IssuerExtendedKeyUsage, message));
    }
    if issuer.uri_count > 1 {
        let message = format!("it carries {} URI names", issuer.uri_count);
        return Err(Refusal::new(Reason::IssuerSpiffeId, message));
    }
    let Some(uri) = issuer.first_uri else { return Ok(()) };
    let is_domain = SpiffeId::parse(uri).is_ok_and(|id| !id.has_path() && id.trust_domain() == trust_domain);
    if is_domain {
        return Ok(());
    }
    let message = format!("its SPIFFE ID is {}, not spiffe://{trust_domain}", Quoted(uri));
    Err(Refusal::new(Reason::IssuerSpiffeId, message))
}

/// Trust domain that an issuer names as its own, by a SPIFFE ID without a path.
pub(crate) fn domain_of_issuer(issuer: &Certificate<'_>) -> Option<TrustDomain> {
    let id = SpiffeId::parse(issuer.first_uri?).ok()?;
    (!id.has_path()).then(|| id.trust_domain().clone())
}
