//! Parsing of the JWS headers of one signature (rules 12, 13, 20–28).
//! Only parameters of the protected header that this module names influence a verification.

use super::algorithm::{Algorithm, AlgorithmSet};
use crate::canon::Profile;
use crate::encoding::{Digest, decode_base64url};
use crate::json::{Document, JsonLimits, Kind, Numbers, Object, Value};
use crate::limits::{HEADER_PARAMETERS, KEY_ID_CHARS, PROTECTED_DECODED_BYTES};
use crate::refusal::{Reason, Refusal};
use crate::text::{Quoted, is_unsafe_for_display};
use crate::time::Timestamp;
use crate::x509::decode_x5c;

/// Parameter of the protected header that names the profile of the signed form, by [`Profile::id`]. The name belongs to a
/// domain, because no registered parameter says this (RFC 7515 §4.2; rule 48).
pub const FORM_PARAMETER: &str = "countersign.dev/form";

/// The parameters of a protected header that a verifier uses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Header {
    /// `alg`, the signature algorithm, which the allow-list contains (rule 13).
    pub algorithm: Algorithm,
    /// `kid`, the key ID: selects a pinned key of the policy, and is shown in results. `None` only if the policy does
    /// not require a `kid` (rule 25).
    pub key_id: Option<String>,
    /// The certificates of `x5c`: DER, leaf first.
    pub chain: Option<Vec<Vec<u8>>>,
    /// `x5t#S256`, which must be the SHA-256 of the leaf (rule 26).
    pub thumbprint: Option<Digest>,
    /// `iat`, the time at which the signer claims to have signed.
    pub issued_at: Option<Timestamp>,
    /// `exp`, the time at which the signature ends.
    pub expires_at: Option<Timestamp>,
    /// The profile of the form that the signer says was signed ([`FORM_PARAMETER`]).
    pub form: Option<Profile>,
}

/// Parameters that refuse a signature if its unprotected header has one: other readers would act on them (rule 22).
const PROTECTED_ONLY: [&str; 12] =
    ["alg", "kid", "typ", "x5c", "jku", "jwk", "x5u", "x5t", "x5t#S256", "iat", "exp", FORM_PARAMETER];

/// Parses the headers of one signature; fails for the first of rules 12 to 28 that they break.
pub fn parse_header(
    protected: &str,
    unprotected: Option<Object<'_>>,
    allowed: AlgorithmSet,
    require_key_id: bool,
) -> Result<Header, Refusal> {
    let document = read_protected(protected)?;
    let header = root(&document)?;
    refuse_extensions(header)?;
    if let Some(unprotected) = unprotected {
        refuse_extensions(unprotected)?;
        refuse_shadowing(header, unprotected)?;
    }
    refuse_foreign_type(header, &["JOSE", "JOSE+JSON", "JWT"])?;
    let algorithm = algorithm(header, allowed)?;
    refuse_own_key(header)?;
    Ok(Header {
        algorithm,
        key_id: key_id(header, require_key_id)?,
        chain: chain(header)?,
        thumbprint: thumbprint(header)?,
        issued_at: time(header, "iat")?,
        expires_at: time(header, "exp")?,
        form: form(header)?,
    })
}

/// Parses the header of an access token and returns algorithm and key ID. `typ` is that of RFC 7519 §5.1 or RFC 9068
/// §2.1.
pub fn parse_token_header(
    protected: &str,
    allowed: AlgorithmSet,
) -> Result<(Algorithm, Option<String>), Refusal> {
    let document = read_protected(protected)?;
    let header = root(&document)?;
    refuse_extensions(header)?;
    refuse_foreign_type(header, &["JWT", "at+jwt", "application/at+jwt"])?;
    let algorithm = algorithm(header, allowed)?;
    refuse_own_key(header)?;
    Ok((algorithm, key_id(header, false)?))
}

