//! Keycloak's administration over REST: realms, clients, users and scopes.
//! What is not here can be asked for by [`Admin::call`].

mod federation;
mod keys;

use crate::http::{Reply, Request, encode};
use crate::keycloak::{ADMIN, Keycloak};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Half of what an administrator's token lives.
const FRESH: Duration = Duration::from_secs(30);

/// The administrator of a Keycloak.
pub struct Admin<'a> {
    keycloak: &'a Keycloak,
    token: Mutex<Option<(Instant, String)>>,
}

impl<'a> Admin<'a> {
    pub(crate) fn new(keycloak: &'a Keycloak) -> Self {
        Self { keycloak, token: Mutex::new(None) }
    }

    /// Calls `/admin/realms` + `path`; an error unless the answer is a success.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let mut request = Request::new(method, &format!("/admin/realms{path}")).bearer(&self.token()?);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send(&self.keycloak.address())?;
        if !(200..300).contains(&reply.status) {
            bail!("{method} {path}: {} {}", reply.status, reply.text());
        }
        Ok(reply)
    }

    /// Makes a realm whose tokens live for five minutes.
    pub fn create_realm(&self, name: &str) -> Result<()> {
        self.call("POST", "", Some(&json!({"realm": name, "enabled": true, "sslRequired": "none"}))).map(drop)
    }

    /// Changes what is given of a realm's settings.
    pub fn update_realm(&self, realm: &str, settings: &Value) -> Result<()> {
        self.call("PUT", &format!("/{realm}"), Some(settings)).map(drop)
    }

    /// Sets how long the realm's access tokens live.
    pub fn set_token_lifespan(&self, realm: &str, seconds: u32) -> Result<()> {
        self.update_realm(realm, &json!({"accessTokenLifespan": seconds}))
    }

    /// Makes a client as Keycloak's `ClientRepresentation` describes it; its UUID.
    pub fn create_client(&self, realm: &str, client: &Value) -> Result<String> {
        self.create(&format!("/{realm}/clients"), client)
    }

    /// Makes a confidential client that may use its service account, passwords of users and token exchange;
    /// its UUID.
    pub fn create_confidential(&self, realm: &str, client_id: &str, secret: &str) -> Result<String> {
        let client = json!({
            "clientId": client_id, "secret": secret, "publicClient": false, "serviceAccountsEnabled": true,
            "standardFlowEnabled": false, "directAccessGrantsEnabled": true,
            "attributes": {"standard.token.exchange.enabled": "true"},
        });
        self.create_client(realm, &client)
    }

    /// Changes what is given of a client.
    pub fn update_client(&self, realm: &str, uuid: &str, changes: &Value) -> Result<()> {
        self.call("PUT", &format!("/{realm}/clients/{uuid}"), Some(changes)).map(drop)
    }

    /// Removes a client.
    pub fn delete_client(&self, realm: &str, uuid: &str) -> Result<()> {
        self.call("DELETE", &format!("/{realm}/clients/{uuid}"), None).map(drop)
    }

    /// The UUID of the client with this ID.
    pub fn client_uuid(&self, realm: &str, client_id: &str) -> Result<String> {
        let found = self.call("GET", &format!("/{realm}/clients?clientId={}", encode(client_id)), None)?;
        let uuid = found.json()?[0]["id"].as_str().map(str::to_owned);
        uuid.with_context(|| format!("{realm} has no client {client_id}"))
    }

    /// A client's secret.
    pub fn client_secret(&self, realm: &str, uuid: &str) -> Result<String> {
        self.secret("GET", realm, uuid)
    }

    /// Replaces a client's secret; the new one.
    pub fn rotate_client_secret(&self, realm: &str, uuid: &str) -> Result<String> {
        self.secret("POST", realm, uuid)
    }

    fn secret(&self, method: &str, realm: &str, uuid: &str) -> Result<String> {
        let reply = self.call(method, &format!("/{realm}/clients/{uuid}/client-secret"), None)?;
        reply.json()?["value"].as_str().map(str::to_owned).context("the client has no secret")
    }

    /// Makes a user who can log in with a password; its ID, the `sub` of its tokens. Names have at least three
    /// letters.
    pub fn create_user(&self, realm: &str, name: &str, password: &str) -> Result<String> {
        // Without these the account counts as not set up, and gets no tokens.
        let user = json!({
            "username": name, "enabled": true, "email": format!("{name}@example.org"), "emailVerified": true,
            "firstName": name, "lastName": "Example",
            "credentials": [{"type": "password", "value": password, "temporary": false}],
        });
        self.create(&format!("/{realm}/users"), &user)
    }

    /// Makes a client scope that adds `audience` (a client's ID) to access tokens; its ID.
    pub fn create_audience_scope(&self, realm: &str, name: &str, audience: &str) -> Result<String> {
        let scope = json!({
            "name": name, "protocol": "openid-connect",
            "attributes": {"include.in.token.scope": "true"},
            "protocolMappers": [{
                "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
                "config": {
                    "included.client.audience": audience, "access.token.claim": "true",
                    "id.token.claim": "false", "introspection.token.claim": "true",
                },
            }],
        });
        self.create(&format!("/{realm}/client-scopes"), &scope)
    }

    /// Gives a client a scope with every token.
    pub fn attach_default_scope(&self, realm: &str, uuid: &str, scope: &str) -> Result<()> {
        self.call("PUT", &format!("/{realm}/clients/{uuid}/default-client-scopes/{scope}"), None).map(drop)
    }

    /// Lets a client ask for a scope.
    pub fn attach_optional_scope(&self, realm: &str, uuid: &str, scope: &str) -> Result<()> {
        self.call("PUT", &format!("/{realm}/clients/{uuid}/optional-client-scopes/{scope}"), None).map(drop)
    }

    /// Makes what `path` lists; its ID, with which the `Location` ends.
    fn create(&self, path: &str, body: &Value) -> Result<String> {
        let reply = self.call("POST", path, Some(body))?;
        let id = reply.header("location").and_then(|location| location.rsplit('/').next());
        id.map(str::to_owned).with_context(|| format!("Keycloak did not say where {path} has the new one"))
    }

    fn token(&self) -> Result<String> {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, token)) = kept.as_ref()
            && since.elapsed() < FRESH
        {
            return Ok(token.clone());
        }
        let token = self.keycloak.password_token("master", "admin-cli", None, ADMIN)?;
        *kept = Some((Instant::now(), token.clone()));
        Ok(token)
    }
}
