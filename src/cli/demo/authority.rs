//! The certificate authority of the demonstration, whose SVIDs have the form of SPIRE's. No key is written to disk.

use super::names::{DOMAIN, NAMESPACE};
use countersign_core::time::{Seconds, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use std::time::Duration;

const HOUR: u32 = 3600;

/// The certificate authority of the demonstration's trust domain.
pub(super) struct DemoAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// An SVID with its private key.
pub(super) struct IssuedSvid {
    /// The certificates: DER, leaf first.
    pub(super) chain: Vec<Vec<u8>>,
    /// The private key: PKCS#8, DER.
    pub(super) key: Vec<u8>,
}

/// The SPIFFE ID of a service account of the demonstration.
pub(super) fn spiffe_id(service_account: &str) -> String {
    format!("spiffe://{DOMAIN}/ns/{NAMESPACE}/sa/{service_account}")
}

impl DemoAuthority {
    /// Makes an authority that is valid from a day before `now` to a day after.
    pub(super) fn new(now: Timestamp) -> Result<Self, rcgen::Error> {
        let day = Seconds::new(24 * HOUR);
        let mut params = params("SPIRE", &format!("spiffe://{DOMAIN}"), now.minus(day), now.plus(day))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The trust bundle with this authority, in PEM.
    pub(super) fn bundle(&self) -> Vec<u8> {
        self.certificate.clone().into_bytes()
    }

    /// Issues an SVID that is valid for one hour from `from`.
    pub(super) fn issue(&self, service_account: &str, from: Timestamp) -> Result<IssuedSvid, rcgen::Error> {
        let until = from.plus(Seconds::new(HOUR));
        let mut params = params("SPIRE", &spiffe_id(service_account), from, until)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(IssuedSvid { chain: vec![leaf.der().to_vec()], key: key.serialize_der() })
    }
}

fn params(
    organization: &str,
    uri: &str,
    from: Timestamp,
    until: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    params.distinguished_name = name;
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.not_before = date(from)?;
    params.not_after = date(until)?;
    Ok(params)
}

fn date(at: Timestamp) -> Result<time::OffsetDateTime, rcgen::Error> {
    let since = Duration::from_secs(u64::try_from(at.as_unix()).unwrap_or_default());
    let since = time::Duration::try_from(since).map_err(|_| rcgen::Error::Time)?;
    time::OffsetDateTime::UNIX_EPOCH.checked_add(since).ok_or(rcgen::Error::Time)
}
