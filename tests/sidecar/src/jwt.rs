//! Tokens of a test's own: any header, any claims, signed by keys that are published as a JWKS.
//! Also looks into tokens of others, without judging them.

mod key;

pub use key::SigningKey;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Result<Value> {
    part(token, 1)
}

/// The header of a token, unverified.
pub fn header(token: &str) -> Result<Value> {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Result<Value> {
    let text = token.split('.').nth(index).context("not a token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).context("not base64url")?)?)
}

/// Seconds since 1970, for `exp`, `nbf` and `iat`.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The claims of an ordinary token that lives for five minutes; members can be set or removed afterwards.
pub fn ordinary_claims(issuer: &str, audience: &str, subject: &str) -> Value {
    let now = now();
    json!({"iss": issuer, "aud": audience, "sub": subject, "iat": now, "exp": now + 300})
}

/// A token without a signature (`alg` `none` unless the header says otherwise).
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", base64url(header.to_string()), base64url(claims.to_string()))
}

/// The public keys as a JWKS.
pub fn jwks(keys: &[&SigningKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public_jwk()).collect::<Vec<_>>()})
}

/// Bytes as base64url without padding.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
