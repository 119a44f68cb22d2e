//! One state of the identity: our own SVID and the bundles of all trust domains that we know.
//! It judges peers by the core's rules for chains.

use countersign_core::bundle::{BundleSet, parse_bundle};
use countersign_core::encoding::Digest;
use countersign_core::limits::Budget;
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

/// What a source delivers: never half of it.
#[derive(Debug)]
pub(crate) struct Material {
    /// Our own SVID.
    pub(crate) svid: WorkloadSvid,
    /// The bundles of our own and of federated trust domains.
    pub(crate) bundles: Vec<DomainBundle>,
}

/// One state of the identity.
pub(crate) struct Snapshot {
    own: Arc<CertifiedKey>,
    id: SpiffeId,
    not_after: Timestamp,
    bundles: BundleSet,
    fingerprint: Digest,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({}, until {})", self.id, self.not_after)
    }
}

/// Somebody who proved a SPIFFE ID in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedPeer {
    /// Who.
    pub(crate) id: SpiffeId,
    /// SHA-256 of the certificate shown.
    pub(crate) leaf_sha256: Digest,
    /// Until when the chain is valid.
    pub(crate) valid_until: Timestamp,
    /// What was shown, to be judged again.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Snapshot {
    /// Takes over what a source delivered. Our own SVID has to be genuine by our own bundle, or nobody would accept
    /// it; a bundle of another domain that cannot be read leaves that domain unknown.
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
        };
        snapshot.verify(&svid.chain, now)?;
        Ok(snapshot)
    }

    /// Our own certificate and key.
    pub(crate) fn own(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.own)
    }

    /// Who we are.
    pub(crate) const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The last second of our SVID.
    pub(crate) const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Tells two states apart.
    pub(crate) const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// Verifies what somebody shows, under the bundle of the trust domain that it names.
    pub(crate) fn verify(&self, chain: &[Vec<u8>], now: Timestamp) -> Result<VerifiedPeer, Refusal> {
        let leaf = chain
            .first()
            .ok_or_else(|| Refusal::new(Reason::ChainEncoding, "the peer showed no certificate"))?;
        // Only the name of the bundle is taken from what is not verified yet; the chain must then prove it.
        let domain = leaf_facts(leaf)?.spiffe_id.trust_domain().clone();
        let bundle = self.bundles.get(&domain)?;
        let moments = Moments::live(now);
        let proven =
            verify_chain(chain, &domain, bundle, &ChainPolicy::default(), moments, &mut Budget::default())?;
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