fn read_protected(protected: &str) -> Result<Document, Refusal> {
    let bytes = decode_base64url(protected)?;
    if bytes.len() > PROTECTED_DECODED_BYTES {
        let found =
            format!("the protected header has {} bytes; the limit is {PROTECTED_DECODED_BYTES}", bytes.len());
        return Err(Refusal::new(Reason::HeaderTooLarge, found));
    }
    Document::parse(bytes, &JsonLimits::HEADER, Numbers::Strict)
}

fn root(document: &Document) -> Result<Object<'_>, Refusal> {
    document.root().as_object().ok_or_else(|| {
        let found = format!("the protected header is {}", document.root().kind().name());
        Refusal::new(Reason::HeaderMalformed, found)
    })
}

/// Refuses `crit` and `b64` in either header, and more than [`HEADER_PARAMETERS`] (rules 20, 21 and 28; RFC 7797 §6).
fn refuse_extensions(header: Object<'_>) -> Result<(), Refusal> {
    if header.len() > HEADER_PARAMETERS {
        let found = format!("a header has {} parameters; the limit is {HEADER_PARAMETERS}", header.len());
        return Err(Refusal::new(Reason::HeaderTooLarge, found));
    }
    if header.get("crit").is_some() {
        return Err(Refusal::new(
            Reason::HeaderCritical,
            "a header contains `crit`; no extension is understood",
        ));
    }
    if header.get("b64").is_some() {
        return Err(Refusal::new(Reason::HeaderUnencodedPayload, "a header contains `b64`"));
    }
    Ok(())
}

/// Refuses parameters of the unprotected header that the protected one has, or that belong only there (rule 22; RFC
/// 7515 §7.2.1).
fn refuse_shadowing(header: Object<'_>, unprotected: Object<'_>) -> Result<(), Refusal> {
    let shadow = unprotected
        .iter()
        .map(|(name, _)| name)
        .find(|name| PROTECTED_ONLY.contains(name) || header.get(name).is_some());
    match shadow {
        Some(name) => Err(Refusal::new(
            Reason::HeaderUnprotected,
            format!("the unprotected header contains {}", Quoted(name)),
        )),
        None => Ok(()),
    }
}

/// Refuses a `typ` outside `known`, such as that of another protocol's token (rule 23; RFC 8725 §3.11). Cards may say
/// `JWT`, because `PyJWT` writes it by default.
fn refuse_foreign_type(header: Object<'_>, known: &[&str]) -> Result<(), Refusal> {
    let Some(value) = header.get("typ") else { return Ok(()) };
    match value.as_str() {
        Some(found) if known.contains(&found) => Ok(()),
        found => Err(Refusal::new(
            Reason::HeaderType,
            format!(
                "`typ` is {}",
                found.map_or_else(|| value.kind().name().to_owned(), |t| Quoted(t).to_string())
            ),
        )),
    }
}

fn algorithm(header: Object<'_>, allowed: AlgorithmSet) -> Result<Algorithm, Refusal> {
    let name = header.get("alg").and_then(Value::as_str).ok_or_else(|| {
        Refusal::new(Reason::AlgorithmMissing, "the protected header has no `alg` that is a string")
    })?;
    let algorithm = Algorithm::parse(name)?;
    if !allowed.contains(algorithm) {
        let names: Vec<_> = allowed.iter().map(Algorithm::name).collect();
        let found = format!("`alg` is {algorithm}; allowed are {}", names.join(", "));
        return Err(Refusal::new(Reason::AlgorithmNotAllowed, found));
    }
    Ok(algorithm)
}

/// Refuses `jwk`, and `jku` or `x5u` that is not a string. A URL there is ignored and never fetched: a sender must
/// choose neither the key nor a request of ours (rule 26).
fn refuse_own_key(header: Object<'_>) -> Result<(), Refusal> {
    if header.get("jwk").is_some() {
        return Err(Refusal::new(Reason::KeyInHeader, "the protected header contains `jwk`"));
    }
    for name in ["jku", "x5u"] {
        let odd = header.get(name).filter(|value| !matches!(value.kind(), Kind::String | Kind::Null));
        if let Some(value) = odd {
            let found = format!("`{name}` is {}", value.kind().name());
            return Err(Refusal::new(Reason::KeyInHeader, found));
        }
    }
    Ok(())
}

