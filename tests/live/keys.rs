//! A certificate authority and a one-hour SVID, made afresh for every run.

use super::Work;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// The trust domain of the run.
pub(crate) const TRUST_DOMAIN: &str = "example.org";
/// The signer of the run.
pub(crate) const SPIFFE_ID: &str = "spiffe://example.org/ns/interop/sa/agent";

impl Work {
    /// Writes `root.pem`, `chain.pem`, `leaf.key`, `leaf.pub` and `header.json` (the header that the SDKs are given).
    pub(super) fn make_keys(&self) {
        let now = OffsetDateTime::now_utc();
        let mut authority = params("spiffe://example.org", now, Duration::hours(24));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);

        let mut leaf = params(SPIFFE_ID, now, Duration::hours(1));
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();

        let x5c: String = leaf.pem().lines().filter(|line| !line.starts_with('-')).collect();
        let header = serde_json::json!({ "alg": "ES256", "kid": "interop", "typ": "JOSE", "x5c": [x5c] });
        for (name, content) in [
            ("root.pem", root.pem()),
            ("chain.pem", leaf.pem()),
            ("leaf.key", leaf_key.serialize_pem()),
            ("leaf.pub", leaf_key.public_key_pem()),
            ("header.json", header.to_string()),
        ] {
            std::fs::write(self.file(name), content).unwrap();
        }
    }
}

/// What both certificates have in common; SPIRE too sets the start back by ten seconds.
fn params(uri: &str, now: OffsetDateTime, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "SPIFFE");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.not_before = now - Duration::seconds(10);
    params.not_after = now + lifetime;
    params
}
