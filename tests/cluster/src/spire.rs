//! Agents on a node with SPIRE that are processes of the node: each is a server of its own, with an SVID of SPIRE.
//! Their Pods are on the network of the node, so that Services lead to these servers.

use crate::agents::{Agents, CRD};
use crate::authority::Svid;
use anyhow::{Context, Result};
use countersign_rig::{AGNHOST, Ca, Leaf, Rig, TRUST_DOMAIN};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// The address of the node, where the processes listen.
const NODE: &str = "10.200.0.1";
/// The identity under which SPIRE's agent registers workloads.
const NODE_ID: &str = "spiffe://rig.example/node/node1";

/// A node with SPIRE, the CRD and the namespaces of a scenario.
pub struct SpireAgents<'r> {
    rig: &'r Rig,
}

/// A running server of cards; dropping it ends it.
pub struct Server {
    /// Where it listens.
    pub port: u16,
    folder: PathBuf,
    child: Child,
}

impl<'r> SpireAgents<'r> {
    /// Prepares a node.
    pub fn new(rig: &'r Rig, namespaces: &[&str]) -> Result<Self> {
        rig.apply(CRD)?;
        for namespace in ["countersign-system"].iter().chain(namespaces) {
            let object =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            rig.apply(&object.to_string())?;
        }
        Ok(Self { rig })
    }

    /// The Workload API as a flag has it.
    pub fn socket(&self) -> String {
        format!("unix://{}", self.rig.spire().socket().display())
    }

    /// Registers what matches the selectors as `id`, with SVIDs that last `ttl` seconds.
    pub fn register(&self, id: &str, selectors: &[&str], ttl: u32) -> Result<()> {
        let ttl = ttl.to_string();
        let mut arguments =
            vec!["entry", "create", "-parentID", NODE_ID, "-spiffeID", id, "-x509SVIDTTL", &ttl];
        arguments.extend(selectors.iter().flat_map(|&selector| ["-selector", selector]));
        self.rig.spire().server(&arguments).map(drop)
    }

    /// Registers the operator, which runs as root on the node.
    pub fn register_operator(&self) -> Result<()> {
        let id = format!("spiffe://{TRUST_DOMAIN}/ns/countersign-system/sa/controller-manager");
        self.register(&id, &["unix:uid:0"], 3600)
    }

    /// Has SPIRE sign an SVID of a service account, as files in a folder of its own.
    pub fn mint(&self, namespace: &str, account: &str, folder: &str) -> Result<PathBuf> {
        let folder = self.folder(folder)?;
        let id = format!("spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}");
        self.rig.spire().mint(&id, "1h", &folder)?;
        Ok(folder)
    }

    /// A certificate that nobody vouches for, in place of an SVID in `folder`.
    pub fn forge(&self, namespace: &str, account: &str, folder: &Path) -> Result<()> {
        let id = format!("spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}");
        let nobody = Ca::new("nobody", None)?;
        let forged = nobody.issue(Leaf { uris: vec![id], ..Leaf::default() })?;
        std::fs::write(folder.join("svid.pem"), forged.pem)?;
        Ok(std::fs::write(folder.join("key.pem"), forged.key_pem)?)
    }

    /// Reads an SVID from the files of a folder.
    pub fn svid(folder: &Path) -> Result<Svid> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_file_iter(folder.join("svid.pem"))?;
        let chain = chain.map(|one| Ok(one?.to_vec())).collect::<Result<_>>()?;
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"))?;
        Ok(Svid { chain, key: key.secret_der().to_vec() })
    }

    /// Starts a server of cards on the node; over mutual TLS if it is given an identity.
    pub fn serve(&self, port: u16, identity: Option<&Path>) -> Result<Server> {
        let folder = self.folder(&format!("cards-{port}"))?;
        let program = std::env::current_exe()?;
        let program = program.parent().and_then(Path::parent).context("a folder")?.join("agent");
        let mut command = self.rig.command(program);
        command.arg(format!("{NODE}:{port}")).arg(&folder).args(identity).stdin(Stdio::null());
        Ok(Server { port, folder, child: command.spawn()? })
    }

    /// Creates an agent whose Service has these ports, each of which leads to a port of the node.
    pub fn create(&self, namespace: &str, name: &str, ports: &[(&str, &Server)]) -> Result<()> {
        let mut items = Agents::manifests(namespace, name);
        let named = |(index, (port, server)): (usize, &(&str, &Server))| json!({ "name": port, "port": 8000 + index, "targetPort": server.port });
        items[1]["spec"]["ports"] = ports.iter().enumerate().map(named).collect();
        let pod = &mut items[0]["spec"]["template"]["spec"];
        pod["hostNetwork"] = json!(true);
        pod["containers"] =
            json!([{ "name": "agent", "image": AGNHOST, "imagePullPolicy": "Never", "args": ["pause"] }]);
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        self.rig.apply(&list.to_string()).map(drop)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.rig.folder().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Server {
    /// Waits until the operator has asked so many times from now on, and judged what it got.
    pub fn looked(&self, rig: &Rig, times: usize) -> Result<()> {
        let asked = || -> Result<usize> {
            let mut asked = 0;
            for file in std::fs::read_dir(&self.folder)? {
                let file = file?;
                let path = file.path();
                let counts = path.extension().is_some_and(|extension| extension == "asked");
                // Beside the file of a host are those of its addresses.
                if counts && !path.display().to_string().contains('@') {
                    asked += usize::try_from(file.metadata()?.len())?;
                }
            }
            Ok(asked)
        };
        let before = asked()?;
        rig.wait("looks at a server", || Ok(asked()? > before + times))
    }

    /// Serves these bytes as the card of every host from now on.
    pub fn put(&self, card: &[u8]) -> Result<()> {
        let next = self.folder.join("next");
        std::fs::write(&next, card)?;
        Ok(std::fs::rename(next, self.folder.join("card.json"))?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
