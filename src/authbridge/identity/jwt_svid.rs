//! JWT-SVIDs by audience: fetched when first needed, renewed at half of their life, never used after it.

use super::workload::ANSWER;
use crate::config::Secret;
use countersign_core::time::Timestamp;
use countersign_io::clock::{instant, now};
use countersign_io::workload_api::{WorkloadApiError, fetch_jwt_svid};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The JWT-SVIDs of this workload.
#[derive(Debug)]
pub(crate) struct JwtSvids {
    socket: String,
    cached: Mutex<BTreeMap<String, CachedSvid>>,
}

#[derive(Clone, Debug)]
struct CachedSvid {
    token: Secret,
    /// By the clock that only goes forward: one that was set back must not lengthen the life of a token.
    renew_at: Instant,
    not_after: Instant,
    expires_at: Timestamp,
}

impl JwtSvids {
    /// None yet; `socket` is the Workload API.
    pub(crate) fn new(socket: String) -> Self {
        Self { socket, cached: Mutex::default() }
    }

    /// A token for `audience`. One that is past its half life is renewed first, and still used when that fails.
    pub(crate) async fn token(&self, audience: &str) -> Result<Secret, WorkloadApiError> {
        // Held over the fetch: whoever comes meanwhile waits for the same token. Audiences come from the
        // configuration, so there are few.
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
