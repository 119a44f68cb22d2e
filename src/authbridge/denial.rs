//! The answers that AuthBridge gives itself: a stable code, a status, and one sentence, as JSON.
//! The codes are those of the existing AuthBridge; `reason` is ours and finer.

use countersign_core::refusal::{Reason, Refusal};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::json;

/// Which answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Code {
    /// There is no token.
    MissingToken,
    /// The token is not acceptable.
    InvalidToken,
    /// The token is for somebody else.
    AudienceMismatch,
    /// The token, or its client, may not do this.
    Forbidden,
    /// Nobody can be judged now.
    CannotVerify,
    /// The request is not clear.
    BadRequest,
    /// There are too many.
    Overloaded,
    /// The other end cannot be reached.
    Unreachable,
    /// The other end is not who it should be.
    WrongPeer,
    /// The other end changes the protocol without being asked.
    WrongProtocol,
    /// No token could be had.
    ExchangeFailed,
    /// The other end took too long.
    Timeout,
}

impl Code {
    /// Every code, in the order of declaration.
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

    /// The code as it stands in answers, metrics and logs.
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

    /// The status of the answer.
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

/// One such answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    /// Which one.
    pub code: Code,
    /// What was checked and found; shown to the caller, so without anything secret.
    pub message: String,
    /// The plugin that decided, if one did.
    pub plugin: Option<&'static str>,
    /// Why, in the words that the whole project shares.
    pub reason: Option<Reason>,
}

impl Denial {
    /// An answer that no plugin decided.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), plugin: None, reason: None }
    }

    /// The answer for a request that was refused.
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

    /// The same, decided by a plugin.
    #[must_use]
    pub(super) fn by(self, plugin: &'static str) -> Self {
        Self { plugin: Some(plugin), ..self }
    }

    /// The body.
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

    /// `WWW-Authenticate` (RFC 6750 §3), where one is due.
    pub(super) fn challenge(&self) -> Option<HeaderValue> {
        let error = self.code.challenge().filter(|_| self.plugin == Some("jwt-validation"))?;
        // What is described stands in the body; a quoted string here would need an escape of its own.
        Some(match error {
            "invalid_token" => HeaderValue::from_static("Bearer error=\"invalid_token\""),
            "insufficient_scope" => HeaderValue::from_static("Bearer error=\"insufficient_scope\""),
            _ => HeaderValue::from_static("Bearer"),
        })
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
