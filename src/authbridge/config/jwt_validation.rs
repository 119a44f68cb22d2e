//! The configuration of the plugin `jwt-validation`.

use super::duration::GoDuration;
use crate::limits::CLOCK_SKEW;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Judges the tokens of requests to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct JwtValidation {
    /// Must equal `iss` exactly.
    pub issuer: String,
    /// Where the keys are; by default Keycloak's address below `keycloak_url` or the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// Keycloak as seen from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keycloak_url: Option<String>,
    /// Its realm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keycloak_realm: Option<String>,
    /// An accepted audience, if there is no `audience_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// A file with an accepted audience, if there is no `audience`; `/shared/client-id.txt` when none is given otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_file: Option<String>,
    /// More accepted audiences.
    pub allowed_audiences: Vec<String>,
    /// Where the audience comes from.
    pub audience_mode: AudienceMode,
    /// Paths without a token.
    pub bypass_paths: Vec<String>,
    /// Not supported: the token always goes to the agent as it came.
    pub placeholder_mode: bool,
    /// Read with `placeholder_mode`.
    pub placeholder_ttl: GoDuration,
    /// Clients (`azp`) whose tokens are admitted; absent admits all (ours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_clients: Option<Vec<String>>,
    /// Scopes that every token must have (ours).
    pub required_scopes: Vec<String>,
    /// How far the issuer's clock may differ, at most one minute (ours).
    pub clock_skew: GoDuration,
    /// How long keys count that could not be fetched again, 6m to 720h (ours).
    pub jwks_max_age: GoDuration,
}

/// Where the accepted audience comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AudienceMode {
    /// From this configuration.
    #[default]
    Static,
    /// Known, and refused with the mode waypoint.
    PerHost,
}

impl Default for JwtValidation {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            jwks_url: None,
            keycloak_url: None,
            keycloak_realm: None,
            audience: None,
            audience_file: None,
            allowed_audiences: Vec::new(),
            audience_mode: AudienceMode::Static,
            bypass_paths: ["/.well-known/*", "/healthz", "/readyz", "/livez"].map(str::to_owned).to_vec(),
            placeholder_mode: false,
            placeholder_ttl: GoDuration::from_secs(3600),
            allowed_clients: None,
            required_scopes: Vec::new(),
            clock_skew: GoDuration::from_secs(u64::from(CLOCK_SKEW)),
            jwks_max_age: GoDuration::from_secs(3600),
        }
    }
}

/// URL below which Keycloak has the OIDC `endpoint` of a realm.
pub(crate) fn keycloak_endpoint(url: &str, realm: &str, endpoint: &str) -> String {
    format!("{}/realms/{realm}/protocol/openid-connect/{endpoint}", url.trim_end_matches('/'))
}

impl JwtValidation {
    /// URL of the issuer's key set.
    pub fn key_set_url(&self) -> String {
        match (&self.jwks_url, &self.keycloak_url, &self.keycloak_realm) {
            (Some(url), _, _) => url.clone(),
            (None, Some(url), Some(realm)) => keycloak_endpoint(url, realm, "certs"),
            _ => format!("{}/protocol/openid-connect/certs", self.issuer.trim_end_matches('/')),
        }
    }

    /// File with an accepted audience; `None` if audiences are configured and no file is.
    pub fn audience_path(&self) -> Option<&str> {
        let configured = self.audience.is_some() || !self.allowed_audiences.is_empty();
        match &self.audience_file {
            Some(file) => Some(file),
            None if configured => None,
            None => Some("/shared/client-id.txt"),
        }
    }
}
