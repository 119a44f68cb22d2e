//! What a realm's token endpoint gives: to users, to clients, and in exchange for other tokens.
//! Refusals are answers too: the functions that return a [`Reply`] leave it to the test to judge.

use crate::http::{Reply, Request};
use crate::keycloak::Keycloak;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The grant type of token exchange (RFC 8693).
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The type of an access token in an exchange.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The type of a client assertion that is a JWT SVID.
pub const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

impl Keycloak {
    /// Posts a form to the realm's token endpoint: status and answer.
    pub fn token(&self, realm: &str, form: &[(&str, &str)]) -> Result<(u16, Value)> {
        let reply = self.post(&format!("/realms/{realm}/protocol/openid-connect/token"), form)?;
        Ok((reply.status, reply.json()?))
    }

    /// Posts a form to `path`.
    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Reply> {
        Request::new("POST", path).form(form).send(&self.address())
    }

    /// The access token of a user, by way of a client, which has a secret unless it is public.
    pub fn password_token(
        &self,
        realm: &str,
        client: &str,
        secret: Option<&str>,
        (user, password): (&str, &str),
    ) -> Result<String> {
        let mut form = vec![
            ("grant_type", "password"),
            ("client_id", client),
            ("username", user),
            ("password", password),
        ];
        form.extend(secret.map(|secret| ("client_secret", secret)));
        access_token(self.token(realm, &form)?)
    }

    /// The access token of a client's own account.
    pub fn client_token(&self, realm: &str, client: &str, secret: &str) -> Result<String> {
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        access_token(self.token(realm, &form)?)
    }

    /// Asks as a client for a token of the same user for another audience; `scope` may be empty.
    pub fn exchange(
        &self,
        realm: &str,
        (client, secret): (&str, &str),
        subject: &str,
        audience: &str,
        scope: &str,
    ) -> Result<(u16, Value)> {
        let mut form = vec![
            ("grant_type", EXCHANGE),
            ("client_id", client),
            ("client_secret", secret),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", audience),
        ];
        if !scope.is_empty() {
            form.push(("scope", scope));
        }
        self.token(realm, &form)
    }
}

/// The access token in an answer, which must be a success.
pub fn access_token((status, answer): (u16, Value)) -> Result<String> {
    if status != 200 {
        bail!("the token endpoint answered {status} {answer}");
    }
    answer["access_token"].as_str().map(str::to_owned).context("an answer without an access token")
}
