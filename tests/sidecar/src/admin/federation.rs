//! Clients that prove who they are by an SVID: the realm learns a trust domain and where its bundle is.
//! The `aud` of such an SVID is the realm's issuer and nothing else.

use super::Admin;
use anyhow::Result;
use serde_json::{Value, json};

impl Admin<'_> {
    /// Makes the identity provider `alias` for a trust domain (`example.org`) whose bundle, in SPIFFE's format,
    /// is at `bundle`.
    pub fn trust_spiffe(&self, realm: &str, alias: &str, trust_domain: &str, bundle: &str) -> Result<()> {
        let domain = format!("spiffe://{trust_domain}");
        let provider = json!({
            "alias": alias, "providerId": "spiffe", "enabled": true,
            // The second was the name of the first in earlier versions.
            "config": {"trustDomain": domain, "issuer": domain, "bundleEndpoint": bundle},
        });
        self.call("POST", &format!("/{realm}/identity-provider/instances"), Some(&provider)).map(drop)
    }

    /// Makes a client that authenticates by a JWT SVID for `spiffe_id`, and may exchange tokens; its UUID.
    pub fn create_spiffe_client(
        &self,
        realm: &str,
        client_id: &str,
        alias: &str,
        spiffe_id: &str,
    ) -> Result<String> {
        self.create_client(realm, &spiffe_client(client_id, alias, spiffe_id))
    }
}

fn spiffe_client(client_id: &str, alias: &str, spiffe_id: &str) -> Value {
    json!({
        "clientId": client_id, "publicClient": false, "serviceAccountsEnabled": true,
        "standardFlowEnabled": false, "clientAuthenticatorType": "federated-jwt",
        "attributes": {
            "jwt.credential.issuer": alias, "jwt.credential.sub": spiffe_id,
            "standard.token.exchange.enabled": "true",
        },
    })
}
