//! Policy for access tokens: plain data, the same for every request.

use countersign_core::jws::{Algorithm, AlgorithmSet};
use countersign_core::limits::CLOCK_SKEW_MAX;
use countersign_core::time::Seconds;

/// Policy for the tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// Issuer, equal to `iss` character for character (RFC 9068 §4).
    pub issuer: String,
    /// Accepted audiences, of which `aud` must have one; an empty list accepts no token.
    pub audiences: Vec<String>,
    /// Allowed signature algorithms.
    pub algorithms: AlgorithmSet,
    /// Clients (`azp`, else `client_id`) that are admitted; `None` admits all.
    pub clients: Option<Vec<String>>,
    /// Scopes that each token must have.
    pub scopes: Vec<String>,
    /// Tolerated clock difference, capped at [`CLOCK_SKEW_MAX`].
    pub skew: Seconds,
}

impl TokenPolicy {
    /// A policy for tokens of `issuer` for one of `audiences`: any algorithm of the core, clocks within 30 s.
    pub fn new(issuer: impl Into<String>, audiences: Vec<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences,
            algorithms: Algorithm::ALL.into_iter().collect(),
            clients: None,
            scopes: Vec::new(),
            skew: Seconds::new(30),
        }
    }

    /// Tolerated clock difference after the cap.
    pub(super) fn skew(&self) -> Seconds {
        self.skew.min(CLOCK_SKEW_MAX)
    }
}
