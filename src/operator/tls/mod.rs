//! TLS of the operator's servers: a certificate that is replaced while connections go on.

mod files;
mod listener;

pub(crate) use files::{RELOAD, load, reload};
pub(crate) use listener::listen;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

/// Certificate in use, which later handshakes present; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Current(Arc<RwLock<Arc<CertifiedKey>>>);

impl Current {
    /// Certificate in use from now on.
    pub(crate) fn new(key: CertifiedKey) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(key))))
    }

    /// Replaces the certificate; connections that are open stay so.
    pub(crate) fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }

    /// Acceptor of connections of HTTP/1.1 that presents it.
    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Key of a server, checked to be that of the certificate.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> io::Result<CertifiedKey> {
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(io::Error::other)
}
