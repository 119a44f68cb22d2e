//! Leader election by a Lease object: one replica works at a time, renews the lease, and releases it at the end.
//! Losing the lease ends the work at once; the process exits and restarts as a candidate.

mod decision;
mod store;

pub use decision::{LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD};

use crate::api_error::Explained;
use countersign_api::keys::LEASE_NAME;
use countersign_io::shutdown::Shutdown;
use decision::{ObservedLease, Step, decide};
use kube::Client;
use std::future::Future;
use std::time::Duration;
use store::LeaseStore;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

/// Error that ends the work of a leader.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Lease that was not renewed in time, so that another replica may lead already.
    #[error("the lease {LEASE_NAME} could not be renewed in time: {0}; the work stopped")]
    Lost(String),
}

/// Runs `work` while holding the lease, and releases the lease afterwards. Returns `None` if `stop` came before the
/// lease was acquired.
///
/// `leading` is called when this replica starts and stops leading. When the lease is lost, `work` is dropped.
pub async fn hold<T>(
    client: Client,
    namespace: &str,
    identity: String,
    stop: &Shutdown,
    leading: impl Fn(bool),
    work: impl Future<Output = T>,
) -> Result<Option<T>, LeaseError> {
    let mut holder = Holder { store: LeaseStore::new(client, namespace), identity, observed: None };
    let acquired = tokio::select! {
        () = stop.requested() => return Ok(None),
        at = holder.acquire() => at,
    };
    leading(true);
    tracing::info!(identity = holder.identity, "became leader");
    let ended = tokio::select! {
        done = work => Ok(Some(done)),
        error = holder.keep(acquired) => Err(error),
    };
    leading(false);
    match &ended {
        Ok(_) => holder.release().await,
        Err(error) => tracing::error!("{error}"),
    }
    ended
}

/// Latest answer with which a lease counts as taken: half of the time for the first renewal is left then.
const LATEST_ANSWER: Duration = Duration::from_secs(5);

struct Holder {
    store: LeaseStore,
    identity: String,
    observed: Option<(ObservedLease, Instant)>,
}

impl Holder {
    /// Waits until this replica holds the lease, and returns when it asked for it. The lease counts from there: an answer
    /// may come late, and other replicas count from the write.
    async fn acquire(&mut self) -> Instant {
        loop {
            let asked = Instant::now();
            match timeout(LATEST_ANSWER, self.step()).await {
                Ok(Ok(true)) => return asked,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!("cannot take the lease: {}", Explained(&error)),
                Err(_) => tracing::warn!("cannot take the lease: the API server did not answer in time"),
            }
            sleep(jittered(RETRY_PERIOD)).await;
        }
    }

    /// Renews the lease until another replica holds it or no renewal succeeded for [`RENEW_DEADLINE`].
    async fn keep(&mut self, acquired: Instant) -> LeaseError {
        let mut renewed = acquired;
        loop {
            sleep(RETRY_PERIOD).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            let asked = Instant::now();
            let problem = match timeout(left, self.step()).await {
                Ok(Ok(true)) => {
                    renewed = asked;
                    continue;
                }
                Ok(Ok(false)) => return LeaseError::Lost("another replica holds it".to_owned()),
                Ok(Err(error)) => Explained(&error).to_string(),
                Err(_) => "the API server did not answer in time".to_owned(),
            };
            if renewed.elapsed() >= RENEW_DEADLINE {
                return LeaseError::Lost(problem);
            }
            tracing::warn!("cannot renew the lease: {problem}");
        }
    }

    /// Reads the lease, and takes or renews it where allowed. True if this replica holds the lease now.
    async fn step(&mut self) -> Result<bool, kube::Error> {
        let stored = self.store.read().await?;
        let found = stored.as_ref().map(store::observe);
        // The silence of another holder is measured with this replica's clock alone, as in client-go: clocks of
        // two nodes may differ.
        let since = match (&self.observed, &found) {
            (Some((before, since)), Some(found)) if before == found => *since,
            _ => Instant::now(),
        };
        self.observed = found.clone().map(|found| (found, since));
        let take = match decide(found.as_ref(), &self.identity, since.elapsed()) {
            Step::Wait => return Ok(false),
            Step::Take => true,
            Step::Renew => false,
        };
        self.store.write(stored, &self.identity, take).await?;
        Ok(true)
    }

    async fn release(&mut self) {
        let released = timeout(RETRY_PERIOD, self.store.release(&self.identity)).await;
        match released {
            Ok(Ok(())) => tracing::info!("released the lease"),
            Ok(Err(error)) => {
                tracing::warn!("cannot release the lease, so it runs out by itself: {}", Explained(&error));
            }
            Err(_) => tracing::warn!("cannot release the lease, so it runs out by itself: no answer in time"),
        }
    }
}

/// Period with up to 20 % added, so that candidates do not read at the same moments.
fn jittered(period: Duration) -> Duration {
    period.mul_f64(1.0 + fastrand::f64() * 0.2)
}
