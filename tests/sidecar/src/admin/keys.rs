//! The keys with which a realm signs its tokens, and how they are replaced.
//! The key provider with the highest priority signs; keys of the others are still published.

use super::Admin;
use anyhow::{Context, Result};
use serde_json::{Value, json};

impl Admin<'_> {
    /// The realm's key providers that sign with RS256.
    pub fn signing_components(&self, realm: &str) -> Result<Vec<Value>> {
        let path = format!("/{realm}/components?type=org.keycloak.keys.KeyProvider");
        let all = self.call("GET", &path, None)?.json()?;
        let all = all.as_array().cloned().context("Keycloak listed no components")?;
        Ok(all.into_iter().filter(|component| component["providerId"] == "rsa-generated").collect())
    }

    /// The `kid` of the key that signs with RS256.
    pub fn signing_kid(&self, realm: &str) -> Result<String> {
        let keys = self.call("GET", &format!("/{realm}/keys"), None)?.json()?;
        keys["active"]["RS256"].as_str().map(str::to_owned).context("the realm has no RS256 key")
    }

    /// Adds a key that signs from now on, beside the old ones, which stay published; its `kid`.
    pub fn add_signing_key(&self, realm: &str) -> Result<String> {
        let components = self.signing_components(realm)?;
        let priority = |component: &Value| component["config"]["priority"][0].as_str()?.parse::<u64>().ok();
        let highest = components.iter().filter_map(priority).max().unwrap_or(0);
        let priority = (highest + 10).to_string();
        let component = json!({
            "name": format!("rsa-{priority}"), "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"priority": [priority], "keySize": ["2048"], "algorithm": ["RS256"]},
        });
        self.create(&format!("/{realm}/components"), &component)?;
        self.signing_kid(realm)
    }

    /// Removes all RS256 keys but the one that signs: they are no longer published.
    pub fn remove_old_signing_keys(&self, realm: &str) -> Result<()> {
        let active = self.signing_kid(realm)?;
        let keys = self.call("GET", &format!("/{realm}/keys"), None)?.json()?;
        let keys = keys["keys"].as_array().context("Keycloak listed no keys")?;
        let signing = keys.iter().find(|key| key["kid"] == active.as_str());
        let provider = signing.context("the key that signs is not listed")?["providerId"].clone();
        for component in self.signing_components(realm)? {
            if component["id"] != provider {
                let id = component["id"].as_str().context("a component without an ID")?;
                self.call("DELETE", &format!("/{realm}/components/{id}"), None)?;
            }
        }
        Ok(())
    }

    /// Adds a key and removes the others at once; the new `kid`.
    pub fn replace_signing_keys(&self, realm: &str) -> Result<String> {
        let kid = self.add_signing_key(realm)?;
        self.remove_old_signing_keys(realm)?;
        Ok(kid)
    }
}
