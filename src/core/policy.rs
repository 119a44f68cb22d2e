//! What one trust domain accepts: plain data, chosen by the operator, never by the card.
//! Defaults are the strict ones; every loosening is a field that somebody has to set.

use super::canon::ProfileSet;
use super::encoding::{Digest, sha256};
use super::json::Numbers;
use super::jws::{AlgorithmSet, PublicKey};
use super::limits;
use super::spiffe::{SpiffeId, TrustDomain};
use super::time::Seconds;
use super::x509::ChainPolicy;
use std::collections::{BTreeMap, BTreeSet};

/// The acceptance rules of one trust domain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// The trust domain that signers must belong to.
    pub trust_domain: TrustDomain,
    /// Canonical forms that may be tried (rule 49).
    pub profiles: ProfileSet,
    /// How numbers in cards are read (rule 8).
    pub numbers: Numbers,
    /// Algorithms that may sign (rule 13).
    pub algorithms: AlgorithmSet,
    /// What happens to security members that no signature covers (rules 47 and 48).
    pub coverage: Coverage,
    /// When a card is fresh (rule 57).
    pub freshness: Freshness,
    /// Time rules for certificates (rule 38).
    pub chain: ChainPolicy,
    /// False tolerates signatures without `kid` (rule 25).
    pub require_key_id: bool,
    /// Identities, keys and cards that are refused whatever they can prove (rule 58).
    pub deny: DenyList,
    /// How many and whose signatures are asked for (rule 54).
    pub signers: SignerRule,
    /// Keys that the operator trusts without a certificate, by key ID (rule 27).
    pub pinned_keys: BTreeMap<String, PinnedKey>,
    /// Signature checks that one card may cost, in the unit of [`limits::cost`] (rule 40).
    pub budget: u32,
}

/// A key that the operator vouches for.
#[derive(Clone, Debug)]
pub struct PinnedKey {
    /// The public key.
    pub key: PublicKey,
    /// The workload that holds it.
    pub spiffe_id: SpiffeId,
}

/// What to do about members that decide about security and are not signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coverage {
    /// Refuse the card.
    #[default]
    Strict,
    /// Accept the signed part and list the rest.
    Report,
}

/// When a card is fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Its leaf certificate is valid now.
    #[default]
    Live,
    /// Its leaf is valid now, or this content was verified under a valid leaf, not longer ago than this.
    Witnessed {
        /// The longest time since the content was last known to be verified under a valid leaf.
        max_age: Seconds,
    },
}

/// Which signatures a card needs besides one by the expected workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignerRule {
    /// One good signature is enough; others are reported.
    #[default]
    AnyOf,
    /// Every signature on the card must be good.
    AllOf,
    /// This many different identities must have signed.
    Threshold(usize),
    /// Each of these identities must have signed.
    Named(BTreeSet<SpiffeId>),
}

/// What is refused whatever it can prove; effective at once, because it is part of [`Policy::fingerprint`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DenyList {
    /// SPIFFE IDs of workloads.
    pub spiffe_ids: BTreeSet<SpiffeId>,
    /// Subject key identifiers of leaves or issuers.
    pub key_identifiers: BTreeSet<Vec<u8>>,
    /// SHA-256 of the leaf's SubjectPublicKeyInfo.
    pub public_keys: BTreeSet<Digest>,
    /// SHA-256 of received cards.
    pub cards: BTreeSet<Digest>,
}

impl Policy {
    /// The strict defaults for a trust domain.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            profiles: ProfileSet::DEFAULT,
            numbers: Numbers::Strict,
            algorithms: AlgorithmSet::DEFAULT,
            coverage: Coverage::Strict,
            freshness: Freshness::Live,
            chain: ChainPolicy::default(),
            require_key_id: true,
            deny: DenyList::default(),
            signers: SignerRule::AnyOf,
            pinned_keys: BTreeMap::new(),
            budget: limits::BUDGET,
        }
    }

    /// A digest of everything in this policy: while it is the same, a verdict can be repeated (rule 59).
    ///
    /// Taken over the derived `Debug` form, which lists every field, so that a new one cannot be forgotten.
    pub fn fingerprint(&self) -> Digest {
        sha256(format!("{self:?}").as_bytes())
    }
}
