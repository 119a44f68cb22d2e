//! Token cache of the exchange: one request per token, however many callers wait for it. A token is kept no longer than
//! it or the token that it was exchanged for lives, and its key covers every input of the exchange.

use super::credentials::Credentials;
use super::form::token_form;
use super::routes::Wanted;
use crate::auth::{Fetcher, fetch_client, send};
use crate::config::{ClientIdentity, Secret, Spiffe};
use crate::denial::{Code, Denial};
use crate::jwt::unverified_expiry;
use crate::limits::TOKEN_RESPONSE_BYTES;
use crate::quiet::Quiet;
use crate::stats::Stats;
use crate::token_response::{parse_token_error, parse_token_response};
use arc_swap::ArcSwap;
use countersign_core::encoding::{Digest, Sha256};
use countersign_core::time::{Seconds, Timestamp};
use countersign_io::clock::{instant, now};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the plugin in configuration, events and denials.
pub(crate) const NAME: &str = "token-exchange";
/// Most memory for cached tokens, in bytes.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;
/// Expected number of cached tokens, about 2 KiB each; sizes the cache's table.
const KEPT: usize = 8192;
/// Time for which a failure is answered from the cache: a burst of requests must not become a burst at the token
/// endpoint.
const FAILURE: Duration = Duration::from_millis(1500);
/// Time for which a token without a lifetime is shared: callers that waited for it would otherwise request it one after
/// the other.
const SHARED: Duration = Duration::from_secs(1);
/// Seconds before its expiry at which a token is dropped, so that a server still accepts it when it arrives.
const MARGIN: i64 = 30;

/// Client of the token endpoints, with a cache of their answers.
pub(super) struct Exchanger {
    credentials: Arc<Credentials>,
    endpoint: Fetcher,
    /// Endpoints that routes name, by URL; they change with the file of routes.
    others: ArcSwap<BTreeMap<String, Fetcher>>,
    kept: Arc<Cache<Digest, CachedResult, Weight>>,
    stats: Stats,
    quiet: Quiet,
}

/// Token that the endpoint issued.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// What is sent.
    pub(super) token: Arc<Secret>,
    /// First second in which it no longer counts, by the endpoint or by the token itself; `None` if neither says.
    pub(super) ends_at: Option<Timestamp>,
}

/// Outcome of an earlier token request.
#[derive(Clone, Debug)]
enum CachedResult {
    /// A token ends when either clock says so: a wall clock that is set back must not lengthen its life.
    Token {
        issued: Issued,
        until: Timestamp,
        not_after: Instant,
    },
    Failure {
        denial: Arc<Denial>,
        until: Instant,
    },
}

impl CachedResult {
    fn is_fresh(&self) -> bool {
        match self {
            Self::Token { until, not_after, .. } => now() < *until && instant() < *not_after,
            Self::Failure { until, .. } => instant() < *until,
        }
    }

