//! State of the process that outlives a configuration.

use super::config::Config;
use super::events::{Bounds, SessionStore};
use super::identity::WorkloadIdentity;
use super::stats::Stats;
use tokio::sync::watch;

/// Sender of epochs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epochs(watch::Sender<u64>);

impl Epochs {
    /// The number of the current one.
    pub(crate) fn current(&self) -> u64 {
        *self.0.borrow()
    }

    /// Starts a new one, in which every open connection and tunnel is authorized again.
    pub(crate) fn begin(&self) {
        self.0.send_modify(|epoch| *epoch = epoch.wrapping_add(1));
    }

    /// Receiver that is notified of each new one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// State that outlives a configuration: a reload keeps it.
pub(crate) struct ProcessState {
    /// SVID and trust bundles of this workload.
    pub(crate) identity: WorkloadIdentity,
    /// Recent events by session.
    pub(crate) store: SessionStore,
    /// Counters and histograms.
    pub(crate) stats: Stats,
    /// Epochs, in each of which whatever is open is authorized again.
    pub(crate) epochs: Epochs,
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
