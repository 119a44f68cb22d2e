//! Plugin `jwt-validation`: verifies the access token of a request to the agent, or denies the request.

use super::audience::LineFile;
use super::issuer::fetch_client;
use super::key_store::{Cause, KeyStore};
use crate::config::JwtValidation;
use crate::denial::{Code, Denial};
use crate::identity::VerifiedPeer;
use crate::jwt::{TokenPolicy, VerifiedToken, verify_token};
use crate::request_path::BypassPaths;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::time::Seconds;
use countersign_io::clock::now;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::Duration;

/// Name of the plugin in configuration, events and denials.
pub(crate) const NAME: &str = "jwt-validation";
/// Most verified tokens cached, about 1 KiB each.
const PROOFS: usize = 4096;

/// Gate for requests to the agent, with the keys of one issuer.
pub(crate) struct TokenGate {
    bypass: BypassPaths,
    keys: KeyStore,
    max_age: Duration,
    policy: TokenPolicy,
    audience: Option<LineFile>,
    /// Tokens verified under `policy`.
    proofs: Arc<Cache<ProofKey, Arc<VerifiedToken>>>,
}

/// Everything that a proof depends on beside the policy: a change of any of them misses the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ProofKey {
    token: Digest,
    keys: Digest,
    audience: Option<Arc<str>>,
}

/// Reason for which a request passes the gate.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// The path is in `bypass_paths`.
    Bypass,
    /// The request was denied, and the gate only observes.
    Observed,
    /// The token was verified; the digest is SHA-256 of its text.
    Token(Arc<VerifiedToken>, Digest),
}

impl TokenGate {
    /// A gate by `config`. Keys, verified tokens and the audience are those of the gate `previous` where the same settings
    /// lead to them.
    pub(crate) fn new(config: &JwtValidation, previous: Option<&Self>) -> Result<Self, String> {
        let url = config.key_set_url();
        let keys = match previous.filter(|previous| previous.keys.url() == url) {
            Some(previous) => previous.keys.clone(),
            None => KeyStore::start(fetch_client(&url)?),
        };
        let known = previous.and_then(|previous| previous.audience.as_ref());
        let audience = config.audience_path().map(|path| LineFile::follow(path, known));
        let audiences = config.audience.iter().chain(&config.allowed_audiences).cloned().collect();
        let skew = u32::try_from(config.clock_skew.0.as_secs()).unwrap_or(u32::MAX);
        let policy = TokenPolicy {
            clients: config.allowed_clients.clone(),
            scopes: config.required_scopes.clone(),
            skew: Seconds::new(skew),
            ..TokenPolicy::new(config.issuer.clone(), audiences)
        };
        let bypass = BypassPaths::parse(&config.bypass_paths)?;
        // Their key has no part of the policy.
        let proofs = previous
            .filter(|previous| previous.policy == policy)
            .map_or_else(|| Arc::new(Cache::new(PROOFS)), |previous| Arc::clone(&previous.proofs));
        Ok(Self { bypass, keys, max_age: config.jwks_max_age.0, policy, audience, proofs })
    }

    /// Seconds by which the clock of the issuer may differ.
    pub(crate) const fn clock_skew(&self) -> Seconds {
        self.policy.skew
    }

    /// Waits until there are keys.
    pub(crate) async fn fetched(&self) {
        self.keys.fetched(self.max_age).await;
    }

    /// Authorizes a request for `path` with these headers, from `peer`. The caller is checked at each request, because
    /// the cache does not know who sends a token.
    pub(crate) async fn authorize(
        &self,
        path: &str,
        headers: &HeaderMap,
        peer: Option<&VerifiedPeer>,
    ) -> Result<Admitted, Denial> {
        let refused = |refusal: &Refusal| Denial::refused(NAME, refusal);
        if self.bypass.admits(path).map_err(|refusal| refused(&refusal))? {
            return Ok(Admitted::Bypass);
        }
        let token = bearer(headers)?;
        let digest = sha256(token.as_bytes());
        let verified = self.verify(token, digest).await?;
        let caller = peer.map(|peer| (&peer.id, peer.leaf_sha256));
        verified.check_caller(caller).map_err(|refusal| refused(&refusal))?;
        Ok(Admitted::Token(verified, digest))
    }

