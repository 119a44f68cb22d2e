//! SPIFFE mTLS as a client: presents our SVID and accepts a server of exactly one SPIFFE ID.
//! The core verifies the chain of the server; rustls runs the protocol and verifies the handshake signature.

use crate::clock::now;
use crate::fetch::{CardUrl, FetchLimits, Fetched, fetch_card_over};
use crate::workload_api::WorkloadSvid;
use countersign_core::budget::WorkBudget;
use countersign_core::bundle::Bundle;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::x509::{ChainPolicy, Moments, leaf_facts, verify_chain};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The SVID that this process presents in handshakes.
#[derive(Clone)]
pub struct ClientSvid {
    certified: Arc<SingleCertAndKey>,
    spiffe_id: SpiffeId,
    not_after: Timestamp,
}

impl fmt::Debug for ClientSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSvid({}, until {})", self.spiffe_id, self.not_after)
    }
}

impl ClientSvid {
    /// Prepares an SVID for handshakes; the error is one sentence.
    pub fn new(svid: &WorkloadSvid) -> Result<Self, String> {
        let leaf = svid.chain.first().ok_or("the operator's SVID has no certificate")?;
        let facts =
            leaf_facts(leaf).map_err(|refusal| format!("the operator's SVID is unusable: {refusal}"))?;
        let chain = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.key.to_vec()));
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("the operator's SVID is unusable: {error}"))?;
        Ok(Self {
            certified: Arc::new(certified.into()),
            spiffe_id: facts.spiffe_id,
            not_after: facts.not_after,
        })
    }

    /// The SPIFFE ID in the SVID.
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Last second of validity of the SVID.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// The server that must answer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The SPIFFE ID that the server must prove.
    pub spiffe_id: SpiffeId,
    /// The authorities of the server's trust domain.
    pub bundle: Arc<Bundle>,
    /// Limits on the times of the server's certificates.
    pub policy: ChainPolicy,
}

/// Fetches a card from a server that proves to be `peer`. Any other server is refused in the handshake, before a
/// request is sent.
pub async fn fetch_card_from(
    url: &CardUrl,
    limits: FetchLimits,
    own: &ClientSvid,
    peer: Peer,
) -> Result<Fetched, Refusal> {
    let verifier = Arc::new(PeerVerifier {
        peer,
        provider: Arc::new(ring::default_provider()),
        refused: Mutex::default(),
    });
    let tls = configure(own, &verifier).map_err(|error| {
        Refusal::new(Reason::FetchFailed, format!("TLS cannot be set up on this machine: {error}"))
    })?;
    let fetched = fetch_card_over(url, limits, tls).await;
    // TLS reports one alert for all reasons; the verifier's refusal says what is wrong with the server.
    fetched.map_err(|refusal| verifier.take_refusal().unwrap_or(refusal))
}

fn configure(own: &ClientSvid, verifier: &Arc<PeerVerifier>) -> Result<ClientConfig, Error> {
    let mut tls = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(own.certified.clone());
    // A resumed session skips certificate verification, so a removed authority would stay trusted.
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

/// A verifier of server certificates by the rules of the core, which keeps its last refusal for the caller.
#[derive(Debug)]
struct PeerVerifier {
    peer: Peer,
    provider: Arc<CryptoProvider>,
    refused: Mutex<Option<Refusal>>,
}

impl PeerVerifier {
    fn verify(&self, chain: &[Vec<u8>]) -> Result<(), Refusal> {
        let Peer { spiffe_id, bundle, policy } = &self.peer;
        let domain = spiffe_id.trust_domain();
        let moments = Moments::live(now());
        let proven = verify_chain(chain, domain, bundle, policy, moments, &mut WorkBudget::default())?;
        if proven.spiffe_id() == spiffe_id {
            return Ok(());
        }
        let found = format!("the server is {}, and {spiffe_id} was expected", proven.spiffe_id());
        Err(Refusal::new(Reason::PeerIdentityMismatch, found))
    }

    fn take_refusal(&self) -> Option<Refusal> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<Vec<u8>> = std::iter::once(leaf).chain(issuers).map(|der| der.to_vec()).collect();
        self.verify(&chain).map(|()| ServerCertVerified::assertion()).map_err(|refusal| {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal.clone());
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
