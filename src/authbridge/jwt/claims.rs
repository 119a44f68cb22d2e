//! Claims of an access token, parsed strictly: a claim of the wrong type refuses the token.
//! Claims without an effect here are not read, since issuers add their own.

use crate::limits::{CLAIMS, TOKEN_BYTES, TOKEN_LIST_ITEMS};
use countersign_core::encoding::{Digest, decode_base64url};
use countersign_core::json::{Document, Numbers, Object, Value};
use countersign_core::jws::parse_numeric_date;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;

/// Claims of a token whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`, as a list even where the token has one string.
    pub audiences: Vec<String>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `azp`, or `client_id` (RFC 9068 §2.2) where there is no `azp`.
    pub client: Option<String>,
    /// Scopes, from `scope`.
    pub scopes: Vec<String>,
    /// `cnf`: key that the caller must prove to have.
    pub confirmation: Option<Confirmation>,
}

/// Key to which a token is bound (RFC 7800).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// `x5t#S256`: the client certificate with this digest (RFC 8705 §3.1).
    Certificate(Digest),
    /// Another confirmation, such as a `DPoP` key. It cannot be verified here, so the token is refused: accepting it
    /// would turn a bound token into a bearer token.
    Other,
}

/// Parses the payload of a token. The caller verifies the signature first.
pub(super) fn parse_claims(payload: Vec<u8>) -> Result<Claims, Refusal> {
    let document = Document::parse(payload, &CLAIMS, Numbers::Binary64)?;
    let claims = document.root().as_object().ok_or_else(|| malformed("the payload is not an object"))?;
    refuse_other_kinds(claims)?;
    let issuer = text(claims, "iss")?.ok_or_else(|| {
        Refusal::new(Reason::TokenIssuer, "the token has no `iss`, so its issuer is not known")
    })?;
    let expires_at = time(claims, "exp")?
        .ok_or_else(|| Refusal::new(Reason::TokenExpired, "the token has no `exp` and would never expire"))?;
    let client = match text(claims, "azp")? {
        Some(client) => Some(client),
        None => text(claims, "client_id")?,
    };
    Ok(Claims {
        issuer,
        subject: text(claims, "sub")?,
        audiences: audiences(claims)?,
        expires_at,
        not_before: time(claims, "nbf")?,
        issued_at: time(claims, "iat")?,
        client,
        scopes: scopes(claims)?,
        confirmation: confirmation(claims)?,
    })
}

/// Expiry that a token claims, without verification. It may only shorten the life of something, and decides nothing else.
pub fn unverified_expiry(token: &str) -> Option<Timestamp> {
    let payload = token.split('.').nth(1).filter(|_| token.len() <= TOKEN_BYTES)?;
    let document = Document::parse(decode_base64url(payload).ok()?, &CLAIMS, Numbers::Binary64).ok()?;
    time(document.root().as_object()?, "exp").ok().flatten()
}

/// Refuses ID, refresh and logout tokens, which one issuer signs with the same keys. Keycloak marks its tokens in `typ`;
/// `at_hash` or `c_hash` marks an ID token of any issuer (OIDC Core §3.3.2.11).
fn refuse_other_kinds(claims: Object<'_>) -> Result<(), Refusal> {
    let refuse = |found: String| Err(Refusal::new(Reason::TokenKind, found));
    match claims.get("typ").map(Value::as_str) {
        None | Some(Some("Bearer" | "bearer" | "DPoP")) => {}
        Some(Some(kind)) => return refuse(format!("the claim `typ` is {}, not \"Bearer\"", Quoted(kind))),
        Some(None) => return refuse("the claim `typ` is not a string".to_owned()),
    }
    match ["at_hash", "c_hash"].iter().find(|name| claims.get(name).is_some()) {
        Some(name) => refuse(format!("the claim `{name}` marks an ID token")),
        None => Ok(()),
    }
}

fn malformed(problem: &str) -> Refusal {
    Refusal::new(Reason::TokenMalformed, problem)
}

fn text(claims: Object<'_>, name: &str) -> Result<Option<String>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(|text| Some(text.to_owned()))
            .ok_or_else(|| malformed(&format!("`{name}` is {}, not a string", value.kind().name()))),
    }
}

fn time(claims: Object<'_>, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let time = parse_numeric_date(value)
        .ok_or_else(|| malformed(&format!("`{name}` is not a number of seconds since 1970")))?;
    Ok(Some(time))
}

/// Parses `aud`, a string or an array of strings (RFC 7519 §4.1.3).
fn audiences(claims: Object<'_>) -> Result<Vec<String>, Refusal> {
    let Some(value) = claims.get("aud") else { return Ok(Vec::new()) };
    if let Some(one) = value.as_str() {
        return Ok(vec![one.to_owned()]);
    }
    let list = value.as_array().ok_or_else(|| malformed("`aud` is neither a string nor an array"))?;
    if list.len() > TOKEN_LIST_ITEMS {
        return Err(malformed(&format!("`aud` has more than {TOKEN_LIST_ITEMS} entries")));
    }
    let all: Option<Vec<String>> = list.iter().map(|one| one.as_str().map(str::to_owned)).collect();
    all.ok_or_else(|| malformed("`aud` has an entry that is not a string"))
}

/// Parses `scope`, a string of scopes with spaces between (RFC 8693 §4.2).
fn scopes(claims: Object<'_>) -> Result<Vec<String>, Refusal> {
    let all = text(claims, "scope")?.unwrap_or_default();
    let words: Vec<String> = all.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if words.len() > TOKEN_LIST_ITEMS {
        return Err(malformed(&format!("`scope` has more than {TOKEN_LIST_ITEMS} words")));
    }
    Ok(words)
}

fn confirmation(claims: Object<'_>) -> Result<Option<Confirmation>, Refusal> {
    let Some(value) = claims.get("cnf") else { return Ok(None) };
    let members = value.as_object().ok_or_else(|| malformed("`cnf` is not an object"))?;
    let thumbprint = match (members.get("x5t#S256"), members.len()) {
        (Some(thumbprint), 1) => thumbprint.as_str(),
        _ => return Ok(Some(Confirmation::Other)),
    };
    let bytes = thumbprint.map(decode_base64url).transpose()?;
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or_else(|| malformed("`x5t#S256` in `cnf` is not the base64url of 32 bytes"))?;
    Ok(Some(Confirmation::Certificate(Digest::from_bytes(bytes))))
}
