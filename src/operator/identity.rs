//! SVID of the operator, followed at the Workload API, for SPIFFE mTLS fetches.
//! The SPIRE agent may start, stop and return at any time; without a valid SVID no mTLS fetch is made.

use super::flags::Config;
use countersign_core::refusal::{Reason, Refusal};
use countersign_io::clock::now;
use countersign_io::mtls::ClientSvid;
use countersign_io::workload_api::follow_svid;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Maximum time for an answer of the SPIRE agent.
const ANSWER: Duration = Duration::from_secs(10);

/// Current SVID of the operator, or the problem that prevents one.
#[derive(Debug)]
pub(crate) struct OwnSvid {
    current: watch::Sender<Option<Arc<ClientSvid>>>,
    problem: watch::Sender<Option<String>>,
    wanted: Notify,
}

impl Default for OwnSvid {
    fn default() -> Self {
        Self { current: watch::channel(None).0, problem: watch::channel(None).0, wanted: Notify::new() }
    }
}

impl OwnSvid {
    /// Follows the Workload API until dropped, from the first call of [`OwnSvid::get`]: most clusters have no agent
    /// that serves over mTLS.
    pub(crate) async fn follow(&self, config: &Config) {
        self.wanted.notified().await;
        follow_svid(&config.workload_api, ANSWER, |update| {
            match update.map_err(|error| error.to_string()).and_then(|svid| ClientSvid::new(&svid)) {
                Ok(svid) => self.accept(svid),
                Err(problem) => self.fail(problem),
            }
        })
        .await;
    }

    fn accept(&self, svid: ClientSvid) {
        self.problem.send_replace(None);
        let is_new = self.current.borrow().as_ref().is_none_or(|last| last.not_after() != svid.not_after());
        if is_new {
            tracing::info!(spiffe_id = %svid.spiffe_id(), not_after = %svid.not_after(), "got an SVID of our own");
            self.current.send_replace(Some(Arc::new(svid)));
        }
    }

    /// Logs a problem once; the last SVID stays in use until it expires.
    fn fail(&self, problem: String) {
        self.problem.send_if_modified(|last| {
            let is_new = last.as_ref() != Some(&problem);
            if is_new {
                tracing::warn!(%problem, "no SVID of our own: cards of Services with a port agent-tls are refused");
                *last = Some(problem);
            }
            is_new
        });
    }

    /// SVID that is valid now, or a refusal with the problem. Waits for a first SVID for at most `patience`.
    pub(crate) async fn get(&self, patience: Duration) -> Result<Arc<ClientSvid>, Refusal> {
        self.wanted.notify_one();
        let is_valid =
            |svid: &Option<Arc<ClientSvid>>| svid.as_ref().is_some_and(|svid| now() <= svid.not_after());
        let mut current = self.current.subscribe();
        let mut problem = self.problem.subscribe();
        let svid = tokio::select! {
            biased;
            found = current.wait_for(is_valid) => found.ok().and_then(|found| found.clone()),
            _ = problem.wait_for(Option::is_some) => None,
            () = tokio::time::sleep(patience) => None,
        };
        svid.ok_or_else(|| {
            let why = self.problem.borrow().clone();
            let why = why.unwrap_or_else(|| "the Workload API has not answered yet".to_owned());
            let found = format!("the Service offers agent-tls and the operator has no SVID to use it: {why}");
            Refusal::new(Reason::FetchFailed, found)
        })
    }
}
