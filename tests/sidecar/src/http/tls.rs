//! TLS as a workload speaks it: the server is judged by its chain, for SVIDs carry no host name.
//! Which name or identity the server has is for the test to look at.

use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

/// What a client trusts and shows.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// The settings, for clients of another kind.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    /// Trusts the certificates in the PEM file `roots`, and shows no certificate.
    pub fn trusting(roots: &Path) -> Result<Self> {
        Self::build(roots, None)
    }

    /// Trusts the certificates in `roots`, and shows the chain in `chain`, whose key is in `key`.
    pub fn with_certificate(roots: &Path, chain: &Path, key: &Path) -> Result<Self> {
        Self::build(roots, Some((chain, key)))
    }

    fn build(roots: &Path, own: Option<(&Path, &Path)>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut store = RootCertStore::empty();
        for root in certificates(roots)? {
            store.add(root)?;
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
        let verifier = Arc::new(ByChain(chain.build()?));
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        Ok(Self(Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("{} holds no key", key.display()))?;
                builder.with_client_auth_cert(certificates(chain)?, key)?
            }
        })))
    }

    pub(crate) fn session(&self) -> Result<ClientConnection> {
        let nobody = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        Ok(ClientConnection::new(Arc::clone(&self.0), nobody)?)
    }
}

/// The certificates in a PEM file, in order.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.with_context(|| format!("{} holds no certificates", file.display()))
}

/// Accepts what chains to a root, whatever name it is for.
#[derive(Debug)]
struct ByChain(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for ByChain {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end, between, name, ocsp, now) {
            // The name is looked at last: everything else was right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
