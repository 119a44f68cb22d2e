//! What an access token must be to be accepted. Plain data, the same for every request.

use countersign_core::jws::{Algorithm, AlgorithmSet};
use countersign_core::limits::CLOCK_SKEW_MAX;
use countersign_core::time::Seconds;

/// The rules for the tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// Must equal `iss`, character for character.
    pub issuer: String,
    /// One of them must be in `aud`; with none, no token is accepted.
    pub audiences: Vec<String>,
    /// Allowed signature algorithms.
    pub algorithms: AlgorithmSet,
    /// Clients (`azp`, else `client_id`) that are admitted; `None` admits all.
    pub clients: Option<Vec<String>>,
    /// Scopes that every token must have.
    pub scopes: Vec<String>,
    /// How far the clocks may differ; at most [`CLOCK_SKEW_MAX`] counts.
    pub skew: Seconds,
}

impl TokenPolicy {
    /// Tokens of `issuer` for one of `audiences`, signed with any algorithm known here, clocks within 30 s.
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

    /// The tolerated difference, bounded.
    pub(super) fn skew(&self) -> Seconds {
        self.skew.min(CLOCK_SKEW_MAX)
    }
}
