//! Responses of token endpoints (RFC 6749 §5, RFC 8693 §2.2), parsed strictly: a token that cannot be sent as a bearer
//! token (RFC 6750 §2.1) is an error, and not put into a header.

use crate::limits::{TOKEN_BYTES, TOKEN_RESPONSE};
use countersign_core::json::{Document, Numbers, Value};
use countersign_core::limits::QUOTED_CHARS;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_core::time::Seconds;

/// Token types that an access token may have (RFC 8693 §3).
const KINDS: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"];

/// Access token with its lifetime.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenResponse {
    /// Token of visible ASCII characters.
    pub token: String,
    /// `expires_in`; a token without it is not cached.
    pub lifetime: Option<Seconds>,
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Parses the body of a successful response.
///
/// `TokenResponseMalformed` when it has no bearer access token.
pub fn parse_token_response(body: Vec<u8>) -> Result<TokenResponse, Refusal> {
    let document = Document::parse(body, &TOKEN_RESPONSE, Numbers::Binary64)
        .map_err(|refusal| malformed(refusal.message()))?;
    let members = document.root().as_object().ok_or_else(|| malformed("it is not an object"))?;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let token = text("access_token").ok_or_else(|| malformed("it has no `access_token`"))?;
    let visible = token.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if token.is_empty() || token.len() > TOKEN_BYTES || !visible {
        return Err(malformed("its `access_token` is empty, too long, or not visible ASCII"));
    }
    // RFC 8693 §2.2.1: the type `N_A` marks an issued token that is not an access token.
    let kind = text("token_type").ok_or_else(|| malformed("it has no `token_type`"))?;
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(malformed(&format!("its `token_type` is {}, not Bearer", Quoted(kind))));
    }
    match members.get("issued_token_type") {
        Some(issued) if !issued.as_str().is_some_and(|issued| KINDS.contains(&issued)) => {
            return Err(malformed("its `issued_token_type` is not that of an access token"));
        }
        _ => {}
    }
    let lifetime = match members.get("expires_in") {
        None => None,
        Some(seconds) => {
            let seconds =
                seconds.as_u53().ok_or_else(|| malformed("its `expires_in` is not a whole number"))?;
            Some(Seconds::new(u32::try_from(seconds).unwrap_or(u32::MAX)))
        }
    };
    Ok(TokenResponse { token: token.to_owned(), lifetime })
}

/// `error` of an error response (RFC 6749 §5.2), bounded. The description is left out, because it may repeat what was
/// sent.
pub fn parse_token_error(body: Vec<u8>) -> Option<String> {
    let document = Document::parse(body, &TOKEN_RESPONSE, Numbers::Binary64).ok()?;
    let error = document.root().as_object()?.get("error")?.as_str()?;
    let plain = error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (plain && error.len() <= QUOTED_CHARS).then(|| error.to_owned())
}

fn malformed(problem: &str) -> Refusal {
    Refusal::new(
        Reason::TokenResponseMalformed,
        format!("the token endpoint's answer is not usable: {problem}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_and_its_lifetime_are_read() {
        let body = br#"{"access_token":"a.b.c","token_type":"bearer","expires_in":300,"x":1}"#;
        let read = parse_token_response(body.to_vec()).unwrap();
        assert_eq!((read.token.as_str(), read.lifetime), ("a.b.c", Some(Seconds::new(300))));
        assert!(!format!("{read:?}").contains("a.b.c"));
    }

    #[test]
    fn what_cannot_be_sent_as_a_bearer_token_is_none() {
        for body in [
            "",
            "[]",
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nX: y","token_type":"Bearer"}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","token_type":"N_A"}"#,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"300"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"a","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:id_token"}"#,
        ] {
            let refusal = parse_token_response(body.as_bytes().to_vec()).expect_err(body);
            assert_eq!(refusal.reason(), Reason::TokenResponseMalformed, "{body}");
        }
    }

    #[test]
    fn an_error_is_repeated_only_if_it_is_a_word() {
        assert_eq!(
            parse_token_error(br#"{"error":"invalid_scope"}"#.to_vec()).as_deref(),
            Some("invalid_scope")
        );
        assert_eq!(parse_token_error(br#"{"error":"<b>"}"#.to_vec()), None);
        assert_eq!(parse_token_error(b"no".to_vec()), None);
    }
}
