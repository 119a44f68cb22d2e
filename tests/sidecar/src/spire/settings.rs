//! What a test chooses of the settings of a SPIRE server and agent.
//! Lifetimes are those of SPIRE's charts unless a test is about their end.

use countersign_rig::SpireParts;
use std::path::Path;

/// What a test chooses.
#[derive(Clone, Debug)]
pub struct Options {
    /// The trust domain, such as `example.org`.
    pub trust_domain: String,
    /// How long X.509 SVIDs live, such as `1h`; at least some seconds, for the agent renews at half of it.
    pub x509_ttl: String,
    /// How long JWT SVIDs live, such as `5m`.
    pub jwt_ttl: String,
    /// How often the agent asks the server, such as `1s`.
    pub sync_interval: String,
}

impl Options {
    /// The usual lifetimes.
    pub fn new(trust_domain: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            x509_ttl: "1h".to_owned(),
            jwt_ttl: "5m".to_owned(),
            sync_interval: "1s".to_owned(),
        }
    }

    /// The agent's own ID.
    pub(super) fn node(&self) -> String {
        format!("spiffe://{}/node", self.trust_domain)
    }
}

/// Both parts, with their data in a folder.
pub(super) fn parts(folder: &Path, port: u16, options: &Options) -> SpireParts {
    let Options { trust_domain, x509_ttl, jwt_ttl, sync_interval } = options.clone();
    SpireParts { x509_ttl, jwt_ttl, sync_interval, ..SpireParts::new(&trust_domain, folder, port) }
}