/// Reads `kid`, any short text (RFC 7515 §4.1.4). A key ID is compared and shown, never opened, so a path or URL is
/// harmless; invisible characters would make two of them look alike (rule 25; RFC 8725 §3.10).
fn key_id(header: Object<'_>, required: bool) -> Result<Option<String>, Refusal> {
    let Some(value) = header.get("kid") else {
        let missing = Refusal::new(Reason::KeyIdMalformed, "the protected header has no `kid`");
        return if required { Err(missing) } else { Ok(None) };
    };
    let text = value
        .as_str()
        .ok_or_else(|| Refusal::new(Reason::KeyIdMalformed, format!("`kid` is {}", value.kind().name())))?;
    let well_formed =
        (1..=KEY_ID_CHARS).contains(&text.chars().count()) && !text.chars().any(is_unsafe_for_display);
    if !well_formed {
        let found = format!("`kid` is {}: not 1 to {KEY_ID_CHARS} visible characters", Quoted(text));
        return Err(Refusal::new(Reason::KeyIdMalformed, found));
    }
    Ok(Some(text.to_owned()))
}

fn chain(header: Object<'_>) -> Result<Option<Vec<Vec<u8>>>, Refusal> {
    let Some(value) = header.get("x5c") else { return Ok(None) };
    let list = value
        .as_array()
        .ok_or_else(|| Refusal::new(Reason::ChainEncoding, format!("`x5c` is {}", value.kind().name())))?;
    decode_x5c(list).map(Some)
}

fn thumbprint(header: Object<'_>) -> Result<Option<Digest>, Refusal> {
    let Some(value) = header.get("x5t#S256") else { return Ok(None) };
    let digest = value.as_str().map(decode_base64url).transpose()?;
    let digest: Option<[u8; 32]> = digest.and_then(|bytes| bytes.try_into().ok());
    let digest = digest.ok_or_else(|| {
        Refusal::new(Reason::ThumbprintMismatch, "`x5t#S256` is not the base64url of 32 bytes")
    })?;
    Ok(Some(Digest::from_bytes(digest)))
}

/// Reads the name of the signed form. One that is not known here says that the signature means something else.
fn form(header: Object<'_>) -> Result<Option<Profile>, Refusal> {
    let Some(value) = header.get(FORM_PARAMETER) else { return Ok(None) };
    let found =
        value.as_str().map_or_else(|| value.kind().name().to_owned(), |name| Quoted(name).to_string());
    value.as_str().and_then(Profile::from_id).map(Some).ok_or_else(|| {
        let names = Profile::ALL.map(Profile::id).join(", ");
        Refusal::new(Reason::HeaderMalformed, format!("`{FORM_PARAMETER}` is {found}, none of {names}"))
    })
}

fn time(header: Object<'_>, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = header.get(name) else { return Ok(None) };
    let time = parse_numeric_date(value).ok_or_else(|| {
        Refusal::new(Reason::SignatureTimes, format!("`{name}` is not a number of seconds since 1970"))
    })?;
    Ok(Some(time))
}

/// Parses a `NumericDate` (RFC 7519 §2): seconds since 1970, from 0 to 2^53−1. A fraction is cut off, which ends a
/// signature or token earlier, never later.
pub fn parse_numeric_date(value: Value<'_>) -> Option<Timestamp> {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    let seconds = value.as_f64().filter(|seconds| (0.0..=LARGEST).contains(seconds))?;
    format!("{:.0}", seconds.floor()).parse().ok().map(Timestamp::from_unix)
}
