//! A trust authority as SPIRE is one: a CA of a trust domain, SVIDs, and the bundle that it publishes.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

/// The CA of a trust domain.
pub struct Authority {
    domain: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

/// An SVID with its key.
pub struct Svid {
    /// DER certificates, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub key: Vec<u8>,
}

impl Authority {
    /// A CA that is valid for a day before and after now.
    pub fn new(domain: &str) -> Self {
        let (from, until) = (-Duration::days(1), Duration::days(1));
        let mut params = params(&format!("spiffe://{domain}"), from, until);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { domain: domain.to_owned(), issuer: Issuer::new(params, key), certificate }
    }

    /// An SVID of a service account, valid from `from` to `until` seconds from now.
    pub fn issue(&self, namespace: &str, account: &str, from: i64, until: i64) -> Svid {
        let id = format!("spiffe://{}/ns/{namespace}/sa/{account}", self.domain);
        let mut params = params(&id, Duration::seconds(from), Duration::seconds(until));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Svid { chain: vec![leaf.der().to_vec()], key: key.serialize_der() }
    }

    /// The certificate of the CA, for bundles of several.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// A bundle in SPIFFE's format.
pub fn bundle_json(authorities: &[&Authority], sequence: u64) -> Value {
    let keys: Vec<Value> = authorities.iter().map(|authority| key_of(&authority.certificate)).collect();
    json!({ "keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": 300 })
}

fn key_of(certificate: &[u8]) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "x": "", "y": "", "use": "x509-svid", "x5c": [base64(certificate)] })
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    countersign_core::encoding::encode_base64_standard_into(bytes, &mut text);
    text
}

fn params(uri: &str, from: Duration, until: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "SPIRE");
    params.distinguished_name = name;
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.not_before = OffsetDateTime::now_utc() + from;
    params.not_after = OffsetDateTime::now_utc() + until;
    params
}
