//! Certificates from files, loaded again every minute, and self-signed ones.

use super::{Current, certified};
use crate::flags::ServingCertificate;
use countersign_io::files::read_file;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// Maximum size of a certificate or key file, in bytes.
const PEM_BYTES: usize = 64 * 1024;
/// Period of loading certificate files.
pub(crate) const RELOAD: Duration = Duration::from_mins(1);

/// Loads the certificate of `server` again until dropped.
pub(crate) async fn reload(server: &'static str, certificate: ServingCertificate, current: Current) {
    loop {
        sleep(RELOAD).await;
        match load(&certificate) {
            Ok(key) => current.set(key),
            Err(error) => tracing::warn!("the certificate of the {server} server stays as it was: {error}"),
        }
    }
}

/// Loads a certificate with its key.
pub(crate) fn load(certificate: &ServingCertificate) -> io::Result<CertifiedKey> {
    let (chain, key) = match certificate {
        ServingCertificate::SelfSigned => {
            let made =
                rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
            (vec![made.cert.der().clone()], key)
        }
        ServingCertificate::Files { certificate, key } => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
            let chain = chain.map_err(|error| unusable(certificate, &error))?;
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, &error))?;
            (chain, key)
        }
    };
    certified(chain, key)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_file(path, PEM_BYTES).map_err(io::Error::other)
}

fn unusable(path: &Path, error: &impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{} is not usable PEM: {error}", path.display()))
}
