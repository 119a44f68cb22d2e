//! State of the process that outlives a configuration.

use super::config::Config;
use super::events::{Bounds, SessionStore};
use super::identity::WorkloadIdentity;
use super::stats::Stats;

/// State that outlives a configuration: a reload keeps it.
pub(crate) struct ProcessState {
    /// SVID and trust bundles of this workload.
    pub(crate) identity: WorkloadIdentity,
    /// Recent events by session.
    pub(crate) store: SessionStore,
    /// Counters and histograms.
    pub(crate) stats: Stats,
}

/// Memory bounds of the session store, from the configuration.
pub(super) fn session_bounds(config: &Config) -> Bounds {
    let session = &config.session;
    Bounds {
        events: session.max_events,
        sessions: session.max_sessions,
        bytes: session.max_bytes,
        idle: i64::try_from(session.ttl.0.as_secs()).unwrap_or(i64::MAX),
    }
}
