//! Certificates to serve with, from the Secret or from files.

use super::limits::FIRST_FILES;
use super::stored::{SecretName, Stored, data};
use crate::flags::ServingCertificate;
use crate::tls::{self, certified};
use countersign_plan::webhook::CURRENT;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::sleep;

/// Latest certificate, or the sentence that says why there is none.
pub(super) type Latest = Result<CertifiedKey, String>;

/// Sender of certificates as they change.
pub(super) struct Certificates(watch::Sender<Latest>);

impl Default for Certificates {
    fn default() -> Self {
        Self(watch::channel(Err("the certificate was not read yet".to_owned())).0)
    }
}

impl Certificates {
    pub(super) fn subscribe(&self) -> watch::Receiver<Latest> {
        self.0.subscribe()
    }

    fn send(&self, latest: Latest) {
        drop(self.0.send_replace(latest));
    }
}

/// Sends the certificate of files until dropped: often until there is one, as their volume may be filled late.
pub(super) async fn follow_files(files: &ServingCertificate, certificates: &Certificates) {
    let mut period = FIRST_FILES;
    loop {
        let loaded = tls::load(files);
        if loaded.is_ok() {
            period = tls::RELOAD;
        }
        certificates.send(loaded.map_err(|error| format!("the certificate cannot be loaded: {error}")));
        sleep(period).await;
    }
}

/// Sends the certificate of the Secret until the watch of it ends.
pub(super) async fn follow_secret(
    name: &SecretName,
    mut stored: watch::Receiver<Stored>,
    certificates: &Certificates,
) {
    loop {
        let latest = match &*stored.borrow_and_update() {
            Stored::Unread => Err(format!("{name} was not read yet")),
            Stored::Unreadable(problem) => Err(format!("{name} cannot be read: {problem}")),
            Stored::Absent => Err(format!("{name} does not exist yet; the replica that leads makes it")),
            Stored::Found(secret) => {
                let data = data(secret);
                parse(data.get(CURRENT.certificate), data.get(CURRENT.key)).map_err(|problem| {
                    format!("{name} has no usable certificate, until the leader mends it: {problem}")
                })
            }
        };
        certificates.send(latest);
        if stored.changed().await.is_err() {
            return;
        }
    }
}

fn parse(certificate: Option<&Vec<u8>>, key: Option<&Vec<u8>>) -> Result<CertifiedKey, String> {
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Err(format!("it lacks {} or {}", CURRENT.certificate, CURRENT.key));
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("{} is not usable PEM: {error}", CURRENT.certificate))?;
    // What the reader says of a key may quote it.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| format!("{} is not usable PEM", CURRENT.key))?;
    certified(chain, key).map_err(|error| error.to_string())
}
