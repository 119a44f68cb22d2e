//! One state of the identity: our own SVID and the bundles of all known trust domains.
//! It verifies the chains of peers by the rules of the core.

use super::memo::Memo;
use countersign_core::budget::WorkBudget;
use countersign_core::bundle::{BundleSet, parse_bundle};
use countersign_core::encoding::Digest;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::time::Timestamp;
use countersign_core::x509::{ChainPolicy, Moments, leaf_facts, verify_chain};
use countersign_io::workload_api::{DomainBundle, WorkloadSvid};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// SVID and bundles as a source delivers them, always together.
#[derive(Debug)]
pub(crate) struct Material {
    /// Our own SVID.
    pub(crate) svid: WorkloadSvid,
    /// The bundles of our own and of federated trust domains.
    pub(crate) bundles: Vec<DomainBundle>,
}

/// Verified state of the identity; what it accepts never changes.
pub(crate) struct Snapshot {
    own: Arc<CertifiedKey>,
    id: SpiffeId,
    not_after: Timestamp,
    bundles: BundleSet,
    fingerprint: Digest,
    again: Memo,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({}, until {})", self.id, self.not_after)
    }
}

/// Peer that proved a SPIFFE ID in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedPeer {
    /// SPIFFE ID of the peer.
    pub(crate) id: SpiffeId,
    /// SHA-256 of the leaf certificate, to which tokens can be bound (RFC 8705 §3).
    pub(crate) leaf_sha256: Digest,
    /// Last second in which every certificate of the chain is valid.
    pub(crate) valid_until: Timestamp,
    /// Chain as the peer sent it, to verify it again under later bundles.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Snapshot {
    /// Verifies what a source delivered. Our own SVID must chain to our own bundle, or no peer would accept it. A
    /// malformed bundle of another domain leaves only that domain unknown.
    pub(crate) fn new(material: &Material, now: Timestamp) -> Result<Self, Refusal> {
        let Material { svid, bundles } = material;
        let leaf = svid.chain.first().ok_or_else(|| unusable("it has no certificate"))?;
        let facts = leaf_facts(leaf)?;
        let (mut set, mut hasher) = (BundleSet::new(), countersign_core::encoding::Sha256::new());
        for bundle in bundles {
            let domain = TrustDomain::parse(&bundle.trust_domain)?;
            match parse_bundle(&domain, bundle.document()) {
                Ok(parsed) => {
                    hasher.update(parsed.fingerprint().as_bytes());
                    set.insert(parsed)?;
                }
                Err(refusal) if domain == *facts.spiffe_id.trust_domain() => return Err(refusal),
                Err(refusal) => {
                    tracing::warn!(trust_domain = %domain, "a federated bundle is not usable: {refusal}");
                }
            }
        }
        for certificate in &svid.chain {
            hasher.update(certificate);
        }
        let chain = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.key.to_vec()));
        let own = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| unusable(&error.to_string()))?;
        let snapshot = Self {
            own: Arc::new(own),
            id: facts.spiffe_id,
            not_after: facts.not_after,
            bundles: set,
            fingerprint: hasher.finish(),
            again: Memo::default(),
        };
        snapshot.verify(&svid.chain, now)?;
        Ok(snapshot)
    }

    /// Our own certificate and key.
    pub(crate) fn own(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.own)
    }

    /// SPIFFE ID of this workload.
    pub(crate) const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The last second of our SVID.
    pub(crate) const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Digest of certificates and bundles: equal for states that accept the same peers and show the same SVID.
    pub(crate) const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// Verifies a connected peer again, as of `at`: once for all its connections, until its chain ends.
    pub(crate) fn verify_again(&self, peer: &VerifiedPeer, at: Timestamp) -> Result<(), Refusal> {
        self.again.get_or(&peer.chain, at, || Ok(self.verify(&peer.chain, at)?.valid_until))
    }

    /// Verifies the chain of a peer under the bundle of the trust domain that its leaf names.
    pub(crate) fn verify(&self, chain: &[Vec<u8>], now: Timestamp) -> Result<VerifiedPeer, Refusal> {
        let leaf = chain
            .first()
            .ok_or_else(|| Refusal::new(Reason::ChainEncoding, "the peer showed no certificate"))?;
        // The unverified leaf only selects the bundle. `verify_chain` then requires that the chain ends there and that
        // the ID is in that domain, so a federated authority cannot issue IDs of another domain.
        let domain = leaf_facts(leaf)?.spiffe_id.trust_domain().clone();
        let bundle = self.bundles.get(&domain)?;
        let moments = Moments::live(now);
        let proven = verify_chain(
            chain,
            &domain,
            bundle,
            &ChainPolicy::default(),
            moments,
            &mut WorkBudget::default(),
        )?;
        Ok(VerifiedPeer {
            id: proven.spiffe_id().clone(),
            leaf_sha256: proven.leaf_sha256(),
            valid_until: proven.valid_until(),
            chain: chain.to_vec(),
        })
    }
}

fn unusable(why: &str) -> Refusal {
    Refusal::new(Reason::ChainEncoding, format!("our own SVID is not usable: {why}"))
}
