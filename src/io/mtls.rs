//! SPIFFE mTLS as a client: our own SVID out, and a server that must prove exactly one identity.
//! The chain rules are those of the core; rustls contributes the protocol and the signature of the handshake.

use crate::clock::now;
use crate::fetch::{CardUrl, FetchLimits, Fetched, fetch_card_over};
use crate::workload_api::WorkloadSvid;
use countersign_core::bundle::Bundle;
use countersign_core::limits::Budget;
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

/// Our own SVID, ready for handshakes.
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
    /// Makes an SVID ready; the error is one sentence.
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

    /// Whose it is.
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The last second of its validity.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Who must be at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its identity.
    pub spiffe_id: SpiffeId,
    /// The authorities of its trust domain.
    pub bundle: Arc<Bundle>,
    /// Time rules for its certificates.
    pub policy: ChainPolicy,
}

/// Fetches a card from a server that proves to be `peer`. A server that does not is refused in the handshake, before
/// it is asked for anything.
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
    // TLS has one word for all reasons; ours says what is wrong with the server.
    fetched.map_err(|refusal| verifier.take_refusal().unwrap_or(refusal))
}

fn configure(own: &ClientSvid, verifier: &Arc<PeerVerifier>) -> Result<ClientConfig, Error> {
    let mut tls = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(own.certified.clone());
    // A resumed session would not be judged again.
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

/// Judges the certificates of a server by the core's rules, and keeps the reason.
#[derive(Debug)]
struct PeerVerifier {
    peer: Peer,
    provider: Arc<CryptoProvider>,
    refused: Mutex<Option<Refusal>>,
}

impl PeerVerifier {
    fn judge(&self, chain: &[Vec<u8>]) -> Result<(), Refusal> {
        let Peer { spiffe_id, bundle, policy } = &self.peer;
        let domain = spiffe_id.trust_domain();
        let moments = Moments::live(now());
        let proven = verify_chain(chain, domain, bundle, policy, moments, &mut Budget::default())?;
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
        self.judge(&chain).map(|()| ServerCertVerified::assertion()).map_err(|refusal| {
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
