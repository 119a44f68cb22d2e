//! A test authority: roots, nested intermediates and SVIDs with everything about them adjustable.
//! Certificates come from `rcgen`; what it cannot make is patched in DER and, where needed, signed again.

use countersign_core::bundle::{Bundle, parse_bundle};
use countersign_core::jws::Algorithm;
use countersign_core::spiffe::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, SigningKey as _,
};
use ring::rand::SystemRandom;
use ring::signature as ring_signature;
use std::time::Duration;

/// The moment at which the tests judge: 2026-11-18T11:06:40Z.
pub(crate) const NOW: u64 = 1_795_000_000;
/// The trust domain of the tests.
pub(crate) const DOMAIN: &str = "example.org";
/// The workload of the tests.
pub(crate) const WORKLOAD: &str = "spiffe://example.org/ns/a/sa/b";
/// A throw-away key, because `ring` cannot generate RSA keys.
const RSA_2048: &str = include_str!("../fixtures/rsa-2048.key.pem");

/// Object identifiers for hand-made extensions.
pub(crate) const OID_KEY_USAGE: &[u64] = &[2, 5, 29, 15];
pub(crate) const OID_SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
pub(crate) const OID_BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
pub(crate) const OID_NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];
pub(crate) const OID_PRIVATE: &[u64] = &[1, 3, 6, 1, 4, 1, 99_999, 1];

/// The kind of a test key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    P256,
    P384,
    Rsa2048,
    Ed25519,
}

impl Key {
    pub(crate) fn generate(self) -> KeyPair {
        match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => KeyPair::from_pkcs8_pem_and_sign_algo(RSA_2048, &rcgen::PKCS_RSA_SHA256),
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        }
        .expect("a test key")
    }
}

/// The trust domain of the tests.
pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse(DOMAIN).expect("a trust domain")
}

/// A hand-made extension.
pub(crate) fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// How to make a CA certificate; the default is a P-256 root as SPIRE makes it.
pub(crate) struct Ca {
    pub(crate) subject: &'static str,
    pub(crate) key: Key,
    /// Used instead of a new key, to issue the same authority again.
    pub(crate) key_pem: Option<String>,
    pub(crate) spiffe_ids: Vec<&'static str>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) authority: IsCa,
    pub(crate) key_usages: Vec<KeyUsagePurpose>,
    pub(crate) authority_key_id: bool,
    pub(crate) extensions: Vec<CustomExtension>,
    pub(crate) serial: u64,
}

impl Default for Ca {
    fn default() -> Self {
        Self {
            subject: "SPIRE",
            key: Key::P256,
            key_pem: None,
            spiffe_ids: vec!["spiffe://example.org"],
            not_before: NOW - 3600,
            not_after: NOW + 86_400,
            authority: IsCa::Ca(BasicConstraints::Unconstrained),
            key_usages: vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            authority_key_id: true,
            extensions: Vec::new(),
            serial: 7,
        }
    }
}

impl Ca {
    /// With another name.
    pub(crate) fn named(subject: &'static str) -> Self {
        Self { subject, ..Self::default() }
    }

    /// CA:TRUE by a hand-made extension, because `rcgen` always adds a subject key identifier to its own.
    pub(crate) fn without_key_id(mut self) -> Self {
        self.authority = IsCa::NoCa;
        self.extensions.push(extension(OID_BASIC_CONSTRAINTS, &[0x30, 3, 1, 1, 0xff], true));
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = params(self.subject, self.not_before, self.not_after, self.serial);
        params.subject_alt_names = uris(&self.spiffe_ids);
        params.is_ca = self.authority;
        params.key_usages.clone_from(&self.key_usages);
        params.use_authority_key_identifier_extension = self.authority_key_id;
        params.custom_extensions.clone_from(&self.extensions);
        params
    }

    fn key_pair(&self) -> KeyPair {
        self.key_pem
            .as_deref()
            .map_or_else(|| self.key.generate(), |pem| KeyPair::from_pem(pem).expect("a key"))
    }
}

