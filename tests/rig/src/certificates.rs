//! The certificate authority of tests: an issuer with a new key, and leaves that a test describes.
//! What SPIRE issues is for SPIRE; this is for what it would never issue, and for what speaks TLS without it.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::time::{Duration, SystemTime};

/// An authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A certificate with its key.
pub struct Certificate {
    /// DER.
    pub der: Vec<u8>,
    /// The same as PEM.
    pub pem: String,
    /// Its private key, PKCS#8.
    pub key_der: Vec<u8>,
    /// The same as PEM.
    pub key_pem: String,
}

/// What a leaf says. The default is a certificate for servers and clients that names nobody, valid from five minutes
/// ago for an hour from now.
pub struct Leaf {
    /// The common name, if it has one.
    pub common_name: Option<String>,
    /// The organization, if it has one.
    pub organization: Option<String>,
    /// Host names and IP addresses.
    pub hosts: Vec<String>,
    /// URIs, such as SPIFFE IDs.
    pub uris: Vec<String>,
    /// When it begins and ends.
    pub validity: (SystemTime, SystemTime),
}

impl Default for Leaf {
    fn default() -> Self {
        let now = SystemTime::now();
        let validity = (now - Duration::from_mins(5), now + Duration::from_hours(1));
        Self { common_name: None, organization: None, hosts: Vec::new(), uris: Vec::new(), validity }
    }
}

impl Ca {
    /// An authority of this common name, and with this URI if it is one of SPIFFE; valid from a day
    /// ago for a year.
    pub fn new(name: &str, uri: Option<&str>) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = uri.into_iter().map(uri_name).collect::<Result<_>>()?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let (now, day) = (SystemTime::now(), Duration::from_hours(24));
        (params.not_before, params.not_after) = ((now - day).into(), (now + 365 * day).into());
        let key = KeyPair::generate()?;
        let certificate = Certificate::new(&params.self_signed(&key)?, &key);
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Issues a certificate with a new key.
    pub fn issue(&self, leaf: Leaf) -> Result<Certificate> {
        let mut params = CertificateParams::new(leaf.hosts)?;
        let names = [(DnType::CommonName, leaf.common_name), (DnType::OrganizationName, leaf.organization)];
        for (kind, name) in names.into_iter().filter_map(|(kind, name)| Some((kind, name?))) {
            params.distinguished_name.push(kind, name);
        }
        for uri in &leaf.uris {
            params.subject_alt_names.push(uri_name(uri)?);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (leaf.validity.0.into(), leaf.validity.1.into());
        let key = KeyPair::generate()?;
        Ok(Certificate::new(&params.signed_by(&key, &self.issuer)?, &key))
    }
}

impl Certificate {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            key_der: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn uri_name(uri: &str) -> Result<SanType> {
    Ok(SanType::URI(uri.try_into()?))
}
