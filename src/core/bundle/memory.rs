//! What is remembered about a trust domain's bundle between refreshes, and what a new one may change (rules 44, 45).
//! Plain data: whoever stores it decides how.

use super::Bundle;
use crate::encoding::Digest;
use crate::limits::{
    BUNDLE_MISSED_REFRESHES, BUNDLE_REFRESH_DEFAULT, BUNDLE_REFRESH_MAX, BUNDLE_REFRESH_MIN,
};
use crate::refusal::{Reason, Refusal};
use crate::time::{Seconds, Timestamp};

/// What to remember about the last accepted bundle of one trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BundleMemory {
    /// The highest `spiffe_sequence` accepted.
    pub sequence: Option<u64>,
    /// The set of authorities accepted.
    pub fingerprint: Digest,
    /// When a source last delivered an acceptable bundle, changed or not.
    pub refreshed: Timestamp,
    /// How often to refresh: the published hint within [1 min, 1 h], 5 min without one.
    pub refresh_every: Seconds,
}

/// A bundle that may be used, and what to remember about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedBundle {
    /// The bundle.
    pub bundle: Bundle,
    /// Replaces the previous memory.
    pub memory: BundleMemory,
    /// True when the set of authorities is another one than before; only then stored verdicts are judged again.
    pub authorities_changed: bool,
}

/// How fresh the last good bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleFreshness {
    /// Refreshed in time.
    Fresh,
    /// This many refreshes were missed; three or more deserve a warning.
    Late {
        /// Refreshes missed since the last good one.
        missed: u32,
    },
}

/// What to do with the last good bundle when the source delivered something that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackAfter {
    /// The domain revoked its keys: forget the last good bundle and refuse everything (SPIFFE Trust Domain and
    /// Bundle §4.1.3).
    Revoked,
    /// Keep the last good bundle for as long as it counts as fresh.
    KeepLastGood,
}

/// Decides whether `new` may follow what was accepted before.
///
/// `BundleRollback` when its sequence is lower, or when it has none and the one before had. `accept_rollback` is
/// the operator's word that the sequence was reset on purpose.
pub fn accept_bundle(
    previous: Option<&BundleMemory>,
    new: Bundle,
    now: Timestamp,
    accept_rollback: bool,
) -> Result<AcceptedBundle, Refusal> {
    if let Some(last) = previous.and_then(|memory| memory.sequence).filter(|_| !accept_rollback) {
        let problem = match new.sequence() {
            Some(sequence) if sequence >= last => None,
            Some(sequence) => Some(format!("has sequence {sequence}, after {last} was accepted")),
            None => Some(format!("has no sequence, after {last} was accepted")),
        };
        if let Some(problem) = problem {
            let message = format!("the bundle of {} {problem}", new.trust_domain());
            return Err(Refusal::new(Reason::BundleRollback, message));
        }
    }
    let memory = BundleMemory {
        sequence: new.sequence(),
        fingerprint: new.fingerprint(),
        refreshed: now,
        refresh_every: new
            .refresh_hint()
            .unwrap_or(BUNDLE_REFRESH_DEFAULT)
            .clamp(BUNDLE_REFRESH_MIN, BUNDLE_REFRESH_MAX),
    };
    let authorities_changed = previous.is_none_or(|memory| memory.fingerprint != new.fingerprint());
    Ok(AcceptedBundle { bundle: new, memory, authorities_changed })
}

impl BundleMemory {
    /// What to remember after the domain revoked its keys: the bundle that was good before must not come back.
    #[must_use]
    pub fn after_revocation(self) -> Self {
        Self { sequence: self.sequence.map(|sequence| sequence.saturating_add(1)), ..self }
    }

    /// How fresh the bundle is at `now`, or `BundleStale` when it was not refreshed for more than `limit`.
    ///
    /// A clock that was set back does not make a bundle stale.
    pub fn freshness(&self, now: Timestamp, limit: Seconds) -> Result<BundleFreshness, Refusal> {
        let age = now.since(self.refreshed);
        if age > i64::from(limit.get()) {
            let message = format!("the bundle was last refreshed at {}, {age} seconds ago", self.refreshed);
            return Err(Refusal::new(Reason::BundleStale, message));
        }
        let missed = age.max(0).checked_div(i64::from(self.refresh_every.get())).unwrap_or(0);
        Ok(match u32::try_from(missed).unwrap_or(u32::MAX) {
            0 => BundleFreshness::Fresh,
            missed => BundleFreshness::Late { missed },
        })
    }
}

impl BundleFreshness {
    /// True from the third missed refresh on.
    pub const fn deserves_warning(self) -> bool {
        matches!(self, Self::Late { missed: BUNDLE_MISSED_REFRESHES.. })
    }
}

impl FallbackAfter {
    /// An empty bundle revokes; everything else that is refused may be an accident or an attack.
    pub fn refusal(refusal: &Refusal) -> Self {
        match refusal.reason() {
            Reason::BundleEmpty => Self::Revoked,
            _ => Self::KeepLastGood,
        }
    }
}
