//! SPIRE of a rig: a server and an agent as processes of the node, and what tests ask of them.
//! Its bundle is published to the ConfigMap `spire/spire-bundle`, key `bundle.spiffe`, in SPIFFE format.

use crate::authority::{Authorities, LocalAuthority, spire_server};
use crate::component::Launch;
use crate::control_plane::NODE;
use crate::parts;
use crate::rig::{Rig, output};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The trust domain of every rig.
pub const TRUST_DOMAIN: &str = "rig.example";
/// The folder on the node that holds the agent's socket, for a `hostPath` volume.
pub const SOCKET_FOLDER: &str = "/run/spire/agent-sockets";
/// The name of the agent's socket in that folder.
pub const SOCKET: &str = "spire-agent.sock";

const SERVER_SOCKET: &str = "/run/spire/server.sock";
const NODE_ID: &str = "spiffe://rig.example/node/node1";

const BUNDLE: &str = r#"{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"spire"}},
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"spire-bundle","namespace":"spire"}}]}"#;

/// Starts server and agent on a node that runs.
pub(crate) fn start(rig: &Rig) -> Result<()> {
    // The publisher writes into it; it does not make it.
    rig.apply(BUNDLE)?;
    let data = rig.folder().join("state/spire");
    output(command(rig, "mkdir", &["-p", SOCKET_FOLDER, &format!("{}/server", data.display())]), b"")?;
    let file = rig.folder().join("spire-server.conf");
    std::fs::write(&file, server_settings(&data, &rig.kubeconfig_inside()))?;
    let run = |name, program, file: &Path, more: Vec<String>| -> Result<Launch> {
        let mut arguments = vec!["run".into(), "-config".into(), file.display().to_string()];
        arguments.extend(more);
        Ok(Launch::new(name, parts::program("spire", program)?, arguments))
    };
    rig.run(run("spire-server", "spire-server", &file, vec![])?)?;
    let spire = Spire { rig };
    // A program is not started to ask for what cannot be there yet.
    let listens = |socket: &str| rig.inside(Path::new(socket)).exists();
    rig.wait("the SPIRE server", || Ok(listens(SERVER_SOCKET) && spire.server(&["healthcheck"]).is_ok()))?;
    rig.wait("the published bundle", || Ok(spire.published()?.contains("\"keys\"")))?;

    let token = spire.json(&["token", "generate", "-spiffeID", NODE_ID])?;
    let token = token["value"].as_str().context("the SPIRE server gave no join token")?;
    let bundle = rig.folder().join("spire-bundle.pem");
    std::fs::write(&bundle, spire.server(&["bundle", "show"])?)?;
    let file = rig.folder().join("spire-agent.conf");
    std::fs::write(&file, agent_settings(&data, &bundle, &rig.folder().join("pki")))?;
    let mut agent = run("spire-agent", "spire-agent", &file, vec!["-joinToken".into(), token.to_owned()])?;
    // The attestor reaches the kubelet under this name.
    agent.environment.push(("MY_NODE_NAME", NODE.to_owned()));
    rig.run(agent)?;
    let socket = format!("{SOCKET_FOLDER}/{SOCKET}");
    let agent = parts::program("spire", "spire-agent")?.display().to_string();
    rig.wait("the SPIRE agent", || {
        let asked = || output(command(rig, &agent, &["healthcheck", "-socketPath", &socket]), b"");
        Ok(listens(&socket) && asked().is_ok())
    })
}

fn command(rig: &Rig, program: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = rig.command(program);
    command.args(arguments);
    command
}

fn server_settings(data: &Path, kubeconfig: &Path) -> String {
    let (data, kubeconfig) = (data.display(), kubeconfig.display());
    format!(
        r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "8081"
  socket_path = "{SERVER_SOCKET}"
  trust_domain = "{TRUST_DOMAIN}"
  data_dir = "{data}/server"
  ca_ttl = "24h"
  default_x509_svid_ttl = "1h"
  # What the hardened chart of SPIRE uses.
  ca_key_type = "rsa-2048"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{data}/server/data.sqlite3" }} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  BundlePublisher "k8s_configmap" {{ plugin_data {{ clusters = {{ "rig" = {{
    format = "spiffe" namespace = "spire" configmap_name = "spire-bundle" configmap_key = "bundle.spiffe"
    kubeconfig_path = "{kubeconfig}"
  }} }} }} }}
}}
"#
    )
}

