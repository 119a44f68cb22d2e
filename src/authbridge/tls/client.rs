//! TLS client: mTLS to a server that proves an expected SPIFFE ID, or TLS to a server by the roots of this machine.

use super::signatures::{Signatures, chain};
use crate::identity::{VerifiedPeer, WorkloadIdentity};
use crate::peers::PeerPolicy;
use countersign_core::refusal::{Reason, Refusal};
use countersign_io::clock::now;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::{Arc, OnceLock};
use tokio_rustls::TlsConnector;

/// Makes a connector for mTLS 1.3 to a server that `expected` admits. The host name is not checked, because SVIDs carry
/// SPIFFE IDs and no DNS names; the policy takes its part.
///
/// The verified server is left in `proven`.
pub(crate) fn mtls_client(
    identity: &WorkloadIdentity,
    expected: PeerPolicy,
    proven: &Arc<OnceLock<VerifiedPeer>>,
) -> Result<TlsConnector, Error> {
    let provider = Arc::new(ring::default_provider());
    let signatures = Signatures::new(&provider);
    let verifier =
        ServerVerifier { identity: identity.clone(), expected, signatures, proven: Arc::clone(proven) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(ClientSvidResolver(identity.clone())));
    // A resumed session carries no certificate, so a server that is no longer trusted would be accepted once more.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes a connector for TLS to a server whose certificate this machine trusts.
pub(crate) fn system_client() -> Result<TlsConnector, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
struct ClientSvidResolver(WorkloadIdentity);

impl ResolvesClientCert for ClientSvidResolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.current().map(|current| current.own())
    }

    fn has_certs(&self) -> bool {
        self.0.current().is_some()
    }
}

#[derive(Debug)]
struct ServerVerifier {
    identity: WorkloadIdentity,
    expected: PeerPolicy,
    signatures: Signatures,
    proven: Arc<OnceLock<VerifiedPeer>>,
}

impl ServerVerifier {
    fn verify(&self, chain: &[Vec<u8>]) -> Result<VerifiedPeer, Refusal> {
        let current = self.identity.current();
        let current =
            current.ok_or_else(|| Refusal::new(Reason::TrustDomainUnknown, "there is no identity yet"))?;
        let server = current.verify(chain, now())?;
        if self.expected.admits(&server.id) {
            return Ok(server);
        }
        let found = format!("the server is {}, which is not expected there", server.id);
        Err(Refusal::new(Reason::PeerIdentityMismatch, found))
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let server = self.verify(&chain(leaf, issuers)).map_err(|refusal| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
        })?;
        match self.proven.set(server) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(Error::General("a server showed its certificate twice".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls12(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}