    fn result(self) -> Result<Issued, Denial> {
        match self {
            Self::Token { issued, .. } => Ok(issued),
            Self::Failure { denial, .. } => Err(denial.as_ref().clone()),
        }
    }
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Digest, CachedResult> for Weight {
    fn weight(&self, _: &Digest, kept: &CachedResult) -> u64 {
        let bytes = match kept {
            CachedResult::Token { issued, .. } => issued.token.expose().len(),
            CachedResult::Failure { denial, .. } => denial.message.len(),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(256)
    }
}

impl Exchanger {
    /// An exchanger for the client of `identity` with only the default endpoint, at `url`. Credentials, tokens and
    /// connections are those of `previous` where the same settings lead to them: the key of a token has everything but the
    /// proof of who the client is.
    pub(super) fn new(
        (identity, spiffe): (&ClientIdentity, Option<&Spiffe>),
        url: &str,
        previous: Option<&Self>,
        stats: Stats,
    ) -> Result<Self, String> {
        let same_client = previous.filter(|previous| previous.credentials.are_of(identity, spiffe));
        let (credentials, kept) = match same_client {
            Some(previous) => (Arc::clone(&previous.credentials), Arc::clone(&previous.kept)),
            None => (
                Arc::new(Credentials::new(identity, spiffe)?),
                Arc::new(Cache::with_weighter(KEPT, KEPT_BYTES, Weight)),
            ),
        };
        let endpoint = match previous.filter(|previous| previous.endpoint.url == url) {
            Some(previous) => previous.endpoint.clone(),
            None => fetch_client(url)?,
        };
        let others = previous.map(|previous| ArcSwap::new(previous.others.load_full())).unwrap_or_default();
        let quiet = Quiet::new("outbound");
        Ok(Self { credentials, endpoint, others, kept, stats, quiet })
    }

    /// Waits until there is an answer to whether the credentials are there, so that the first request need not.
    pub(super) async fn fetched(&self) {
        let _ = self.credentials.authentication().await;
    }

    /// Replaces the endpoints that routes name by those at `urls`. On an error all stay as they were.
    pub(super) fn set_endpoints<'u>(&self, urls: impl Iterator<Item = &'u str>) -> Result<(), String> {
        let known = self.others.load();
        let fetcher = |url: &str| known.get(url).cloned().map_or_else(|| fetch_client(url), Ok);
        let all: Result<BTreeMap<_, _>, String> =
            urls.map(|url| Ok((url.to_owned(), fetcher(url)?))).collect();
        self.others.store(Arc::new(all?));
        Ok(())
    }

    /// Returns a sentence about the credential that is missing, so that no token can be requested; `None` if the
    /// credentials are complete.
    pub(super) fn problem(&self) -> Option<String> {
        self.credentials.problem()
    }

    /// A token as `wanted` describes it: exchanged for `subject` (RFC 8693), or the agent's own without one (RFC 6749
    /// §4.4).
    pub(super) async fn token(&self, subject: Option<&str>, wanted: &Wanted) -> Result<Issued, Denial> {
        let failed = |why: String| Denial::new(Code::ExchangeFailed, why).by(NAME);
        let client_id = self.credentials.client_id().map_err(failed)?;
        let others = self.others.load_full();
        let endpoint = match &wanted.token_url {
            None => &self.endpoint,
            Some(url) => {
                others.get(url).ok_or_else(|| failed("the token endpoint is not known".to_owned()))?
            }
        };
        let key = key(subject, wanted, &endpoint.url, &client_id);
        if let Some(kept) = self.kept.get(&key) {
            if kept.is_fresh() {
                self.stats.outbound.cache_hit.inc();
                return kept.result();
            }
            self.kept.remove_if(&key, |kept| !kept.is_fresh());
        }
        // Concurrent callers wait for the first one; if its request is cancelled, one of them takes over.
        match self.kept.get_value_or_guard_async(&key).await {
            Ok(kept) => {
                self.stats.outbound.cache_hit.inc();
                kept.result()
            }
            Err(slot) => {
                let answered = self.request_token(endpoint, subject, wanted, &client_id).await;
                let (kept, result) = match answered {
                    Ok((issued, until)) => (kept(&issued, until), Ok(issued)),
                    Err(denial) => {
                        let until = instant().checked_add(FAILURE).unwrap_or_else(instant);
                        (Some(CachedResult::Failure { denial: Arc::new(denial.clone()), until }), Err(denial))
                    }
                };
                if let Some(kept) = kept {
                    // An error means that the key was removed meanwhile; the next caller requests a token again.
                    let _ = slot.insert(kept);
                }
                result
            }
        }
    }

    async fn request_token(
        &self,
        endpoint: &Fetcher,
        subject: Option<&str>,
        wanted: &Wanted,
        client_id: &str,
    ) -> Result<(Issued, Option<Timestamp>), Denial> {
        let failed = |why: String| Denial::new(Code::ExchangeFailed, why).by(NAME);
        let authentication = self.credentials.authentication().await.map_err(failed)?;
        let form = token_form(subject, wanted, client_id, &authentication);
        self.stats.token_calls.inc();
        let (requested_at, began) = (now(), instant());
        let answer = send(endpoint.post_form(form.to_string()), TOKEN_RESPONSE_BYTES).await;
        self.stats.token_seconds.observe(began.elapsed().as_secs_f64());
        let (status, body) = answer.map_err(|failure| {
            self.quiet.log("a token request failed", &format!("{}: {failure}", endpoint.url));
            failed(format!("the token endpoint: {}", failure.told))
        })?;
        if status != 200 {
            let error = parse_token_error(body.to_vec()).unwrap_or_else(|| "no reason".to_owned());
            return Err(failed(format!("the token endpoint refused with status {status}: {error}")));
        }
        let response = parse_token_response(body.to_vec()).map_err(|refusal| {
            let reason = Some(refusal.reason());
            Denial { reason, ..failed(refusal.message().to_owned()) }
        })?;
        let until = response.lifetime.and_then(|lifetime| keep_until(requested_at, lifetime, subject));
        let ends_at = end_of(requested_at, response.lifetime, &response.token);
        Ok((Issued { token: Arc::new(Secret::new(response.token)), ends_at }, until))
    }
}

fn kept(issued: &Issued, until: Option<Timestamp>) -> Option<CachedResult> {
    let (until, left) = match until {
        Some(until) => (until, Duration::from_secs(u64::try_from(until.since(now())).ok()?)),
        None => (now().plus(Seconds::new(2)), SHARED),
    };
    Some(CachedResult::Token { issued: issued.clone(), until, not_after: instant().checked_add(left)? })
}

/// First second in which a token that was requested at `requested_at` no longer counts: after the lifetime that the answer
/// names, or else as the token says. A lifetime of 0 is one, too: the token expires as the answer is made (RFC 6749 §5.1), and
/// whoever does not know when it does leaves the member out.
fn end_of(requested_at: Timestamp, lifetime: Option<Seconds>, token: &str) -> Option<Timestamp> {
    lifetime.map_or_else(|| unverified_expiry(token), |lifetime| Some(requested_at.plus(lifetime)))
}

/// Time until which a token is cached: some seconds before its expiry, and never past that of the subject token, whose
/// holder has no access after it.
fn keep_until(requested_at: Timestamp, lifetime: Seconds, subject: Option<&str>) -> Option<Timestamp> {
    let life = i64::from(lifetime.get());
    let margin = MARGIN.min(life.div_euclid(4));
    let own = Timestamp::from_unix(requested_at.as_unix().saturating_add(life).saturating_sub(margin));
    let until = subject.and_then(unverified_expiry).map_or(own, |end| own.min(end));
    (until > requested_at).then_some(until)
}

/// Cache key over every input of the token request. Each part is preceded by its length, so that no two requests hash
/// the same bytes and nobody gets a token that was made for another subject or audience.
fn key(subject: Option<&str>, wanted: &Wanted, endpoint: &str, client_id: &str) -> Digest {
    let mut digest = Sha256::new();
    let mut part = |text: Option<&str>| {
        let length = text.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(u64::MAX));
        digest.update(&length.to_be_bytes());
        digest.update(text.unwrap_or_default().as_bytes());
    };
    part(subject);
    part(wanted.audience.as_deref());
    part(wanted.resource.as_deref());
    part(Some(endpoint));
    part(Some(client_id));
    for scope in &wanted.scopes {
        part(Some(scope));
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_the_token_changes_its_key() {
        let wanted = |audience: &str, scopes: &[&str], resource: Option<&str>| Wanted {
            audience: Some(audience.to_owned()),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            token_url: None,
            resource: resource.map(str::to_owned),
        };
        let keys = [
            key(Some("t"), &wanted("a", &["admin"], None), "u", "c"),
            key(Some("t"), &wanted("a", &["read"], None), "u", "c"),
            key(Some("t"), &wanted("a", &["admin", "read"], None), "u", "c"),
            key(Some("t"), &wanted("a", &["adminread"], None), "u", "c"),
            key(Some("t"), &wanted("a", &["admin"], Some("r")), "u", "c"),
            key(Some("t"), &wanted("a", &["admin"], None), "v", "c"),
            key(Some("t"), &wanted("a", &["admin"], None), "u", "d"),
            key(Some("s"), &wanted("a", &["admin"], None), "u", "c"),
            key(None, &wanted("a", &["admin"], None), "u", "c"),
            key(Some(""), &wanted("a", &["admin"], None), "u", "c"),
            key(Some("t"), &wanted("b", &["admin"], None), "u", "c"),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn a_token_is_kept_within_its_own_life_and_that_of_its_subject() {
        let at = Timestamp::from_unix(1_000);
        let until = |life: u32, subject: Option<&str>| {
            keep_until(at, Seconds::new(life), subject).map(|until| until.since(at))
        };
        assert_eq!(until(300, None), Some(270));
        assert_eq!(until(20, None), Some(15));
        assert_eq!(until(0, None), None);
        // {"exp":1100} and {"exp":900}
        assert_eq!(until(300, Some("e30.eyJleHAiOjExMDB9.x")), Some(100));
        assert_eq!(until(300, Some("e30.eyJleHAiOjkwMH0.x")), None);
        assert_eq!(until(300, Some("opaque")), Some(270));
    }

    #[test]
    fn a_token_ends_as_its_answer_says_or_else_as_it_says_itself() {
        let at = Timestamp::from_unix(1_000);
        // {"exp":1100}
        let says = "e30.eyJleHAiOjExMDB9.x";
        for (lifetime, token, end) in [
            (Some(300), "opaque", Some(300)),
            (Some(50), says, Some(50)),
            (Some(0), "opaque", Some(0)),
            (Some(0), says, Some(0)),
            (None, says, Some(100)),
            (None, "opaque", None),
        ] {
            let found = end_of(at, lifetime.map(Seconds::new), token).map(|end| end.since(at));
            assert_eq!(found, end, "{lifetime:?} {token}");
        }
    }
}
