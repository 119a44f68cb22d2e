//! SVIDs as a workload gets them: a process of a given user asks the agent.
//! What the server mints itself is there for lifetimes and identities that no entry has.

use super::{START, Spire};
use crate::process::until;
use anyhow::{Context, Result};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// An X.509 SVID as PEM files.
#[derive(Clone, Debug)]
pub struct X509Files {
    /// The certificate and what is between it and the root.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots of the trust domain.
    pub bundle: PathBuf,
}

impl Spire {
    /// A JWT SVID of `user` for one audience; waits until the agent has an identity for it.
    pub fn fetch_jwt(&self, user: u32, audience: &str) -> Result<String> {
        let mut answer = Value::Null;
        until("JWT SVID", START, || {
            let printed = self.fetch(user, &["jwt", "-audience", audience, "-output", "json"])?;
            answer = serde_json::from_str(&printed)?;
            Ok(true)
        })?;
        // A list of what was fetched, and the bundles.
        let token = answer[0]["svids"][0]["svid"].as_str();
        token.map(str::to_owned).with_context(|| format!("no JWT SVID in {answer}"))
    }

    /// An X.509 SVID of `user`; waits until the agent has an identity for it.
    pub fn fetch_x509(&self, user: u32) -> Result<X509Files> {
        let into = self.folder.folder_of(&format!("svid-{user}"), Some(user))?;
        let folder = into.display().to_string();
        until("X.509 SVID", START, || self.fetch(user, &["x509", "-write", &folder]).map(|_| true))?;
        let [chain, key, bundle] = ["svid.0.pem", "svid.0.key", "bundle.0.pem"].map(|name| into.join(name));
        Ok(X509Files { chain, key, bundle })
    }

    /// Has the server sign an X.509 SVID for any identity of the trust domain, valid for `ttl` (such as `5s`).
    pub fn mint_x509(&self, id: &str, ttl: &str) -> Result<X509Files> {
        let name = id.rsplit('/').next().context("an ID with a path")?;
        let into = self.folder.folder_of(&format!("minted-{name}-{ttl}"), None)?;
        let folder = into.display().to_string();
        self.server(&["x509", "mint", "-spiffeID", id, "-ttl", ttl, "-write", &folder])?;
        let [chain, key, bundle] = ["svid.pem", "key.pem", "bundle.pem"].map(|name| into.join(name));
        Ok(X509Files { chain, key, bundle })
    }

    /// Has the server sign a JWT SVID for any identity of the trust domain, valid for `ttl`.
    pub fn mint_jwt(&self, id: &str, audience: &str, ttl: &str) -> Result<String> {
        let token = self.server(&["jwt", "mint", "-spiffeID", id, "-audience", audience, "-ttl", ttl])?;
        Ok(token.trim().to_owned())
    }

    fn fetch(&self, user: u32, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.folder.join("spire-agent"));
        command.args(["api", "fetch"]).args(arguments).arg("-socketPath").arg(self.socket());
        command.uid(user).gid(user).current_dir(Path::new("/"));
        countersign_rig::output(command, b"").inspect_err(|_| {
            // It refuses at once as long as it knows no identity, and logs each refusal.
            std::thread::sleep(Duration::from_millis(100));
        })
    }
}
