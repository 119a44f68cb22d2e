//! The proof that a chain is genuine, and the check of its times (rule 38).
//! A [`ChainProof`] does not depend on time; a [`VerifiedChain`] is one whose times were checked.

use super::anchor::Anchor;
use super::certificate::Validity;
use crate::encoding::Digest;
use crate::jws::PublicKey;
use crate::refusal::{Reason, Refusal};
use crate::spiffe::SpiffeId;
use crate::time::{InUnits, Seconds, Timestamp};
use std::sync::Arc;

/// Limits on the times of certificates, as an administrator may set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ChainPolicy {
    /// Longest lifetime of a leaf, from its first to its last second of validity; `None` for no limit.
    pub max_svid_lifetime: Option<Seconds>,
    /// Time by which an issuer may date a leaf back, beyond its longest lifetime. SPIRE dates back by 10 s, Istio by 2 min.
    pub backdating: Seconds,
    /// Largest tolerated difference between the clocks of issuer and verifier.
    pub skew: Seconds,
}

impl Default for ChainPolicy {
    /// A lifetime of 24 hours, dated back by 2 minutes at most, and a skew of 60 seconds.
    fn default() -> Self {
        Self {
            max_svid_lifetime: Some(Seconds::new(86_400)),
            backdating: Seconds::new(120),
            skew: Seconds::new(60),
        }
    }
}

/// The times at which a chain must be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moments {
    /// The present, at which the anchor must be valid.
    pub now: Timestamp,
    /// The time at which leaf, intermediates and anchor must be valid. Under `witnessed` freshness this is the end of
    /// an expired leaf (rule 57).
    pub leaf_at: Timestamp,
}

impl Moments {
    /// Makes the times of a check at `now` alone.
    pub const fn live(now: Timestamp) -> Self {
        Self { now, leaf_at: now }
    }
}

/// An intermediate certificate of a proven chain.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) validity: Validity,
    pub(crate) key_id: Option<Box<[u8]>>,
}

/// The facts of a genuine chain that do not depend on time.
#[derive(Clone, Debug)]
pub(crate) struct ChainProof {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) leaf_sha256: Digest,
    pub(crate) leaf_key: PublicKey,
    pub(crate) leaf_validity: Validity,
    pub(crate) subject_key_id: Option<Box<[u8]>>,
    pub(crate) issuers: Vec<Issuer>,
    /// The authority that signed the top of the chain, once for each of its certificates in the bundle.
    pub(crate) anchors: Vec<Arc<Anchor>>,
}

impl ChainProof {
    /// Last second in which the leaf and all intermediates are valid.
    pub(crate) fn not_after(&self) -> Timestamp {
        let issuers = self.issuers.iter().map(|issuer| issuer.validity.not_after);
        issuers.fold(self.leaf_validity.not_after, Timestamp::min)
    }
}

/// Proof that a chain is genuine and valid, and so that its leaf key belongs to a SPIFFE ID.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    proof: Arc<ChainProof>,
    anchor: Arc<Anchor>,
    valid_until: Timestamp,
}

impl VerifiedChain {
    /// Checks the times of a proven chain: validity of each certificate, then the lifetime of the leaf (rule 38).
    pub(crate) fn check_times(
        proof: Arc<ChainProof>,
        policy: &ChainPolicy,
        at: Moments,
    ) -> Result<Self, Refusal> {
        let leaf = proof.leaf_validity;
        let mut valid_until = leaf.not_after;
        for (position, validity) in
            std::iter::once(leaf).chain(proof.issuers.iter().map(|issuer| issuer.validity)).enumerate()
        {
            check_validity(position, validity, policy.skew, at.leaf_at)?;
            valid_until = valid_until.min(validity.not_after);
        }
        let anchor = select_valid_anchor(&proof.anchors, policy.skew, at)?;
        valid_until = valid_until.min(anchor.not_after());
        if let Some(limit) = policy.max_svid_lifetime
            && leaf.not_after > leaf.not_before.plus(limit).plus(policy.backdating)
        {
            let lifetime = InUnits(leaf.not_after.since(leaf.not_before));
            let (limit, backdating) = (InUnits::of(limit), InUnits::of(policy.backdating));
            let message = format!(
                "the leaf lives for {lifetime}, the limit is {limit} and {backdating} for dating back"
            );
            return Err(Refusal::new(Reason::SvidLifetime, message));
        }
        Ok(Self { proof, anchor, valid_until })
    }

    /// The SPIFFE ID of the signer: that of a workload in the expected trust domain.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.proof.spiffe_id
    }

    /// The key of the leaf that was verified, the only key that may check the signature (rule 32).
    pub fn leaf_key(&self) -> &PublicKey {
        &self.proof.leaf_key
    }

    /// SHA-256 of the DER leaf certificate.
    pub fn leaf_sha256(&self) -> Digest {
        self.proof.leaf_sha256
    }

    /// First second of validity of the leaf (`notBefore`).
    pub fn not_before(&self) -> Timestamp {
        self.proof.leaf_validity.not_before
    }

    /// Last second of validity of the leaf (`notAfter`).
    pub fn not_after(&self) -> Timestamp {
        self.proof.leaf_validity.not_after
    }

    /// Last second in which leaf, intermediates and anchor are all valid.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// The subject key identifier of the leaf, if present.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.proof.subject_key_id.as_deref()
    }

    /// The subject key identifiers of intermediates and anchor, as far as they have one.
    pub fn issuer_key_ids(&self) -> impl Iterator<Item = &[u8]> {
        let intermediates = self.proof.issuers.iter().filter_map(|issuer| issuer.key_id.as_deref());
        intermediates.chain(self.anchor.subject_key_id())
    }

    /// SHA-256 of the DER certificate of the anchor.
    pub fn anchor_sha256(&self) -> Digest {
        self.anchor.sha256()
    }
}

fn check_validity(position: usize, validity: Validity, skew: Seconds, at: Timestamp) -> Result<(), Refusal> {
    if at.plus(skew) < validity.not_before {
        let message = format!("certificate {position} is valid from {}, judged at {at}", validity.not_before);
        return Err(Refusal::new(Reason::CertificateNotYetValid, message));
    }
    if at.minus(skew) > validity.not_after {
        let message =
            format!("certificate {position} was valid until {}, judged at {at}", validity.not_after);
        return Err(Refusal::new(Reason::CertificateExpired, message));
    }
    Ok(())
}

/// The anchor that is valid at both times; of several, the one that ends last.
fn select_valid_anchor(anchors: &[Arc<Anchor>], skew: Seconds, at: Moments) -> Result<Arc<Anchor>, Refusal> {
    let covers = |anchor: &&Arc<Anchor>| {
        [at.now, at.leaf_at]
            .into_iter()
            .all(|moment| check_validity(0, anchor.validity(), skew, moment).is_ok())
    };
    let valid = anchors.iter().filter(covers).max_by_key(|anchor| anchor.not_after());
    valid.map(Arc::clone).ok_or_else(|| {
        let span = |anchor: &Arc<Anchor>| format!("from {} to {}", anchor.not_before(), anchor.not_after());
        let spans: Vec<_> = anchors.iter().map(span).collect();
        let message = format!("the authority is valid {}, judged at {}", spans.join(" and "), at.now);
        Refusal::new(Reason::AnchorNotValid, message)
    })
}
