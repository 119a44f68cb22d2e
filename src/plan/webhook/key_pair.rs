//! Certificate with its private key, as a Secret stores both.

use countersign_core::time::{Seconds, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt::{self, Debug, Formatter};
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Time by which a new certificate is valid earlier than it is made, for clocks that lag behind.
pub const BACKDATED: Seconds = Seconds::new(3600);

/// New certificate with its private key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKeyPair {
    /// Self-signed certificate.
    pub certificate: String,
    /// Private key in PKCS #8.
    pub key: String,
}

impl Debug for NewKeyPair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKeyPair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Certificate that is valid now for all wanted names.
pub(super) struct Usable {
    /// PEM text, with one line feed at its end.
    pub(super) pem: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Parses one certificate as PEM, and checks that it is valid at `now` and covers `names`; with `key`, that it certifies that
/// key.
pub(super) fn parse_usable(
    certificate: &[u8],
    key: Option<&[u8]>,
    names: &[String],
    now: Timestamp,
) -> Result<Usable, &'static str> {
    let text = std::str::from_utf8(certificate).map_err(|_| "is not text")?;
    let mut all = CertificateDer::pem_slice_iter(certificate);
    let Some(Ok(der)) = all.next() else { return Err("holds no certificate as PEM") };
    if all.next().is_some() {
        return Err("holds more than one certificate");
    }
    let Ok((rest, parsed)) = X509Certificate::from_der(&der) else {
        return Err("holds no X.509 certificate");
    };
    if !rest.is_empty() {
        return Err("holds no X.509 certificate");
    }
    let of = |time: x509_parser::time::ASN1Time| Timestamp::from_unix(time.timestamp());
    let (not_before, not_after) = (of(parsed.validity().not_before), of(parsed.validity().not_after));
    if now < not_before {
        return Err("is not valid yet");
    }
    if not_after < now {
        return Err("has expired");
    }
    if !names.iter().all(|name| covers(&parsed, name)) {
        return Err("is for other names");
    }
    if let Some(key) = key
        && public_key(key).as_deref() != Some(parsed.public_key().subject_public_key.data.as_ref())
    {
        return Err("does not certify the key beside it");
    }
    Ok(Usable { pem: format!("{}\n", text.trim()), not_before, not_after })
}

/// Whether a certificate has a DNS name or an IP address among its alternative names.
fn covers(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let address = match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.octets().to_vec(),
        Ok(IpAddr::V6(address)) => address.octets().to_vec(),
        Err(_) => Vec::new(),
    };
    names.value.general_names.iter().any(|found| match found {
        GeneralName::DNSName(found) => *found == name,
        GeneralName::IPAddress(found) => !address.is_empty() && *found == address,
        _ => false,
    })
}

/// Public key, as an uncompressed point, of a private key for ECDSA on P-256 as PEM.
fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(pem).ok()? else { return None };
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der(), &random).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}
