//! The settings of a SPIRE server and agent, and what of them a test chooses.
//! Lifetimes are those of SPIRE's charts unless a test is about their end.

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

pub(super) fn server(folder: &Path, port: u16, options: &Options) -> String {
    let (folder, Options { trust_domain, x509_ttl, jwt_ttl, .. }) = (folder.display(), options);
    format!(
        r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{trust_domain}"
  data_dir = "{folder}/server"
  ca_ttl = "24h"
  default_x509_svid_ttl = "{x509_ttl}"
  default_jwt_svid_ttl = "{jwt_ttl}"
  # What the hardened chart of SPIRE uses.
  ca_key_type = "rsa-2048"
  # Entries are looked up in a cache, which a test should not wait five seconds for.
  experimental {{ cache_reload_interval = "500ms" }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/server/data.sqlite3" }} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/server/keys.json" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"#
    )
}

pub(super) fn agent(folder: &Path, port: u16, options: &Options) -> String {
    let (folder, Options { trust_domain, sync_interval, .. }) = (folder.display(), options);
    format!(
        r#"agent {{
  data_dir = "{folder}/agent"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/socket/agent.sock"
  trust_domain = "{trust_domain}"
  trust_bundle_path = "{folder}/bundle.pem"
  experimental {{ sync_interval = "{sync_interval}" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  # A join token works once: the agent comes back with the key it has.
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = false }} }}
}}
"#
    )
}
