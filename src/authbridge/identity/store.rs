//! Current state of the identity, and notifications of its changes.

use super::snapshot::{Material, Snapshot};
use arc_swap::ArcSwapOption;
use countersign_io::clock::now;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Identity of this workload, written by its source and read at each handshake. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadIdentity(Arc<IdentityInner>);

#[derive(Debug)]
struct IdentityInner {
    current: ArcSwapOption<Snapshot>,
    changes: watch::Sender<u64>,
    problem: Mutex<Option<String>>,
}

impl WorkloadIdentity {
    /// No identity until a source delivers one.
    pub(crate) fn new() -> Self {
        let (changes, _) = watch::channel(0);
        Self(Arc::new(IdentityInner { current: ArcSwapOption::empty(), changes, problem: Mutex::default() }))
    }

    /// The current state; `None` until the first one.
    pub(crate) fn current(&self) -> Option<Arc<Snapshot>> {
        self.0.current.load_full()
    }

    /// Receiver that is notified of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Replaces the state by what a source delivered. If that fails, the last state stays, and readiness fails once
    /// its SVID expires. True if the state changed.
    pub(crate) fn update(&self, delivered: Result<&Material, String>) -> bool {
        let made = delivered
            .and_then(|material| Snapshot::new(material, now()).map_err(|refusal| refusal.to_string()));
        let problem = made.as_ref().err().cloned();
        let mut last = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != problem
            && let Some(problem) = &problem
        {
            tracing::warn!("the identity was not renewed: {problem}");
        }
        *last = problem;
        drop(last);
        let Ok(snapshot) = made else { return false };
        let same = self.current().is_some_and(|current| current.fingerprint() == snapshot.fingerprint());
        if same {
            return false;
        }
        tracing::info!(id = %snapshot.id(), until = %snapshot.not_after(), "identity renewed");
        self.0.current.store(Some(Arc::new(snapshot)));
        self.0.changes.send_modify(|generation| *generation = generation.wrapping_add(1));
        true
    }

    /// Returns the reason why no identity can be used now; `None` while the SVID is valid. It names neither socket nor
    /// folder, because probes read it: the log does.
    pub(crate) fn problem(&self) -> Option<String> {
        let has_failed = || self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        match self.current() {
            None if has_failed() => Some("no usable identity was delivered yet; the log says why".to_owned()),
            None => Some("no identity was delivered yet".to_owned()),
            Some(current) if current.not_after() < now() => Some(format!(
                "the SVID expired at {} and was not renewed; the log says why",
                current.not_after()
            )),
            Some(_) => None,
        }
    }
}
