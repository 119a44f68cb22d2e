//! How a SPIRE server and an agent are set up, wherever they run: on the node of a rig, or as processes of the machine.
//! Keys and data lie on disk, so both can be stopped and started again.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What differs from one SPIRE to another.
#[derive(Clone, Debug)]
pub struct SpireParts {
    /// The folder of their data, with the folders `server` and `agent`.
    pub data: PathBuf,
    /// Where the server takes commands.
    pub server_socket: PathBuf,
    /// The Workload API.
    pub agent_socket: PathBuf,
    /// The server's port on loopback, for the agent.
    pub port: u16,
    /// Such as `example.org`.
    pub trust_domain: String,
    /// How long X.509 SVIDs live, such as `1h`; at least some seconds, for the agent renews at half of it.
    pub x509_ttl: String,
    /// How long JWT SVIDs live, such as `5m`.
    pub jwt_ttl: String,
    /// How often the agent asks the server, such as `1s`.
    pub sync_interval: String,
    /// By which kubeconfig the bundle goes to the ConfigMap `spire/spire-bundle`; nowhere without one.
    pub publisher: Option<PathBuf>,
    /// The folder of keys with which the agent asks a kubelet who its Pods are; it knows processes alone without one.
    pub kubelet: Option<PathBuf>,
}

impl SpireParts {
    /// The usual lifetimes, those of SPIRE's charts, in a folder of data.
    pub fn new(trust_domain: &str, data: &Path, port: u16) -> Self {
        Self {
            data: data.to_owned(),
            server_socket: data.join("server.sock"),
            agent_socket: data.join("socket/agent.sock"),
            port,
            trust_domain: trust_domain.to_owned(),
            x509_ttl: "1h".to_owned(),
            jwt_ttl: "5m".to_owned(),
            // A test should not wait for the usual five seconds.
            sync_interval: "1s".to_owned(),
            publisher: None,
            kubelet: None,
        }
    }

    /// The settings of the server.
    pub fn server(&self) -> String {
        let Self { trust_domain, x509_ttl, jwt_ttl, port, .. } = self;
        let (data, socket) = (self.data.display(), self.server_socket.display());
        let publisher = self.publisher.as_ref().map(|kubeconfig| {
            format!(
                r#"  BundlePublisher "k8s_configmap" {{ plugin_data {{ clusters = {{ "rig" = {{
    format = "spiffe" namespace = "spire" configmap_name = "spire-bundle" configmap_key = "bundle.spiffe"
    kubeconfig_path = "{}"
  }} }} }} }}
"#,
                kubeconfig.display()
            )
        });
        format!(
            r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{socket}"
  trust_domain = "{trust_domain}"
  data_dir = "{data}/server"
  ca_ttl = "24h"
  default_x509_svid_ttl = "{x509_ttl}"
  default_jwt_svid_ttl = "{jwt_ttl}"
  # What the hardened chart of SPIRE uses.
  ca_key_type = "rsa-2048"
  # Entries are looked up in a cache, which a test should not wait five seconds for.
  experimental {{ cache_reload_interval = "500ms" }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{data}/server/data.sqlite3" }} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{data}/server/keys.json" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
{}}}
"#,
            publisher.unwrap_or_default()
        )
    }

    /// The settings of the agent, which trusts the server by the bundle in a file.
    pub fn agent(&self, bundle: &Path) -> String {
        let Self { trust_domain, sync_interval, port, .. } = self;
        let (data, bundle, socket) = (self.data.display(), bundle.display(), self.agent_socket.display());
        let kubelet = self.kubelet.as_ref().map(|pki| {
            let pki = pki.display();
            format!(
                r#"  WorkloadAttestor "k8s" {{ plugin_data {{
    node_name_env = "MY_NODE_NAME"
    kubelet_ca_path = "{pki}/ca.crt"
    certificate_path = "{pki}/apiserver-kubelet.crt"
    private_key_path = "{pki}/apiserver-kubelet.key"
  }} }}
"#
            )
        });
        format!(
            r#"agent {{
  data_dir = "{data}/agent"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{socket}"
  trust_domain = "{trust_domain}"
  trust_bundle_path = "{bundle}"
  experimental {{ sync_interval = "{sync_interval}" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  # A join token works once: the agent comes back with the key it has.
  KeyManager "disk" {{ plugin_data {{ directory = "{data}/agent" }} }}
{}  WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = false }} }}
}}
"#,
            kubelet.unwrap_or_default()
        )
    }

    /// What an agent needs to join a server that runs, of which `server` runs commands: a token for the identity
    /// `node`, and the bundle as PEM.
    pub fn join(node: &str, server: impl Fn(&[&str]) -> Result<String>) -> Result<(String, String)> {
        let token = server(&["token", "generate", "-output", "json", "-spiffeID", node])?;
        let token: Value = serde_json::from_str(&token)?;
        let token = token["value"].as_str().context("the SPIRE server gave no join token")?;
        Ok((token.to_owned(), server(&["bundle", "show"])?))
    }

    /// The arguments with which a server or an agent runs by a file of settings.
    pub fn run(settings: &Path) -> Vec<String> {
        vec!["run".to_owned(), "-config".to_owned(), settings.display().to_string()]
    }
}
