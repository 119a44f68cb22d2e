//! TLS server: TLS 1.3 with our SVID, and a required client certificate that proves an admitted SPIFFE ID.

use super::signatures::{Signatures, chain};
use crate::identity::{Snapshot, VerifiedPeer, WorkloadIdentity};
use crate::peers::PeerPolicy;
use countersign_core::encoding::sha256;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme, version::TLS13,
};
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

/// Terminator of mTLS for one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Terminator {
    provider: Arc<CryptoProvider>,
    gate: Gate,
}

/// Verification of client certificates: chain, then policy.
#[derive(Clone, Debug)]
struct Gate {
    identity: WorkloadIdentity,
    /// `None` stands for the own trust domain.
    allowed: Option<Arc<PeerPolicy>>,
}

impl Gate {
    fn verify(&self, chain: &[Vec<u8>], at: Timestamp) -> Result<VerifiedPeer, Refusal> {
        let current = self.current()?;
        let peer = current.verify(chain, at)?;
        self.admit(&peer.id, current.id()).map(|()| peer)
    }

    fn verify_again(&self, peer: &VerifiedPeer, at: Timestamp) -> Result<(), Refusal> {
        let current = self.current()?;
        current.verify_again(peer, at)?;
        self.admit(&peer.id, current.id())
    }

    fn current(&self) -> Result<Arc<Snapshot>, Refusal> {
        let none = || Refusal::new(Reason::TrustDomainUnknown, "there is no identity yet");
        self.identity.current().ok_or_else(none)
    }

    fn admit(&self, peer: &SpiffeId, own: &SpiffeId) -> Result<(), Refusal> {
        if self.admits(peer, own) {
            return Ok(());
        }
        let found = format!("{peer} is not one of the peers that may connect");
        Err(Refusal::new(Reason::PeerIdentityMismatch, found))
    }

    fn admits(&self, peer: &SpiffeId, own: &SpiffeId) -> bool {
        match &self.allowed {
            Some(allowed) => allowed.admits(peer),
            None => peer.has_path() && peer.trust_domain() == own.trust_domain(),
        }
    }
}

impl Terminator {
    /// A terminator for connections of `allowed` peers; `None` admits every workload of the own trust domain, and no
    /// federated one.
    pub(crate) fn new(identity: &WorkloadIdentity, allowed: Option<PeerPolicy>) -> Result<Self, Error> {
        let gate = Gate { identity: identity.clone(), allowed: allowed.map(Arc::new) };
        let terminator = Self { provider: Arc::new(ring::default_provider()), gate };
        // Whatever a handshake could not be configured with is known at the start.
        terminator.config(&Arc::default()).map(|_| terminator)
    }

    /// Configuration of one handshake, whose verifier leaves the peer in `proven`.
    fn config(&self, proven: &Arc<OnceLock<VerifiedPeer>>) -> Result<ServerConfig, Error> {
        let verifier = ClientVerifier {
            gate: self.gate.clone(),
            signatures: Signatures::new(&self.provider),
            proven: Arc::clone(proven),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(ServerSvidResolver(self.gate.identity.clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session carries no certificate, so a client that is no longer admitted would be accepted once more.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// Reads the first message of a client. Nothing is made for its handshake before that is whole.
    pub(crate) async fn hello<T>(stream: T) -> io::Result<StartHandshake<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        LazyConfigAcceptor::new(Acceptor::default(), stream).await
    }

    /// Performs the rest of the handshake, and returns the stream with the verified peer. Its chain is verified once, where
    /// rustls asks for that, and the handshake then proves that the peer has the key.
    pub(crate) async fn accept<T>(&self, hello: StartHandshake<T>) -> io::Result<(TlsStream<T>, VerifiedPeer)>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let proven = Arc::default();
        let config = self.config(&proven).map_err(io::Error::other)?;
        let stream = hello.into_stream(Arc::new(config)).await?;
        let peer = proven.get().cloned();
        let peer = peer.ok_or_else(|| io::Error::other("the client showed no certificate"))?;
        Ok((stream, peer))
    }

    /// True if the policy admits a peer whose certificate another proxy has verified.
    pub(crate) fn admits(&self, peer: &SpiffeId) -> bool {
        self.gate.identity.current().is_some_and(|current| self.gate.admits(peer, current.id()))
    }

    /// Verifies a connected peer again, under the current bundles and policy, as of `at`.
    pub(crate) fn verify_again(&self, peer: &VerifiedPeer, at: Timestamp) -> Result<(), Refusal> {
        self.gate.verify_again(peer, at)
    }
}

#[derive(Debug)]
struct ServerSvidResolver(WorkloadIdentity);

impl ResolvesServerCert for ServerSvidResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.current().map(|current| current.own())
    }
}

#[derive(Debug)]
struct ClientVerifier {
    gate: Gate,
    signatures: Signatures,
    proven: Arc<OnceLock<VerifiedPeer>>,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let peer = self.gate.verify(&chain(leaf, issuers), now()).map_err(|refusal| {
            tracing::debug!(leaf = %sha256(leaf), "a client was refused: {refusal}");
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
        })?;
        match self.proven.set(peer) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(Error::General("a client showed its certificate twice".to_owned())),
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
