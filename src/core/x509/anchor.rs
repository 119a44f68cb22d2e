//! Anchors: the authorities of a trust bundle, parsed once when the bundle is parsed (rule 43).

use super::certificate::{Certificate, Validity};
use super::constraints::NameConstraints;
use super::role::{check_issuer_role, domain_of_issuer};
use crate::encoding::{Digest, sha256};
use crate::jws::PublicKey;
use crate::refusal::Refusal;
use crate::spiffe::TrustDomain;
use crate::time::Timestamp;
use std::fmt;

/// A CA certificate that a trust domain publishes as an authority.
#[derive(Clone, PartialEq, Eq)]
pub struct Anchor {
    der: Box<[u8]>,
    sha256: Digest,
    subject: Box<[u8]>,
    subject_key_id: Option<Box<[u8]>>,
    key: PublicKey,
    validity: Validity,
    path_length: Option<u32>,
    name_constraints: Option<NameConstraints>,
}

impl Anchor {
    /// Parses an authority of `trust_domain`: a CA with keyCertSign and a supported key, whose SPIFFE ID, if any, names
    /// the trust domain alone. Expiry is checked when the anchor is used, not here.
    pub(crate) fn parse(der: &[u8], trust_domain: &TrustDomain) -> Result<Self, Refusal> {
        let certificate = Certificate::parse(der)?;
        check_issuer_role(&certificate, trust_domain)?;
        Ok(Self {
            der: der.into(),
            sha256: sha256(der),
            subject: certificate.subject.into(),
            subject_key_id: certificate.subject_key_id.map(Into::into),
            key: PublicKey::from_spki(certificate.spki)?,
            validity: certificate.validity,
            path_length: certificate.path_length,
            name_constraints: certificate.name_constraints,
        })
    }

    /// The trust domain of a certificate that is an authority of another one than `trust_domain`.
    pub(crate) fn other_domain(der: &[u8], trust_domain: &TrustDomain) -> Option<TrustDomain> {
        let certificate = Certificate::parse(der).ok()?;
        let other = domain_of_issuer(&certificate).filter(|other| other != trust_domain)?;
        check_issuer_role(&certificate, &other).is_ok().then_some(other)
    }

    /// The certificate, in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER certificate.
    pub const fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The public key of the authority.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The subject key identifier, if the certificate has one.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// First second of validity (`notBefore`).
    pub const fn not_before(&self) -> Timestamp {
        self.validity.not_before
    }

    /// Last second of validity (`notAfter`).
    pub const fn not_after(&self) -> Timestamp {
        self.validity.not_after
    }

    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(crate) const fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) const fn path_length(&self) -> Option<u32> {
        self.path_length
    }

    pub(crate) const fn name_constraints(&self) -> Option<&NameConstraints> {
        self.name_constraints.as_ref()
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchor({}, {}, until {})", self.sha256, self.key.kind(), self.not_after())
    }
}
