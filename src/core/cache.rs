//! Verdicts of unchanged cards, repeated without verifying again (rule 59).
//! Plain data with a fixed size; whatever the verification depended on is part of the key.

use super::encoding::Digest;
use super::limits::{CACHE_FAILURE_SECONDS, CACHE_VERDICTS};
use super::spiffe::SpiffeId;
use super::time::{Seconds, Timestamp};
use super::verify::{Rejection, SignedCard};
use std::collections::{BTreeMap, VecDeque};

/// Everything that a verification depends on, besides time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey {
    /// SHA-256 of the received bytes.
    pub card: Digest,
    /// The identity that must have signed.
    pub expected: Option<SpiffeId>,
    /// [`super::bundle::Bundle::fingerprint`]: the set of anchors.
    pub bundle: Digest,
    /// [`super::policy::Policy::fingerprint`].
    pub policy: Digest,
}

/// The result of a verification.
pub type Verification = Result<SignedCard, Box<Rejection>>;

/// A bounded memory of verifications.
#[derive(Debug, Default)]
pub struct VerdictCache {
    entries: BTreeMap<CacheKey, Entry>,
    /// Keys by age; the oldest makes room.
    ages: VecDeque<CacheKey>,
}

#[derive(Debug)]
struct Entry {
    verification: Verification,
    stored: Timestamp,
    expires: Timestamp,
}

impl VerdictCache {
    /// An empty cache.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), ages: VecDeque::new() }
    }

    /// What was found for this key, while it still counts. A clock that went backwards counts as expired.
    pub fn get(&self, key: &CacheKey, now: Timestamp) -> Option<&Verification> {
        let entry = self.entries.get(key)?;
        (entry.stored <= now && now < entry.expires).then_some(&entry.verification)
    }

    /// Keeps a verification made at `now`: a proof until the first of its certificates or the bundle ends,
    /// a failure for a short while.
    pub fn insert(
        &mut self,
        key: CacheKey,
        verification: Verification,
        now: Timestamp,
        bundle_expires: Timestamp,
    ) -> &Verification {
        let expires = match &verification {
            Ok(signed) => signed.valid_until(),
            Err(_) => now.plus(Seconds::new(CACHE_FAILURE_SECONDS)),
        };
        if !self.entries.contains_key(&key) {
            while self.entries.len() >= CACHE_VERDICTS {
                let Some(oldest) = self.ages.pop_front() else { break };
                self.entries.remove(&oldest);
            }
            self.ages.push_back(key.clone());
        }
        let entry = Entry { verification, stored: now, expires: expires.min(bundle_expires) };
        &self.entries.entry(key).insert_entry(entry).into_mut().verification
    }

    /// How many verifications are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