fn agent_settings(data: &Path, bundle: &Path, pki: &Path) -> String {
    let (data, bundle, pki) = (data.display(), bundle.display(), pki.display());
    format!(
        r#"agent {{
  data_dir = "{data}/agent"
  server_address = "127.0.0.1"
  server_port = "8081"
  socket_path = "{SOCKET_FOLDER}/{SOCKET}"
  trust_domain = "{TRUST_DOMAIN}"
  trust_bundle_path = "{bundle}"
  # A test should not wait for the usual five seconds.
  experimental {{ sync_interval = "1s" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  WorkloadAttestor "k8s" {{ plugin_data {{
    node_name_env = "MY_NODE_NAME"
    kubelet_ca_path = "{pki}/ca.crt"
    certificate_path = "{pki}/apiserver-kubelet.crt"
    private_key_path = "{pki}/apiserver-kubelet.key"
  }} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#
    )
}

/// What a test asks of SPIRE.
pub struct Spire<'a> {
    pub(crate) rig: &'a Rig,
}

impl Spire<'_> {
    /// Runs a command of `spire-server`; what it printed.
    pub fn server(&self, arguments: &[&str]) -> Result<String> {
        let program = self.rig.command(parts::program("spire", "spire-server")?);
        spire_server(program, Path::new(SERVER_SOCKET), arguments)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.server(&[arguments, &["-output", "json"]].concat())?)?)
    }

    /// Lets the pods of a service account get the SVID `spiffe://rig.example/ns/NAMESPACE/sa/ACCOUNT`, which
    /// is returned. The agent learns it within about a second.
    pub fn register(&self, namespace: &str, account: &str) -> Result<String> {
        let id = format!("spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}");
        let (namespace, account) = (format!("k8s:ns:{namespace}"), format!("k8s:sa:{account}"));
        self.server(&[
            "entry",
            "create",
            "-parentID",
            NODE_ID,
            "-spiffeID",
            &id,
            "-selector",
            &namespace,
            "-selector",
            &account,
        ])?;
        Ok(id)
    }

    /// Has the server sign an SVID for any identity, valid for `ttl` (such as `5s`), into `svid.pem`,
    /// `key.pem` and `bundle.pem` of `folder`, which must exist.
    pub fn mint(&self, id: &str, ttl: &str, folder: &Path) -> Result<()> {
        self.server(&[
            "x509",
            "mint",
            "-spiffeID",
            id,
            "-ttl",
            ttl,
            "-write",
            &folder.display().to_string(),
        ])?;
        Ok(())
    }

    /// The bundle as published in the ConfigMap; empty before the first time.
    pub fn published(&self) -> Result<String> {
        let map = self.rig.get("/api/v1/namespaces/spire/configmaps/spire-bundle")?.unwrap_or_default();
        Ok(map["data"]["bundle.spiffe"].as_str().unwrap_or_default().to_owned())
    }

    /// Which X.509 authority signs, is prepared, and was active before.
    pub fn authorities(&self) -> Result<Authorities> {
        self.x509().show()
    }

    /// Makes a new X.509 authority and publishes it beside the active one; its ID.
    pub fn prepare(&self) -> Result<String> {
        self.x509().prepare()
    }

    /// Lets the prepared authority sign from now on.
    pub fn activate(&self, id: &str) -> Result<()> {
        self.x509().activate(id)
    }

    /// Marks an old authority as not to be trusted: agents replace what it signed.
    pub fn taint(&self, id: &str) -> Result<()> {
        self.x509().taint(id)
    }

    /// Removes a tainted authority from the bundle.
    pub fn revoke(&self, id: &str) -> Result<()> {
        self.x509().revoke(id)
    }

    fn x509(&self) -> LocalAuthority<'_> {
        LocalAuthority::x509(|arguments| self.server(arguments))
    }

    /// The agent's program, which also fetches SVIDs (`spire-agent api fetch`, `api watch`).
    pub fn agent_program(&self) -> Result<PathBuf> {
        parts::program("spire", "spire-agent")
    }

    /// The agent's socket as programs inside the rig see it.
    pub fn socket(&self) -> PathBuf {
        Path::new(SOCKET_FOLDER).join(SOCKET)
    }
}