    async fn verify(&self, token: &str, digest: Digest) -> Result<Arc<VerifiedToken>, Denial> {
        let result = self.verify_now(token, digest);
        let cause = result.as_ref().err().and_then(refetch_cause);
        match (result, cause) {
            // The issuer may have rotated its keys, or none were fetched yet: the fetch is brought forward, at a limited
            // rate, because anybody can send a token with an unknown key. A signature that fails under a known name may
            // be of a new key too: an issuer that was restored from a backup may use a name again.
            (Err(_), Some(cause)) if self.keys.refetch(cause).await => self.verify_now(token, digest),
            (result, _) => result,
        }
    }

    fn verify_now(&self, token: &str, digest: Digest) -> Result<Arc<VerifiedToken>, Denial> {
        let unavailable = |why: String| Denial::new(Code::CannotVerify, why).by(NAME);
        let fetched = self.keys.current(self.max_age).map_err(unavailable)?;
        let audience = self.audience.as_ref().map(LineFile::get);
        if audience == Some(None) && self.policy.audiences.is_empty() {
            return Err(unavailable("the client ID of this agent is not known yet".to_owned()));
        }
        let audience = audience.flatten();
        let key = ProofKey { token: digest, keys: fetched.keys.digest(), audience: audience.clone() };
        let refused = |refusal: Refusal| Denial::refused(NAME, &refusal);
        if let Some(proof) = self.proofs.get(&key) {
            proof.check_times(now()).map_err(refused)?;
            return Ok(proof);
        }
        let own;
        let policy = match audience {
            None => &self.policy,
            Some(audience) => {
                let mut audiences = self.policy.audiences.clone();
                audiences.push(audience.to_string());
                own = TokenPolicy { audiences, ..self.policy.clone() };
                &own
            }
        };
        let verified = Arc::new(verify_token(token, &fetched.keys, policy, now()).map_err(refused)?);
        self.proofs.insert(key, Arc::clone(&verified));
        Ok(verified)
    }

    /// Returns the reason why no token can be verified now; `None` if tokens can be verified.
    pub(crate) fn problem(&self) -> Option<String> {
        let waiting = self.audience.as_ref().is_some_and(|audience| audience.get().is_none());
        let audience = (waiting && self.policy.audiences.is_empty())
            .then(|| "the client ID of this agent is not known yet".to_owned());
        let all: Vec<String> = audience.into_iter().chain(self.keys.current(self.max_age).err()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Cause for which other keys may change this denial; `None` if none would.
fn refetch_cause(denial: &Denial) -> Option<Cause> {
    match denial.reason {
        Some(Reason::TokenKeyUnknown) => Some(Cause::UnknownKey),
        Some(Reason::SignatureInvalid) => Some(Cause::WrongKey),
        _ => (denial.code == Code::CannotVerify).then_some(Cause::UnknownKey),
    }
}

/// The bearer token of a request (RFC 6750 §2.1). Several `Authorization` headers are refused, because the agent could
/// read another one than the gate.
fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Denial::new(Code::MissingToken, "missing Authorization header").by(NAME));
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
    });
    match token.filter(|token| !token.is_empty() && values.next().is_none()) {
        Some(token) => Ok(token),
        None => Err(Denial::new(
            Code::InvalidToken,
            "invalid Authorization header format: it must be one `Bearer TOKEN`",
        )
        .by(NAME)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_that_the_gate_waits_for_is_told() {
        let config = JwtValidation {
            issuer: "http://127.0.0.1:9/realms/a".to_owned(),
            audience_file: Some("/nowhere/client-id.txt".to_owned()),
            ..JwtValidation::default()
        };
        let told = TokenGate::new(&config, None).unwrap().problem().unwrap();
        for part in ["the client ID of this agent is not known yet; ", "there are no keys of the issuer yet"]
        {
            assert!(told.contains(part), "{told}");
        }
    }
}
