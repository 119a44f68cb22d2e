//! JWT-SVIDs by audience: fetched when first needed, renewed at half of their lifetime, never used after it.

use super::workload::ANSWER;
use crate::config::Secret;
use countersign_core::time::Timestamp;
use countersign_io::clock::{instant, now};
use countersign_io::workload_api::{WorkloadApiError, fetch_jwt_svid};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Cache of this workload's JWT-SVIDs.
#[derive(Debug)]
pub(crate) struct JwtSvids {
    socket: String,
    cached: Mutex<BTreeMap<String, CachedSvid>>,
}

#[derive(Clone, Debug)]
struct CachedSvid {
    token: Secret,
    /// On the monotonic clock: a wall clock that is set back must not lengthen the life of a token.
    renew_at: Instant,
    not_after: Instant,
    expires_at: Timestamp,
}

impl JwtSvids {
    /// An empty cache; `socket` is the address of the Workload API.
    pub(crate) fn new(socket: String) -> Self {
        Self { socket, cached: Mutex::default() }
    }

    /// A token for `audience`. Past half of its lifetime it is renewed first, and still used if that fails.
    pub(crate) async fn token(&self, audience: &str) -> Result<Secret, WorkloadApiError> {
        // Locked during the fetch, so that concurrent callers wait for one token. The map stays small, because
        // audiences come from the configuration.
        let mut cached = self.cached.lock().await;
        let last = cached.get(audience).filter(|last| last.expires_at > now() && last.not_after > instant());
        if let Some(last) = last.filter(|last| last.renew_at > instant()) {
            return Ok(last.token.clone());
        }
        match fetch_jwt_svid(&self.socket, ANSWER, audience).await {
            Ok((token, expires_at)) => {
                let life = Duration::from_secs(u64::try_from(expires_at.since(now())).unwrap_or(0));
                let token = Secret::new(token.to_string());
                let after = |life: Duration| instant().checked_add(life).unwrap_or_else(instant);
                let (renew_at, not_after) = (after(life.mul_f64(0.5)), after(life));
                cached.insert(
                    audience.to_owned(),
                    CachedSvid { token: token.clone(), renew_at, not_after, expires_at },
                );
                Ok(token)
            }
            Err(error) => match last {
                Some(last) => {
                    tracing::warn!("a JWT-SVID was not renewed: {error}");
                    Ok(last.token.clone())
                }
                None => Err(error),
            },
        }
    }
}
