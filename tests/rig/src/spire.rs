//! SPIRE of a rig: a server and an agent as processes of the node, and what tests ask of them.
//! Its bundle is published to the ConfigMap `spire/spire-bundle`, key `bundle.spiffe`, in SPIFFE format.

use crate::authority::{Authorities, LocalAuthority, spire_server};
use crate::component::Launch;
use crate::control_plane::NODE;
use crate::namespace::enter;
use crate::parts;
use crate::rig::{Rig, output};
use crate::spire_parts::SpireParts;
use anyhow::Result;
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
    let mut folders = rig.command("mkdir");
    folders.args(["-p", SOCKET_FOLDER]).args(["server", "agent"].map(|name| data.join(name)));
    output(folders, b"")?;
    let parts = SpireParts {
        server_socket: SERVER_SOCKET.into(),
        agent_socket: Path::new(SOCKET_FOLDER).join(SOCKET),
        publisher: Some(rig.kubeconfig_inside()),
        kubelet: Some(rig.folder().join("pki")),
        ..SpireParts::new(TRUST_DOMAIN, &data, 8081)
    };
    let file = rig.folder().join("spire-server.conf");
    std::fs::write(&file, parts.server())?;
    let run = |name: &'static str, arguments| -> Result<Launch> {
        Ok(Launch::new(name, crate::parts::program("spire", name)?, arguments))
    };
    rig.run(run("spire-server", SpireParts::run(&file))?)?;
    let spire = Spire { rig };
    // A program is not started to ask for what cannot be there yet.
    let listens = |socket: &Path| rig.inside(socket).exists();
    rig.wait("the SPIRE server", || {
        Ok(listens(&parts.server_socket) && spire.server(&["healthcheck"]).is_ok())
    })?;
    rig.wait("the published bundle", || Ok(spire.published()?.contains("\"keys\"")))?;

    let (token, trusted) = SpireParts::join(NODE_ID, |arguments| spire.server(arguments))?;
    let bundle = rig.folder().join("spire-bundle.pem");
    std::fs::write(&bundle, trusted)?;
    let file = rig.folder().join("spire-agent.conf");
    std::fs::write(&file, parts.agent(&bundle))?;
    let arguments = [SpireParts::run(&file), vec!["-joinToken".to_owned(), token]].concat();
    let mut agent: Launch = run("spire-agent", arguments)?;
    // The attestor reaches the kubelet under this name.
    agent.environment.push(("MY_NODE_NAME", NODE.to_owned()));
    rig.run(agent)?;
    let (socket, agent) = (parts.agent_socket.display().to_string(), spire.agent_program()?);
    rig.wait("the SPIRE agent", || {
        let mut asked = rig.command(&agent);
        asked.args(["healthcheck", "-socketPath", &socket]);
        Ok(listens(&parts.agent_socket) && output(asked, b"").is_ok())
    })
}

/// Lets the pods of a service account get an SVID on a rig that runs already, whoever owns it; `init` is the number of its
/// process 1. False if they did before.
pub fn register_on(init: u32, namespace: &str, account: &str) -> Result<bool> {
    let server = |arguments: &[&str]| {
        let program = enter(init, parts::program("spire", "spire-server")?);
        spire_server(program, Path::new(SERVER_SOCKET), arguments)
    };
    let shown = server(&["entry", "show", "-spiffeID", &id_of(namespace, account)])?;
    if shown.contains("Entry ID") {
        return Ok(false);
    }
    create_entry(namespace, account, server).map(|_| true)
}

fn id_of(namespace: &str, account: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}")
}

fn create_entry(
    namespace: &str,
    account: &str,
    server: impl Fn(&[&str]) -> Result<String>,
) -> Result<String> {
    let id = id_of(namespace, account);
    let (namespace, account) = (format!("k8s:ns:{namespace}"), format!("k8s:sa:{account}"));
    let entry = ["-parentID", NODE_ID, "-spiffeID", &id, "-selector", &namespace, "-selector", &account];
    server(&[&["entry", "create"][..], &entry].concat())?;
    Ok(id)
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

    /// Lets the pods of a service account get the SVID `spiffe://rig.example/ns/NAMESPACE/sa/ACCOUNT`, which
    /// is returned. The agent learns it within about a second.
    pub fn register(&self, namespace: &str, account: &str) -> Result<String> {
        create_entry(namespace, account, |arguments| self.server(arguments))
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
