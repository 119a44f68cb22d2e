//! The configuration of the plugin `token-exchange`.

use super::jwt_validation::keycloak_endpoint;
use super::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Gives requests of the agent a token for whom they call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct TokenExchange {
    /// The token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Keycloak as seen from here; with the realm it gives the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keycloak_url: Option<String>,
    /// Its realm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keycloak_realm: Option<String>,
    /// What kind of server answers.
    pub provider: Provider,
    /// Another name of `keycloak_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_url: Option<String>,
    /// Another name of `keycloak_realm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_realm: Option<String>,
    /// What happens where no route matches.
    pub default_policy: DefaultPolicy,
    /// What happens where a route exchanges and the request has no token.
    pub no_token_policy: NoTokenPolicy,
    /// As whom tokens are asked for.
    pub identity: ClientIdentity,
    /// Who gets which token.
    pub routes: Routes,
    /// Takes the first label of the host as audience where no route names one.
    pub audience_from_host: bool,
    /// Not supported, as `placeholder_mode` is not.
    pub resolve_placeholders: bool,
}

/// What kind of server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Keycloak.
    #[default]
    Keycloak,
    /// Any server of RFC 8693.
    Generic,
}

/// What happens where no route matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DefaultPolicy {
    /// The request goes on as it is.
    #[default]
    Passthrough,
    /// The token of the request is exchanged for one whose audience is the first label of the host; needs
    /// `audience_from_host`.
    #[schemars(description = "It gets a token, whose audience comes from the host.")]
    Exchange,
    /// A request to a host that no route names is refused with 403, so that the agent reaches only hosts that a route
    /// names. The existing AuthBridge has no such value.
    #[schemars(description = "It is refused (ours).")]
    Deny,
}

/// What happens where a route exchanges and the request has no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoTokenPolicy {
    /// A request without a token is refused, because the route needs a token to exchange.
    #[schemars(description = "It is refused.")]
    #[default]
    Deny,
    /// A request without a token goes on without one; the server decides about it.
    #[schemars(description = "It goes on without.")]
    Allow,
    /// A request without a token gets one that the agent requests for itself (RFC 6749 §4.4), so that it acts as the
    /// agent and not as a user.
    #[schemars(description = "It gets a token of the agent itself.")]
    ClientCredentials,
}

/// As whom tokens are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Identity")]
pub struct ClientIdentity {
    /// By what the agent proves itself.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<IdentityKind>,
    /// The client's ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// A file with it, `/shared/client-id.txt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id_file: Option<String>,
    /// The client's secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// A file with it, `/shared/client-secret.txt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<String>,
    /// The audience of the JWT-SVID: for Keycloak the address of the realm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_audience: Option<String>,
    /// Under which name the JWT-SVID is sent.
    pub assertion_type: AssertionType,
}

/// By what the agent proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// A JWT-SVID.
    Spiffe,
    /// A secret.
    ClientSecret,
}

/// Under which name the JWT-SVID is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AssertionType {
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-spiffe`
    #[default]
    JwtSpiffe,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`
    JwtBearer,
}

/// Who gets which token: the file first, then the rules; the first match counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Routes {
    /// A file with a list of routes; it may be absent.
    pub file: String,
    /// Routes.
    pub rules: Vec<Route>,
}

impl Default for Routes {
    fn default() -> Self {
        Self { file: "/etc/authproxy/routes.yaml".to_owned(), rules: Vec::new() }
    }
}

/// What a request to some hosts gets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Route {
    /// The hosts: `*` and `?` stay within a label, `**` crosses labels, `{a,b}` is either.
    pub host: String,
    /// The audience asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_audience: Option<String>,
    /// The scopes asked for, divided by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_scopes: Option<String>,
    /// Another token endpoint than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// What is done; `exchange` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The old form of `action: passthrough`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<bool>,
    /// The resource asked for (RFC 8707; ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// How the server is reached (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouteTls>,
    /// Who the server must prove to be by mTLS, written as in `mtls.allowed_peers` (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_spiffe_id: Option<String>,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The token of the request is exchanged for one with the route's audience, scopes and resource (RFC 8693).
    #[schemars(description = "Its token is exchanged.")]
    Exchange,
    /// The request goes on with its own token, if it has one.
    #[schemars(description = "It goes on as it is.")]
    Passthrough,
    /// A request to a host of the route is refused with 403. The existing AuthBridge has no such value.
    #[schemars(description = "It is refused (ours).")]
    Deny,
    /// The token of the request is replaced by one that the agent requests for itself (RFC 6749 §4.4). The existing
    /// AuthBridge has no such value.
    #[schemars(description = "It gets a token of the agent itself, whatever it had (ours).")]
    ClientCredentials,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteTls {
    /// Without TLS.
    Plain,
    /// With our SVID, to a server that shows its own.
    Mtls,
    /// With TLS, to a server with a certificate that this machine trusts.
    System,
}

impl TokenExchange {
    /// URL of the token endpoint; `None` if neither it nor the realm's address is configured.
    pub fn token_endpoint(&self) -> Option<String> {
        let url = self.keycloak_url.as_ref().or(self.provider_url.as_ref());
        let realm = self.keycloak_realm.as_ref().or(self.provider_realm.as_ref());
        self.token_url.clone().or_else(|| Some(keycloak_endpoint(url?, realm?, "token")))
    }
}

impl ClientIdentity {
    /// File of the client ID; `None` if the ID is in the configuration.
    pub fn client_id_path(&self) -> Option<&str> {
        let file = self.client_id_file.as_deref();
        file.or_else(|| self.client_id.is_none().then_some("/shared/client-id.txt"))
    }

    /// File of the client secret; `None` if the secret is in the configuration, or a JWT-SVID takes its part.
    pub fn client_secret_path(&self) -> Option<&str> {
        if self.kind != Some(IdentityKind::ClientSecret) {
            return None;
        }
        let file = self.client_secret_file.as_deref();
        file.or_else(|| self.client_secret.is_none().then_some("/shared/client-secret.txt"))
    }
}
