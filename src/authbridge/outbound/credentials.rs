//! Client authentication at the token endpoint (RFC 6749 §2.3): client ID and secret or JWT-SVID, read again when their
//! files change.

use crate::auth::LineFile;
use crate::config::{AssertionType, ClientIdentity, IdentityKind, Secret, Spiffe};
use crate::identity::JwtSvids;
use std::sync::Arc;

/// Client authentication of one token request.
pub(super) enum ClientAuthentication {
    /// `client_secret` (RFC 6749 §2.3.1).
    Secret(Secret),
    /// `client_assertion` (RFC 7521 §4.2).
    Assertion {
        /// `client_assertion_type`, a URN.
        kind: &'static str,
        /// JWT-SVID of this workload.
        token: Secret,
    },
}

/// Credential of one line, from the configuration or from a file.
enum CredentialLine {
    Fixed(Arc<str>),
    File(LineFile),
}

impl CredentialLine {
    fn new(fixed: Option<&str>, path: Option<&str>) -> Option<Self> {
        // The file wins over the configured value, because only the file can rotate.
        match (path, fixed) {
            (Some(path), _) => Some(Self::File(LineFile::follow(path, None))),
            (None, fixed) => fixed.map(|text| Self::Fixed(text.into())),
        }
    }

    fn get(&self) -> Option<Arc<str>> {
        match self {
            Self::Fixed(text) => Some(Arc::clone(text)),
            Self::File(file) => file.get(),
        }
    }
}

/// Credentials of the client for all token requests.
pub(super) struct Credentials {
    client_id: Option<CredentialLine>,
    kind: CredentialKind,
    settings: ClientIdentity,
    socket: Option<String>,
}

enum CredentialKind {
    Secret(Option<CredentialLine>),
    Spiffe { svids: JwtSvids, audience: String, assertion: &'static str },
}

impl Credentials {
    /// Credentials by `settings`; tasks follow their files.
    pub(super) fn new(settings: &ClientIdentity, spiffe: Option<&Spiffe>) -> Result<Self, String> {
        let client_id = CredentialLine::new(settings.client_id.as_deref(), settings.client_id_path());
        let kind = if let Some(IdentityKind::Spiffe) = settings.kind {
            CredentialKind::Spiffe {
                svids: JwtSvids::new(&spiffe.ok_or("a JWT-SVID needs the block `spiffe`")?.socket),
                audience: settings.jwt_audience.clone().ok_or("identity.jwt_audience is missing")?,
                assertion: match settings.assertion_type {
                    AssertionType::JwtSpiffe => "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
                    AssertionType::JwtBearer => "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                },
            }
        } else {
            let fixed = settings.client_secret.as_ref().map(Secret::expose);
            CredentialKind::Secret(CredentialLine::new(fixed, settings.client_secret_path()))
        };
        let socket = spiffe.map(|spiffe| spiffe.socket.clone());
        Ok(Self { client_id, kind, settings: settings.clone(), socket })
    }

    /// True if the same settings would lead to these credentials.
    pub(super) fn are_of(&self, settings: &ClientIdentity, spiffe: Option<&Spiffe>) -> bool {
        self.settings == *settings && self.socket.as_ref() == spiffe.map(|spiffe| &spiffe.socket)
    }

    /// The client ID; an error until its file appears.
    pub(super) fn client_id(&self) -> Result<Arc<str>, String> {
        let id = self.client_id.as_ref().and_then(CredentialLine::get);
        id.ok_or_else(|| "the client ID of this agent is not known yet".to_owned())
    }

    /// Authentication for one request, with the credential of this moment.
    pub(super) async fn authentication(&self) -> Result<ClientAuthentication, String> {
        match &self.kind {
            CredentialKind::Secret(secret) => {
                let secret = secret
                    .as_ref()
                    .and_then(CredentialLine::get)
                    .ok_or("the client secret is not known yet")?;
                Ok(ClientAuthentication::Secret(Secret::new(secret.to_string())))
            }
            CredentialKind::Spiffe { svids, audience, assertion } => {
                let token = svids.token(audience).await?;
                Ok(ClientAuthentication::Assertion { kind: assertion, token })
            }
        }
    }

    /// Returns what is missing, so that no token can be requested; `None` if the credentials are complete.
    pub(super) fn problem(&self) -> Option<String> {
        let secret = match &self.kind {
            CredentialKind::Secret(secret) => secret
                .as_ref()
                .and_then(CredentialLine::get)
                .is_none()
                .then(|| "the client secret is not known yet".to_owned()),
            CredentialKind::Spiffe { .. } => None,
        };
        let all: Vec<String> = self.client_id().err().into_iter().chain(secret).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_credential_that_is_missing_is_told() {
        let settings = ClientIdentity {
            kind: Some(IdentityKind::ClientSecret),
            client_id_file: Some("/nowhere/id".to_owned()),
            client_secret_file: Some("/nowhere/secret".to_owned()),
            ..ClientIdentity::default()
        };
        let problem = |settings| Credentials::new(&settings, None).unwrap().problem();
        let both = "the client ID of this agent is not known yet; the client secret is not known yet";
        assert_eq!(problem(settings.clone()).as_deref(), Some(both));
        let with_id =
            ClientIdentity { client_id: Some("a".to_owned()), client_id_file: None, ..settings.clone() };
        assert_eq!(problem(with_id.clone()).as_deref(), Some("the client secret is not known yet"));
        let with_both = ClientIdentity {
            client_secret: Some(Secret::new("s".to_owned())),
            client_secret_file: None,
            ..with_id
        };
        assert_eq!(problem(with_both), None);
    }
}
