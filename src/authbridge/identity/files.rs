//! Identity from files in the layout of spiffe-helper: certificate, key and bundle in one folder.
//! The three are accepted only if they fit together, because a helper may be in the middle of writing them.

use super::snapshot::Material;
use super::store::WorkloadIdentity;
use countersign_core::x509::leaf_facts;
use countersign_io::files::read_file;
use countersign_io::keys::{KeyError, is_encrypted};
use countersign_io::workload_api::{DomainBundle, WorkloadSvid};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Largest file, in bytes.
const BYTES: usize = 256 * 1024;
/// Time between two reads of the files.
const LOOK: Duration = Duration::from_secs(2);

/// Follows the files until dropped; a set that does not fit together leaves the last identity.
pub(crate) async fn follow_files(folder: &Path, identity: &WorkloadIdentity) {
    loop {
        match read(folder) {
            Ok(material) => identity.update(Ok(&material)),
            Err(error) => identity.update(Err(error)),
        };
        tokio::time::sleep(LOOK).await;
    }
}

/// Set of files in a folder, if they fit together; the error names the first that cannot be used.
pub(crate) fn read(folder: &Path) -> Result<Material, String> {
    let file = |name: &str| read_file(&folder.join(name), BYTES).map_err(|error| error.to_string());
    let chain = certificates("svid.pem", &file("svid.pem")?)?;
    let pem = Zeroizing::new(file("svid_key.pem")?);
    if std::str::from_utf8(&pem).is_ok_and(is_encrypted) {
        return Err(format!("svid_key.pem: {}", KeyError::Encrypted));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| format!("svid_key.pem is not a private key in PEM: {error}"))?;
    let PrivateKeyDer::Pkcs8(key) = key else {
        return Err("svid_key.pem is not in PKCS#8".to_owned());
    };
    let leaf = chain.first().ok_or("svid.pem has no certificate")?;
    let domain = leaf_facts(leaf).map_err(|refusal| format!("svid.pem: {refusal}"))?.spiffe_id;
    let authorities = certificates("svid_bundle.pem", &file("svid_bundle.pem")?)?;
    let bundle = DomainBundle { trust_domain: domain.trust_domain().to_string(), authorities };
    let key = Zeroizing::new(key.secret_pkcs8_der().to_vec());
    Ok(Material { svid: WorkloadSvid { chain, key }, bundles: vec![bundle] })
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("{name} is not PEM: {error}"))?;
        all.push(certificate.to_vec());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_encrypted_is_told_from_one_that_is_damaged() {
        let folder = std::env::temp_dir().join(format!("countersign-identity-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,5B2F\n\n";
        for (headers, expected) in [(headers, "is encrypted"), ("", "svid_key.pem is not")] {
            let key =
                format!("-----BEGIN EC PRIVATE KEY-----\n{headers}AAAA\n-----END EC PRIVATE KEY-----\n");
            for (name, content) in [("svid.pem", "none"), ("svid_key.pem", &key)] {
                std::fs::write(folder.join(name), content).unwrap();
            }
            let problem = read(&folder).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
