//! The memory of a trust domain's bundle between refreshes, and the changes that a new bundle may bring (rules 44, 45).
//! The memory is plain data; its owner decides how to store it.

use super::Bundle;
use crate::encoding::Digest;
use crate::limits::{BUNDLE_REFRESH_DEFAULT, BUNDLE_REFRESH_MAX, BUNDLE_REFRESH_MIN};
use crate::refusal::{Reason, Refusal};
use crate::time::{Seconds, Timestamp};

/// Facts about the last accepted bundle of one trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BundleMemory {
    /// The highest accepted `spiffe_sequence`; a lower one is a rollback.
    pub sequence: Option<u64>,
    /// The fingerprint of the accepted set of authorities.
    pub fingerprint: Digest,
    /// Time at which the source last delivered an acceptable bundle, changed or not.
    pub refreshed: Timestamp,
    /// Refresh interval: the published hint, clamped to 1 min to 1 h; 5 min without a hint.
    pub refresh_every: Seconds,
}

/// A bundle that may be used, and the memory of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedBundle {
    /// The accepted bundle.
    pub bundle: Bundle,
    /// The memory that replaces the previous one.
    pub memory: BundleMemory,
    /// True if the set of authorities differs from the previous one; only then must stored verdicts be evaluated again.
    pub authorities_changed: bool,
}

/// The age of the last good bundle, in refresh intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleFreshness {
    /// No refresh was missed.
    Fresh,
    /// One or more refreshes were missed.
    Late {
        /// Refreshes missed since the last good refresh.
        missed: u32,
    },
}

/// Treatment of the last good bundle after the source delivered a document that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackAfter {
    /// The trust domain revoked its keys: forget the last good bundle and refuse every card (SPIFFE Trust Domain and
    /// Bundle §4.1.3).
    Revoked,
    /// Keep the last good bundle until [`BundleMemory::freshness`] refuses its age.
    KeepLastGood,
}

/// Accepts `new` as the successor of the bundle that `previous` remembers.
///
/// Fails with `BundleRollback` if the sequence is lower, or absent where the previous bundle had one: a replayed
/// bundle could bring back a revoked authority. `accept_rollback` states that the sequence was reset on purpose.
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
    /// The memory after the domain revoked its keys. The sequence is raised by one, so that the last good bundle cannot
    /// be replayed.
    #[must_use]
    pub fn after_revocation(self) -> Self {
        Self { sequence: self.sequence.map(|sequence| sequence.saturating_add(1)), ..self }
    }

    /// The freshness of the bundle at `now`; fails with `BundleStale` if the last refresh is more than `limit` ago.
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

impl FallbackAfter {
    /// An empty bundle revokes (rule 44). Any other refused document may be an accident or an attack, and neither may
    /// end trust at once.
    pub fn refusal(refusal: &Refusal) -> Self {
        match refusal.reason() {
            Reason::BundleEmpty => Self::Revoked,
            _ => Self::KeepLastGood,
        }
    }
}
