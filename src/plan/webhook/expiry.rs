//! Ends of the certificates that the API server trusts as the webhook's.

use crate::limits::ITEMS;
use countersign_core::time::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Parses `caBundle`: the time at which each of its certificates ends, in their order.
///
/// # Errors
/// It holds no certificate, too many, or something that is none.
pub fn parse_expiries(ca_bundle: &[u8]) -> Result<Vec<Timestamp>, &'static str> {
    let mut ends = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(ca_bundle) {
        let der = certificate.map_err(|_| "holds something that is no certificate as PEM")?;
        let end = parse_expiry(&der).ok_or("holds something that is no X.509 certificate")?;
        if ends.len() == ITEMS {
            return Err("holds too many certificates");
        }
        ends.push(end);
    }
    if ends.is_empty() { Err("holds no certificate as PEM") } else { Ok(ends) }
}

/// Parses the time at which a certificate in DER ends; `None` for what is no certificate.
pub fn parse_expiry(der: &[u8]) -> Option<Timestamp> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp::from_unix(parsed.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use time::OffsetDateTime;

    fn pem(ends: i64) -> String {
        let mut wanted = CertificateParams::new(vec!["webhook".to_owned()]).unwrap();
        wanted.not_after = OffsetDateTime::from_unix_timestamp(ends).unwrap();
        wanted.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn every_certificate_is_read_and_what_is_none_is_told() {
        let both = pem(1_800_000_000) + &pem(1_900_000_000);
        let ends = [1_800_000_000, 1_900_000_000].map(Timestamp::from_unix).to_vec();
        assert_eq!(parse_expiries(both.as_bytes()), Ok(ends));
        let no_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, problem) in [
            ("", "holds no certificate as PEM"),
            ("x", "holds no certificate as PEM"),
            (no_x509, "holds something that is no X.509 certificate"),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "holds something that is no certificate as PEM",
            ),
        ] {
            assert_eq!(parse_expiries(text.as_bytes()), Err(problem), "{text}");
        }
        assert_eq!(parse_expiries(pem(1).repeat(ITEMS + 1).as_bytes()), Err("holds too many certificates"));
    }
}
