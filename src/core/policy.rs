//! The acceptance policy of one trust domain: plain data that the administrator chooses, never the card.
//! Every default is the strict choice; each loosening is a field that somebody has to set.

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
    /// The trust domain that every signer must belong to.
    pub trust_domain: TrustDomain,
    /// Canonical forms that a signature may cover (rule 49).
    pub profiles: ProfileSet,
    /// Reading of numbers in cards (rule 8).
    pub numbers: Numbers,
    /// Algorithms that a signature may use (rule 13).
    pub algorithms: AlgorithmSet,
    /// Treatment of security members that no signature covers (rules 47 and 48).
    pub coverage: Coverage,
    /// Condition under which a card is fresh (rule 57).
    pub freshness: Freshness,
    /// Limits on the times of certificates (rule 38).
    pub chain: ChainPolicy,
    /// True refuses a signature without `kid` (rule 25).
    pub require_key_id: bool,
    /// Identities, keys and cards that are refused whatever proof they bring (rule 58).
    pub deny: DenyList,
    /// Signatures that a card needs besides one of the expected workload (rule 54).
    pub signers: SignerRule,
    /// Keys that are trusted without a certificate, by key ID (rule 27).
    pub pinned_keys: BTreeMap<String, PinnedKey>,
    /// Work that the signature checks of one card may cost, in the unit of [`limits::cost`] (rule 40).
    pub budget: u32,
}

/// A key that the administrator trusts without a certificate.
#[derive(Clone, Debug)]
pub struct PinnedKey {
    /// The trusted public key.
    pub key: PublicKey,
    /// The SPIFFE ID of the workload that holds the private key.
    pub spiffe_id: SpiffeId,
}

/// Treatment of members that decide about security and are not signed (rule 47).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coverage {
    /// Refuse the card.
    #[default]
    Strict,
    /// Accept the signed members and list the unsigned ones.
    Report,
}

/// Condition under which a card is fresh (rule 57).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// The leaf certificate is valid now.
    #[default]
    Live,
    /// The leaf is valid now, or this content was verified under a valid leaf at most `max_age` ago.
    Witnessed {
        /// Longest time since the content was last recorded as verified under a valid leaf.
        max_age: Seconds,
    },
}

/// Signatures that a card needs besides one of the expected workload (rule 54).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignerRule {
    /// One good signature is enough; the outcomes of the others are listed.
    #[default]
    AnyOf,
    /// Every signature on the card must be good.
    AllOf,
    /// At least this many different SPIFFE IDs must have signed.
    Threshold(usize),
    /// Each of these SPIFFE IDs must have signed.
    Named(BTreeSet<SpiffeId>),
}

/// Identities, keys and cards that are refused whatever proof they bring (rule 58). A change takes effect at once,
/// because [`Policy::fingerprint`] covers the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DenyList {
    /// SPIFFE IDs of workloads that may not sign.
    pub spiffe_ids: BTreeSet<SpiffeId>,
    /// Subject key identifiers of leaves or issuers.
    pub key_identifiers: BTreeSet<Vec<u8>>,
    /// SHA-256 of the SubjectPublicKeyInfo of leaves or pinned keys.
    pub public_keys: BTreeSet<Digest>,
    /// SHA-256 of cards: of their bytes as received, or of a canonical form, which no spelling evades.
    pub cards: BTreeSet<Digest>,
}

impl Policy {
    /// Makes a policy with the strict defaults.
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

    /// SHA-256 over every field of the policy: while the digest is unchanged, a verdict may be repeated (rule 59).
    ///
    /// The input is the derived `Debug` form, which lists every field, so that a new field cannot be forgotten.
    pub fn fingerprint(&self) -> Digest {
        sha256(format!("{self:?}").as_bytes())
    }
}
