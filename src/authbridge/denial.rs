//! Error responses of AuthBridge itself: a stable code, a status, and one sentence, as JSON.
//! The codes are those of the existing AuthBridge; `reason` is an addition and finer.

use countersign_core::refusal::{Reason, Refusal};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::json;
use std::io;

/// Stable code of an error response; callers, metrics and logs match on its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Code {
    /// The request carries no token.
    MissingToken,
    /// The token is malformed, expired, not signed by the issuer, or of another kind.
    InvalidToken,
    /// The token names other audiences than this agent.
    AudienceMismatch,
    /// The token, its client, or the peer is authentic and not allowed to do this.
    Forbidden,
    /// Nothing can be verified now, because keys, an identity or an attribute of Envoy are missing.
    CannotVerify,
    /// The request is ambiguous or malformed, so two readers could understand it differently.
    BadRequest,
    /// There is no room for the connection or the request: requests are under way on all that its peer, or everybody, may have, too many wait to
    /// replace one, or the sidecar is stopping.
    Overloaded,
    /// No connection to the agent or server, or it broke off.
    Unreachable,
    /// The server does not prove the identity that is expected of it.
    WrongPeer,
    /// The other end switches to a protocol that was not requested.
    WrongProtocol,
    /// The token endpoint gave no usable token.
    ExchangeFailed,
    /// The agent or server did not begin its answer in `limits.response_timeout`.
    Timeout,
}

impl Code {
    /// Every code, in the order of declaration; counters are indexed by it.
    pub(super) const ALL: [Self; 12] = [
        Self::MissingToken,
        Self::InvalidToken,
        Self::AudienceMismatch,
        Self::Forbidden,
        Self::CannotVerify,
        Self::BadRequest,
        Self::Overloaded,
        Self::Unreachable,
        Self::WrongPeer,
        Self::WrongProtocol,
        Self::ExchangeFailed,
        Self::Timeout,
    ];

    /// Text of the code in answers, metrics and logs. It is part of the interface and never changes.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::MissingToken => "auth.missing-token",
            Self::InvalidToken => "auth.invalid-token",
            Self::AudienceMismatch => "auth.audience-mismatch",
            Self::Forbidden => "policy.forbidden",
            Self::CannotVerify => "auth.unavailable",
            Self::BadRequest => "request.invalid",
            Self::Overloaded => "request.overloaded",
            Self::Unreachable => "upstream.unreachable",
            Self::WrongPeer => "upstream.wrong-peer",
            Self::WrongProtocol => "upstream.wrong-protocol",
            Self::ExchangeFailed => "upstream.token-exchange-failed",
            Self::Timeout => "upstream.timeout",
        }
    }

    /// HTTP status of the response.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::MissingToken | Self::InvalidToken | Self::AudienceMismatch => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::CannotVerify | Self::Overloaded | Self::Unreachable | Self::ExchangeFailed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::WrongPeer | Self::WrongProtocol => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The `error` of RFC 6750 §3.1 that a challenge names; `None` where no challenge is due, an empty one where
    /// the request had no token.
    const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::MissingToken => Some(""),
            Self::InvalidToken | Self::AudienceMismatch => Some("invalid_token"),
            Self::Forbidden => Some("insufficient_scope"),
            _ => None,
        }
    }
}

/// Error response before it is written: its code, and what a caller may know about the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    /// Selects status and challenge.
    pub code: Code,
    /// One sentence for the caller: what was checked and found, without anything secret.
    pub message: String,
    /// Plugin that refused; `None` where the proxy itself did.
    pub plugin: Option<&'static str>,
    /// Reason code of the core, with its hint at a fix.
    pub reason: Option<Reason>,
}

impl Denial {
    /// A response of the proxy itself, without plugin and reason.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), plugin: None, reason: None }
    }

    /// The response for a refusal of the core by `plugin`.
    pub(super) fn refused(plugin: &'static str, refusal: &Refusal) -> Self {
        let code = match refusal.reason() {
            Reason::PathAmbiguous => Code::BadRequest,
            Reason::TokenAudience => Code::AudienceMismatch,
            Reason::TokenScope | Reason::TokenParty => Code::Forbidden,
            Reason::KeySetMalformed => Code::CannotVerify,
            _ => Code::InvalidToken,
        };
        let message = refusal.message().to_owned();
        Self { code, message, plugin: Some(plugin), reason: Some(refusal.reason()) }
    }

    /// Names the plugin that refused.
    #[must_use]
    pub(super) fn by(self, plugin: &'static str) -> Self {
        Self { plugin: Some(plugin), ..self }
    }

    /// JSON body of the response.
    pub(super) fn body(&self) -> String {
        let mut body = json!({ "error": self.code.text(), "message": self.message });
        if let Some(members) = body.as_object_mut() {
            if let Some(plugin) = self.plugin {
                members.insert("plugin".to_owned(), plugin.into());
            }
            if let Some(reason) = self.reason {
                members.insert("reason".to_owned(), reason.code().into());
                members.insert("fix".to_owned(), reason.fix().into());
            }
        }
        body.to_string()
    }

    /// `WWW-Authenticate` (RFC 6750 §3). Only the gate for requests to the agent challenges: towards the agent this
    /// is a proxy, and not the resource that the token is for.
    pub(super) fn challenge(&self) -> Option<HeaderValue> {
        let error = self.code.challenge().filter(|_| self.plugin == Some("jwt-validation"))?;
        // No `error_description`: the body has the sentence, and a quoted string would need an escape of its own.
        Some(match error {
            "invalid_token" => HeaderValue::from_static("Bearer error=\"invalid_token\""),
            "insufficient_scope" => HeaderValue::from_static("Bearer error=\"insufficient_scope\""),
            _ => HeaderValue::from_static("Bearer"),
        })
    }
}

/// A route denies the address to which the name of a host leads; found only when the connection is made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a route denies the address of this host")]
pub(super) struct DeniedAddress;

impl DeniedAddress {
    /// True if a connection failed because of it.
    pub(super) fn caused(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(inner) if inner.is::<Self>())
    }

    /// The response for it.
    pub(super) fn denial(self) -> Denial {
        Denial::new(Code::Forbidden, self.to_string()).by("token-exchange")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_its_code_its_plugin_and_the_way_out() {
        let refusal = Refusal::new(Reason::TokenExpired, "it expired\n");
        let denial = Denial::refused("jwt-validation", &refusal);
        let body: serde_json::Value = serde_json::from_str(&denial.body()).unwrap();
        assert_eq!((&body["error"], &body["reason"]), (&json!("auth.invalid-token"), &json!("TokenExpired")));
        assert_eq!(body["message"], "it expired\u{fffd}");
        assert_eq!(denial.challenge().unwrap(), "Bearer error=\"invalid_token\"");
        let missing = Denial::new(Code::MissingToken, "none").by("jwt-validation");
        assert_eq!(missing.challenge().unwrap(), "Bearer");
        assert_eq!(Denial::new(Code::MissingToken, "none").by("token-exchange").challenge(), None);
    }

    #[test]
    fn codes_are_unique_and_every_one_is_an_error() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.text()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.status().as_u16() >= 400));
    }
}
