//! JWT-SVIDs by audience: fetched when first needed, renewed in the background from half of their lifetime on, never used
//! after it. No caller with a valid one waits for the Workload API.

use super::workload::ANSWER;
use crate::config::Secret;
use countersign_core::time::Timestamp;
use countersign_io::clock::{instant, now};
use countersign_io::workload_api::fetch_jwt_svid;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    /// On the monotonic clock: a wall clock that is set back must not lengthen the life of a token.
    renew_at: Instant,
    not_after: Instant,
    expires_at: Timestamp,
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
        if let Some(last) = self.valid(audience) {
            if last.renew_at <= instant()
                && let Ok(mut failure) = Arc::clone(&self.fetching).try_lock_owned()
                && !failure.as_ref().is_some_and(Failure::is_recent)
            {
                let (svids, audience) = (self.clone(), audience.to_owned());
                tokio::spawn(async move {
                    *failure = svids.fetch(&audience).await.err();
                    if let Some(Failure { problem, .. }) = &*failure {
                        tracing::warn!("a JWT-SVID was not renewed: {problem}");
                    }
                });
            }
            return Ok(last.token);
        }
        let mut failure = self.fetching.lock().await;
        // Whoever held the lock before may have fetched it, or have failed just now.
        if let Some(last) = self.valid(audience) {
            return Ok(last.token);
        }
        if let Some(recent) = failure.as_ref().filter(|failure| failure.is_recent()) {
            return Err(recent.problem.clone());
        }
        let fetched = self.fetch(audience).await;
        *failure = fetched.as_ref().err().cloned();
        fetched.map_err(|failed| failed.problem)
    }

    fn valid(&self, audience: &str) -> Option<CachedSvid> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let last = cached.get(audience);
        last.filter(|last| last.expires_at > now() && last.not_after > instant()).cloned()
    }

    async fn fetch(&self, audience: &str) -> Result<Secret, Failure> {
        let after = |time: Duration| instant().checked_add(time).unwrap_or_else(instant);
        let fetched = fetch_jwt_svid(&self.socket, ANSWER, audience).await;
        let (token, expires_at) =
            fetched.map_err(|error| Failure { problem: error.to_string(), until: after(BACK_OFF) })?;
        let life = Duration::from_secs(u64::try_from(expires_at.since(now())).unwrap_or(0));
        let token = Secret::new(token.to_string());
        let (renew_at, not_after) = (after(life.mul_f64(0.5)), after(life));
        let svid = CachedSvid { token: token.clone(), renew_at, not_after, expires_at };
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).insert(audience.to_owned(), svid);
        Ok(token)
    }
}

impl Failure {
    fn is_recent(&self) -> bool {
        instant() < self.until
    }
}
