//! Verification of a token: form, header, key and signature, then claims against the policy.
//! The result can be cached; its times and its caller are checked again at each use.

use super::claims::{Claims, Confirmation, parse_claims};
use super::key_set::KeySet;
use super::policy::TokenPolicy;
use crate::limits::TOKEN_BYTES;
use countersign_core::encoding::{Digest, decode_base64url, sha256};
use countersign_core::jws::{parse_token_header, verify_signature};
use countersign_core::limits::SIGNATURE_TEXT_BYTES;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::text::Quoted;
use countersign_core::time::{Seconds, Timestamp};

/// Proof that the issuer signed a token and that the policy accepts it. Only [`verify_token`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    claims: Claims,
    user: Option<Digest>,
    skew: Seconds,
}

impl VerifiedToken {
    /// Claims of the token.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Digest of issuer and subject, by which users are told apart; `None` for a token without a subject.
    pub const fn user(&self) -> Option<Digest> {
        self.user
    }

    /// First second in which the token no longer counts: its expiry, and the clock skew that is granted.
    pub fn ends_at(&self) -> Timestamp {
        self.claims.expires_at.plus(self.skew)
    }

    /// Checks the times of the token. Due at each use, because the proof may come from a cache.
    pub fn check_times(&self, now: Timestamp) -> Result<(), Refusal> {
        let Claims { expires_at, not_before, issued_at, .. } = &self.claims;
        if now >= self.ends_at() {
            let found = format!("the token expired at {expires_at}, {} s ago", now.since(*expires_at));
            return Err(Refusal::new(Reason::TokenExpired, found));
        }
        // An `iat` in the future means a wrong clock or a forged claim, so it is refused like an `nbf` in the future.
        for (name, start) in [("nbf", not_before), ("iat", issued_at)] {
            if let Some(start) = start.filter(|start| *start > now.plus(self.skew)) {
                let found = format!("`{name}` of the token is {start}, {} s from now", start.since(now));
                return Err(Refusal::new(Reason::TokenNotYetValid, found));
            }
        }
        Ok(())
    }

    /// Checks that the caller may use the token: one bound to a certificate needs that certificate (RFC 8705 §3), and one
    /// issued to a SPIFFE ID may not come from another. `peer` is the ID and leaf digest that mTLS proved, if it did.
    pub fn check_caller(&self, peer: Option<(&SpiffeId, Digest)>) -> Result<(), Refusal> {
        let refuse = |found: &str| Err(Refusal::new(Reason::TokenBinding, found));
        match (self.claims.confirmation, peer) {
            (None, _) => {}
            (Some(Confirmation::Certificate(wanted)), Some((_, shown))) if wanted == shown => {}
            (Some(Confirmation::Certificate(_)), Some(_)) => {
                return refuse("the token is bound to another certificate than the caller's");
            }
            (Some(Confirmation::Certificate(_)), None) => {
                return refuse("the token is bound to a certificate, and the caller showed none");
            }
            (Some(Confirmation::Other), _) => {
                return refuse("the token is bound to a key that cannot be checked here");
            }
        }
        let party = self.claims.client.as_deref().filter(|client| client.starts_with("spiffe://"));
        match (party, peer) {
            (Some(party), Some((peer, _))) if party != peer.as_str() => {
                let found = format!("the token was made for {}, the caller is {peer}", Quoted(party));
                Err(Refusal::new(Reason::TokenBinding, found))
            }
            _ => Ok(()),
        }
    }
}

/// Verifies a token in compact form, and its times at `now`.
///
/// `TokenKeyUnknown` when `keys` has no key for it, `SignatureInvalid` when none of its name made the signature: the
/// refusals after which a newer key set may help.
pub fn verify_token(
    token: &str,
    keys: &KeySet,
    policy: &TokenPolicy,
    now: Timestamp,
) -> Result<VerifiedToken, Refusal> {
    if token.len() > TOKEN_BYTES {
        let found = format!("the token has {} bytes, the limit is {TOKEN_BYTES}", token.len());
        return Err(Refusal::new(Reason::TokenMalformed, found));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(not_compact)?;
    let (header, payload) = signed.split_once('.').ok_or_else(not_compact)?;
    if payload.contains('.') || signature.len() > SIGNATURE_TEXT_BYTES {
        return Err(not_compact());
    }
    verify_signed(header, signed, signature, keys, policy)?;
    let claims = parse_claims(decode_base64url(payload)?)?;
    check_policy(&claims, policy)?;
    let verified = VerifiedToken { user: user(&claims), claims, skew: policy.skew() };
    verified.check_times(now)?;
    Ok(verified)
}

fn user(claims: &Claims) -> Option<Digest> {
    let subject = claims.subject.as_deref()?;
    let issuer = sha256(claims.issuer.as_bytes());
    Some(sha256(&[issuer.as_bytes().as_slice(), subject.as_bytes()].concat()))
}

fn not_compact() -> Refusal {
    Refusal::new(Reason::TokenMalformed, "the token is not three base64url parts with dots between")
}

fn verify_signed(
    header: &str,
    signed: &str,
    signature: &str,
    keys: &KeySet,
    policy: &TokenPolicy,
) -> Result<(), Refusal> {
    let (algorithm, key_id) = parse_token_header(header, policy.algorithms)?;
    let signature = decode_base64url(signature)?;
    let mut result = Err(None);
    for key in keys.find(key_id.as_deref(), algorithm) {
        result = verify_signature(algorithm, key, signed.as_bytes(), &signature).map_err(Some);
        if result.is_ok() {
            break;
        }
    }
    result.map_err(|refusal| {
        refusal.unwrap_or_else(|| {
            let id =
                key_id.as_deref().map_or_else(|| "no `kid`".to_owned(), |id| format!("`kid` {}", Quoted(id)));
            let found = format!(
                "the token has {id} and is signed with {algorithm}; none of the issuer's {} keys is that one",
                keys.len()
            );
            Refusal::new(Reason::TokenKeyUnknown, found)
        })
    })
}

fn check_policy(claims: &Claims, policy: &TokenPolicy) -> Result<(), Refusal> {
    if claims.issuer != policy.issuer {
        let found = format!("`iss` is {}, expected {}", Quoted(&claims.issuer), Quoted(&policy.issuer));
        return Err(Refusal::new(Reason::TokenIssuer, found));
    }
    if !claims.audiences.iter().any(|audience| policy.audiences.contains(audience)) {
        let found =
            format!("`aud` is {}, expected one of {}", listed(&claims.audiences), listed(&policy.audiences));
        return Err(Refusal::new(Reason::TokenAudience, found));
    }
    let admitted = |clients: &Vec<String>| claims.client.as_ref().is_some_and(|one| clients.contains(one));
    if policy.clients.as_ref().is_some_and(|clients| !admitted(clients)) {
        let client = claims.client.as_deref().unwrap_or_default();
        let found = format!("the token was made for the client {}, which is not admitted", Quoted(client));
        return Err(Refusal::new(Reason::TokenParty, found));
    }
    match policy.scopes.iter().find(|scope| !claims.scopes.contains(scope)) {
        Some(scope) => {
            let found = format!("`scope` does not contain {}", Quoted(scope));
            Err(Refusal::new(Reason::TokenScope, found))
        }
        None => Ok(()),
    }
}

fn listed(texts: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut list: Vec<String> = texts.iter().take(SHOWN).map(|text| Quoted(text).to_string()).collect();
    if texts.len() > SHOWN {
        list.push(format!("{} more", texts.len().saturating_sub(SHOWN)));
    }
    if list.is_empty() { "absent".to_owned() } else { list.join(", ") }
}