/// How to make an SVID; the default is a one-hour P-256 SVID of [`WORKLOAD`] as SPIRE makes it.
pub(crate) struct Leaf {
    /// The organisation; empty for a certificate without a subject.
    pub(crate) subject: &'static str,
    pub(crate) uris: Vec<&'static str>,
    pub(crate) other_names: Vec<SanType>,
    pub(crate) key: Key,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) authority: IsCa,
    pub(crate) key_usages: Vec<KeyUsagePurpose>,
    pub(crate) extended_key_usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) authority_key_id: bool,
    pub(crate) extensions: Vec<CustomExtension>,
    /// An `RSAPublicKey` used instead of the generated key.
    pub(crate) rsa_key: Option<Vec<u8>>,
}

impl Default for Leaf {
    fn default() -> Self {
        Self {
            subject: "workload",
            uris: vec![WORKLOAD],
            other_names: Vec::new(),
            key: Key::P256,
            not_before: NOW - 10,
            not_after: NOW + 3590,
            authority: IsCa::ExplicitNoCa,
            key_usages: vec![KeyUsagePurpose::DigitalSignature],
            extended_key_usages: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            authority_key_id: true,
            extensions: Vec::new(),
            rsa_key: None,
        }
    }
}

/// A CA with its key and the certificates that lead to its root.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
    /// Certificates above a leaf of this CA, without the root.
    intermediates: Vec<Vec<u8>>,
    root: Vec<u8>,
}

impl Authority {
    /// A self-signed root.
    pub(crate) fn root(ca: &Ca) -> Self {
        let (params, key) = (ca.params(), ca.key_pair());
        let der = params.self_signed(&key).expect("a root").der().to_vec();
        Self { params, key, root: der.clone(), der, intermediates: Vec::new() }
    }

    /// A CA below this one.
    pub(crate) fn intermediate(&self, ca: &Ca) -> Self {
        let (params, key) = (ca.params(), ca.key_pair());
        let der = params.signed_by(&key, &self.issuer()).expect("an intermediate").der().to_vec();
        let mut intermediates = vec![der.clone()];
        intermediates.extend(self.intermediates.iter().cloned());
        Self { params, key, der, intermediates, root: self.root.clone() }
    }

    /// A CA `depth` levels below this one, each with its own name.
    pub(crate) fn nested(&self, depth: usize) -> Self {
        let names = ["level 1", "level 2", "level 3", "level 4", "level 5"];
        let mut names = names.iter().take(depth).map(|name| Ca::named(name));
        let first = self.intermediate(&names.next().expect("at least one level"));
        names.fold(first, |above, ca| above.intermediate(&ca))
    }

    /// An SVID of this CA.
    pub(crate) fn issue(&self, leaf: &Leaf) -> Svid {
        let mut params = params(leaf.subject, leaf.not_before, leaf.not_after, 1);
        params.subject_alt_names = uris(&leaf.uris);
        params.subject_alt_names.extend(leaf.other_names.iter().cloned());
        params.is_ca = leaf.authority;
        params.key_usages.clone_from(&leaf.key_usages);
        params.extended_key_usages.clone_from(&leaf.extended_key_usages);
        params.use_authority_key_identifier_extension = leaf.authority_key_id;
        params.custom_extensions.clone_from(&leaf.extensions);
        let key = leaf.key.generate();
        let certificate = match &leaf.rsa_key {
            None => params.signed_by(&key, &self.issuer()),
            Some(other) => params.signed_by(&RsaKey(other), &self.issuer()),
        };
        let der = certificate.expect("a leaf").der().to_vec();
        let mut chain = vec![der];
        chain.extend(self.intermediates.iter().cloned());
        Svid { chain, key, kind: leaf.key }
    }

    /// This certificate.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The root above this CA.
    pub(crate) fn root_der(&self) -> &[u8] {
        &self.root
    }

