//! JWT-SVIDs by audience: fetched when first needed, renewed in the background from half of their lifetime on, never used
//! after it. Only in the last seconds of a valid one does a caller wait for its renewal, since it could end on the way.

use super::workload::ANSWER;
use crate::config::Secret;
use crate::limits::SVID_MARGIN;
use countersign_core::time::Timestamp;
use countersign_io::clock::{instant, now};
use countersign_io::workload_api::fetch_jwt_svid;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

/// Time for which a failed fetch is not repeated: callers that wait for one another would each wait for the whole
/// timeout of the Workload API.
const BACK_OFF: Duration = Duration::from_secs(2);

/// Cache of this workload's JWT-SVIDs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct JwtSvids {
    socket: Arc<str>,
    /// The map stays small, because audiences come from the configuration.
    cached: Arc<Mutex<BTreeMap<String, CachedSvid>>>,
    /// Held by whoever fetches, with the failure of the last fetch.
    fetching: Arc<tokio::sync::Mutex<Option<Failure>>>,
}

#[derive(Clone, Debug)]
struct CachedSvid {
    token: Secret,
    life: Duration,
    /// On the monotonic clock: a wall clock that is set back must not lengthen the life of a token.
    not_after: Instant,
    expires_at: Timestamp,
}

/// What a caller does with a valid JWT-SVID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is handed out.
    Now,
    /// It is handed out, and renewed in the background.
    AndRenew,
    /// Its renewal is awaited for this long, and it is handed out only if there is none by then.
    AfterRenewal(Duration),
}

/// Decides by what is `left` of its `life`. Short-lived ones have a margin of a quarter of their life, so that they are
/// handed out at all; half of what is left remains for the request.
fn plan_use(left: Duration, life: Duration) -> Use {
    if left <= SVID_MARGIN.min(life.mul_f64(0.25)) {
        Use::AfterRenewal(left.mul_f64(0.5))
    } else if left <= life.mul_f64(0.5) {
        Use::AndRenew
    } else {
        Use::Now
    }
}

#[derive(Clone, Debug)]
struct Failure {
    problem: String,
    until: Instant,
}

impl JwtSvids {
    /// An empty cache; `socket` is the address of the Workload API.
    pub(crate) fn new(socket: &str) -> Self {
        Self { socket: socket.into(), cached: Arc::default(), fetching: Arc::default() }
    }

    /// A token for `audience`. Past half of its lifetime a task renews it.
    pub(crate) async fn token(&self, audience: &str) -> Result<Secret, String> {
        let Some((last, left)) = self.valid(audience) else { return self.fetched(audience, None).await };
        match plan_use(left, last.life) {
            Use::Now => {}
            Use::AndRenew => {
                if let Ok(failure) = Arc::clone(&self.fetching).try_lock_owned() {
                    let (svids, audience) = (self.clone(), audience.to_owned());
                    tokio::spawn(async move { svids.renew(&audience, failure).await });
                }
            }
            Use::AfterRenewal(patience) => {
                // A task of its own, so that a caller who loses patience does not cancel the fetch.
                let (svids, audience, end) = (self.clone(), audience.to_owned(), last.not_after);
                let renewal = tokio::spawn(async move { svids.fetched(&audience, Some(end)).await });
                if let Ok(Ok(Ok(token))) = timeout(patience, renewal).await {
                    return Ok(token);
                }
            }
        }
        Ok(last.token)
    }

    /// A token that lasts longer than `end`, or any valid one: from whoever fetches already, or fetched now.
    async fn fetched(&self, audience: &str, end: Option<Instant>) -> Result<Secret, String> {
        let failure = Arc::clone(&self.fetching).lock_owned().await;
        // Whoever held the lock before may have fetched it, or have failed just now.
        let is_newer = |last: &CachedSvid| end.is_none_or(|end| last.not_after > end);
        if let Some((last, _)) = self.valid(audience).filter(|(last, _)| is_newer(last)) {
            return Ok(last.token);
        }
        self.renew(audience, failure).await
    }

    /// Fetches a token, unless that failed just now.
    async fn renew(
        &self,
        audience: &str,
        mut failure: OwnedMutexGuard<Option<Failure>>,
    ) -> Result<Secret, String> {
        if let Some(recent) = failure.as_ref().filter(|failure| failure.is_recent()) {
            return Err(recent.problem.clone());
        }
        let fetched = self.fetch(audience).await;
        *failure = fetched.as_ref().err().cloned();
        fetched.map_err(|failed| failed.problem)
    }

    /// The valid token, and how long it lasts by both clocks.
    fn valid(&self, audience: &str) -> Option<(CachedSvid, Duration)> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let last = cached.get(audience)?;
        let by_wall = Duration::from_secs(u64::try_from(last.expires_at.since(now())).unwrap_or(0));
        let left = last.not_after.saturating_duration_since(instant()).min(by_wall);
        (!left.is_zero()).then(|| (last.clone(), left))
    }

    async fn fetch(&self, audience: &str) -> Result<Secret, Failure> {
        let after = |time: Duration| instant().checked_add(time).unwrap_or_else(instant);
        let fetched = fetch_jwt_svid(&self.socket, ANSWER, audience).await;
        let (token, expires_at) = fetched.map_err(|error| {
            tracing::warn!("a JWT-SVID was not fetched: {error}");
            // What the agent reads does not name the socket.
            let problem = "the Workload API gave no JWT-SVID; the log says why".to_owned();
            Failure { problem, until: after(BACK_OFF) }
        })?;
        let life = Duration::from_secs(u64::try_from(expires_at.since(now())).unwrap_or(0));
        let token = Secret::new(token.to_string());
        let svid = CachedSvid { token: token.clone(), life, not_after: after(life), expires_at };
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).insert(audience.to_owned(), svid);
        Ok(token)
    }
}

impl Failure {
    fn is_recent(&self) -> bool {
        instant() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_its_last_seconds_waits_for_its_renewal() {
        let seconds = Duration::from_secs;
        for (left, life, expected) in [
            (300, 300, Use::Now),
            (151, 300, Use::Now),
            (150, 300, Use::AndRenew),
            (11, 300, Use::AndRenew),
            (10, 300, Use::AfterRenewal(seconds(5))),
            (2, 300, Use::AfterRenewal(seconds(1))),
            (6, 20, Use::AndRenew),
            (4, 20, Use::AfterRenewal(seconds(2))),
        ] {
            assert_eq!(plan_use(seconds(left), seconds(life)), expected, "{left} of {life}");
        }
    }
}
