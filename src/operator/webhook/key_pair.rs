//! New key pairs for the webhook: ECDSA on P-256, with a certificate signed by its own key.

use countersign_core::time::Timestamp;
use countersign_plan::webhook::{BACKDATED, NewKeyPair};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

/// Makes a key pair for a server of `names`, valid from a little before `now`.
///
/// # Errors
/// What the random generator or the encoder refuses.
pub(super) fn make(names: &[String], now: Timestamp, not_after: Timestamp) -> Result<NewKeyPair, String> {
    let at = |time: Timestamp| {
        OffsetDateTime::from_unix_timestamp(time.as_unix()).map_err(|error| error.to_string())
    };
    let mut wanted = CertificateParams::new(names).map_err(|error| error.to_string())?;
    (wanted.not_before, wanted.not_after) = (at(now.minus(BACKDATED))?, at(not_after)?);
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, "countersign admission webhook");
    wanted.is_ca = IsCa::ExplicitNoCa;
    wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = wanted.self_signed(&key).map_err(|error| error.to_string())?;
    Ok(NewKeyPair { certificate: certificate.pem(), key: key.serialize_pem() })
}