    /// This key, to issue the same authority again.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The bundle whose only authority is the root above this CA.
    pub(crate) fn bundle(&self) -> Bundle {
        bundle_of(&[self.root_der()])
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// Replaces the signed part of a certificate and signs it again with this P-256 key.
    pub(crate) fn sign_again(&self, der: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let (_, certificate, _) = split(der);
        let (mut signed, rest) = take(certificate);
        change(&mut signed);
        let (algorithm, _) = take(rest);
        let signature = self.key.sign(&signed).expect("a signature");
        let bits = element(0x03, &[&[0][..], &signature].concat());
        element(0x30, &[signed, algorithm, bits].concat())
    }
}

struct RsaKey<'a>(&'a [u8]);

impl PublicKeyData for RsaKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// A leaf with its chain and key.
pub(crate) struct Svid {
    pub(crate) chain: Vec<Vec<u8>>,
    key: KeyPair,
    kind: Key,
}

impl Svid {
    /// Signs as a JWS does: raw `r‖s` for ECDSA, PKCS#1 or PSS for RSA.
    pub(crate) fn sign(&self, algorithm: Algorithm, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let pkcs8 = self.key.serialized_der();
        let padding: &dyn ring_signature::RsaEncoding = match algorithm {
            Algorithm::Rs384 => &ring_signature::RSA_PKCS1_SHA384,
            Algorithm::Rs512 => &ring_signature::RSA_PKCS1_SHA512,
            Algorithm::Ps256 => &ring_signature::RSA_PSS_SHA256,
            Algorithm::Ps384 => &ring_signature::RSA_PSS_SHA384,
            Algorithm::Ps512 => &ring_signature::RSA_PSS_SHA512,
            _ => &ring_signature::RSA_PKCS1_SHA256,
        };
        let ecdsa = match self.kind {
            Key::P256 => &ring_signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            _ => &ring_signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        };
        match self.kind {
            Key::P256 | Key::P384 => {
                let key = ring_signature::EcdsaKeyPair::from_pkcs8(ecdsa, pkcs8, &random).expect("a key");
                key.sign(&random, input).expect("a signature").as_ref().to_vec()
            }
            Key::Rsa2048 => {
                let key = ring_signature::RsaKeyPair::from_pkcs8(pkcs8).expect("a key");
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, input, &mut signature).expect("a signature");
                signature
            }
            Key::Ed25519 => {
                let key = ring_signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).expect("a key");
                key.sign(input).as_ref().to_vec()
            }
        }
    }

    /// The private key as PKCS#8.
    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// The `SubjectPublicKeyInfo` of the leaf's key.
    pub(crate) fn spki(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }
}

/// A bundle of these certificates, each of which must be usable.
pub(crate) fn bundle_of(certificates: &[&[u8]]) -> Bundle {
    let text: String = certificates.iter().map(|der| pem(der)).collect();
    let bundle = parse_bundle(&domain(), text.into_bytes()).expect("a bundle");
    assert!(bundle.skipped().is_empty(), "{:?}", bundle.skipped());
    bundle
}

/// One certificate as PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// One DER element.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u16::try_from(contents.len()).expect("short contents").to_be_bytes() {
        [0, low @ 0..=0x7f] => out.push(low),
        [0, low] => out.extend([0x81, low]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend(contents);
    out
}

/// The first element as it stands, and what follows it.
pub(crate) fn take(der: &[u8]) -> (Vec<u8>, &[u8]) {
    let (header, contents, rest) = split(der);
    ([header, contents].concat(), rest)
}

/// Header, contents and rest of the first element.
pub(crate) fn split(der: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (header, length) = match der {
        [_, 0x81, low, ..] => (3, usize::from(*low)),
        [_, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, low, ..] => (2, usize::from(*low)),
        _ => panic!("an element"),
    };
    let (header, body) = der.split_at(header);
    let (contents, rest) = body.split_at(length);
    (header, contents, rest)
}

fn params(subject: &str, not_before: u64, not_after: u64, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if !subject.is_empty() {
        name.push(DnType::OrganizationName, subject);
    }
    params.distinguished_name = name;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at =
        |unix| epoch.checked_add(Duration::from_secs(unix).try_into().expect("a duration")).expect("a date");
    params.not_before = at(not_before);
    params.not_after = at(not_after);
    params.serial_number = Some(serial.into());
    params
}

fn uris(uris: &[&str]) -> Vec<SanType> {
    uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))).collect()
}
