//! Agents of a scenario: their manifests, the cards that they serve, and the one server that serves them all.

use crate::authority::{Authority, Svid, bundle_json};
use crate::kubelet::Kubelet;
use anyhow::Result;
use countersign_core::sign::{SignOptions, SigningKey, sign_card};
use countersign_core::time::{Seconds, Timestamp};
use countersign_io::clock::now;
use countersign_rig::Rig;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// Agents on a control plane without nodes: the address of every Pod leads to one server of cards.
pub struct Agents<'r> {
    rig: &'r Rig,
    folder: PathBuf,
    server: Child,
    _kubelet: Kubelet,
}

/// The kind of AgentCards.
pub(crate) const CRD: &str = include_str!("../../../crds/agentcards.agent.kagenti.dev.yaml");

/// The kind of `AgentRuntime`s.
pub(crate) const RUNTIME_CRD: &str = include_str!("../../../crds/agentruntimes.agent.kagenti.dev.yaml");

/// The kind of `AgentRuntime`s in the group of after the renaming.
const RENAMED_RUNTIME_CRD: &str = include_str!("../../../crds/agentruntimes.agent.rossoctl.dev.yaml");

/// A card as JSON.
pub type Card = Value;

/// The card that an agent of this name would write.
pub fn card_of(name: &str, namespace: &str) -> Card {
    let url = format!("http://{name}.{namespace}.svc.cluster.local:8000/");
    json!({
        "name": name, "description": "An agent of the tests", "version": "1.0.0",
        "supportedInterfaces": [{ "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }],
        "capabilities": { "streaming": true },
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "one", "name": "One", "description": "Does one thing", "tags": ["one"] }],
    })
}

impl<'r> Agents<'r> {
    /// Prepares a control plane: CRDs, namespaces, the trust bundle, and the server of cards.
    pub fn new(rig: &'r Rig, namespaces: &[&str], authority: &Authority) -> Result<Self> {
        for crd in [CRD, RUNTIME_CRD, RENAMED_RUNTIME_CRD] {
            rig.apply(crd)?;
        }
        let all = ["countersign-system", "spire"].iter().chain(namespaces);
        let all: Vec<Value> = all
            .map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
            .collect();
        rig.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": all }).to_string())?;
        let folder = rig.folder().join("cards");
        std::fs::create_dir_all(&folder)?;
        // There is no kube-proxy: every address of a Service is this machine.
        rig.command("ip").args(["route", "add", "local", "10.96.0.0/16", "dev", "lo"]).status()?;
        let kubelet = Kubelet::start(rig)?;
        let program = std::env::current_exe()?;
        let program = program.parent().and_then(std::path::Path::parent).map(|folder| folder.join("agent"));
        let server = rig
            .command(program.unwrap_or_default())
            .arg("0.0.0.0:8000")
            .arg(&folder)
            .stdin(Stdio::null())
            .spawn()?;
        let agents = Self { rig, folder, server, _kubelet: kubelet };
        agents.publish(&bundle_json(&[authority], 1))?;
        Ok(agents)
    }

    /// Where they are.
    pub fn rig(&self) -> &'r Rig {
        self.rig
    }

    /// Publishes a trust bundle as SPIRE does.
    pub fn publish(&self, bundle: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "spire-bundle", "namespace": "spire" },
            "data": { "bundle.spiffe": bundle.to_string() },
        });
        self.rig.apply(&object.to_string()).map(drop)
    }

    /// Lets an agent serve these bytes from now on.
    pub fn serve(&self, namespace: &str, name: &str, card: &[u8]) -> Result<()> {
        // Scenarios that share the server serve at the same time.
        let next = self.folder.join(format!("{name}.{namespace}.next"));
        let file = self.folder.join(format!("{name}.{namespace}.json"));
        std::fs::write(&next, card)?;
        Ok(std::fs::rename(next, file)?)
    }

    /// Lets one replica of an agent, at this address, serve these bytes from now on.
    pub fn serve_at(&self, namespace: &str, name: &str, address: &str, card: &[u8]) -> Result<()> {
        self.serve(&format!("{namespace}@{address}"), name, card)
    }

    /// Lets an agent answer with exactly these bytes, headers and all, until [`Agents::serve_properly`].
    pub fn serve_raw(&self, namespace: &str, name: &str, answer: &[u8]) -> Result<()> {
        self.serve_as(namespace, name, "raw", answer)
    }

    /// The same for requests that name no version of A2A, for good.
    pub fn serve_unversioned(&self, namespace: &str, name: &str, answer: &[u8]) -> Result<()> {
        self.serve_as(namespace, name, "unversioned", answer)
    }

    fn serve_as(&self, namespace: &str, name: &str, kind: &str, answer: &[u8]) -> Result<()> {
        let next = self.folder.join(format!("{name}.{namespace}.next-{kind}"));
        let file = self.folder.join(format!("{name}.{namespace}.{kind}"));
        std::fs::write(&next, answer)?;
        Ok(std::fs::rename(next, file)?)
    }

    /// Ends [`Agents::serve_raw`].
    pub fn serve_properly(&self, namespace: &str, name: &str) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join(format!("{name}.{namespace}.raw")))?)
    }

    /// Everything that was posted to any address of a Service.
    pub fn posted(&self) -> Vec<u8> {
        std::fs::read(self.folder.join("posted")).unwrap_or_default()
    }

    /// Lets an agent serve nothing: whoever asks is answered with 404.
    pub fn withdraw(&self, namespace: &str, name: &str) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join(format!("{name}.{namespace}.json")))?)
    }

    /// Lets an agent accept connections and never answer.
    pub fn hang(&self, namespace: &str, name: &str) -> Result<()> {
        Ok(std::fs::create_dir(self.folder.join(format!("{name}.{namespace}.json")))?)
    }

    /// How often an agent was asked for its card; `name@address` is one replica of it.
    pub fn asked(&self, namespace: &str, name: &str) -> u64 {
        let (name, address) = name
            .split_once('@')
            .map_or((name, String::new()), |(name, address)| (name, format!("@{address}")));
        let file = self.folder.join(format!("{name}.{namespace}{address}.asked"));
        std::fs::metadata(file).map_or(0, |file| file.len())
    }

    /// Waits until the operator has looked at an agent so many times from now on, from asking for the card to whatever
    /// it wrote: the next look begins after that.
    pub fn looked(&self, namespace: &str, name: &str, times: u64) -> Result<()> {
        let before = self.asked(namespace, name);
        // One that was asked just before now may still be judged, and the last one is over when the next begins.
        self.rig.wait("looks at an agent", || Ok(self.asked(namespace, name) > before + times))
    }

    /// Signs a card as the SVID says.
    pub fn sign(card: &Card, svid: &Svid) -> Vec<u8> {
        Self::sign_at(card, svid, 0)
    }

    /// The same by a clock that is so many seconds ahead: nobody signs with a certificate that does not count.
    pub fn sign_at(card: &Card, svid: &Svid, ahead: i64) -> Vec<u8> {
        Self::sign_with(card, svid, ahead, None)
    }

    /// The same with a signature that names an end of its own, so many seconds after it was made: by itself it names
    /// that of its certificate.
    pub fn sign_for(card: &Card, svid: &Svid, ahead: i64, lifetime: u32) -> Vec<u8> {
        Self::sign_with(card, svid, ahead, Some(Seconds::new(lifetime)))
    }

    fn sign_with(card: &Card, svid: &Svid, ahead: i64, lifetime: Option<Seconds>) -> Vec<u8> {
        let key = SigningKey::from_pkcs8(&svid.key).unwrap();
        let now = Timestamp::from_unix(now().as_unix() + ahead);
        let options = SignOptions { chain: &svid.chain, lifetime, also_kagenti: false, now };
        sign_card(card.to_string().into_bytes(), &key, options).unwrap().card
    }

    /// A labelled Deployment of one Pod, its Service, and its service account.
    pub fn manifests(namespace: &str, name: &str) -> Vec<Value> {
        let labels = json!({
            "app": name, "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "",
        });
        let template = json!({ "app": name, "kagenti.io/type": "agent" });
        vec![
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": name, "namespace": namespace, "labels": labels },
                "spec": {
                    "replicas": 1, "selector": { "matchLabels": { "app": name } },
                    "template": {
                        "metadata": { "labels": template },
                        "spec": {
                            "serviceAccountName": name,
                            "containers": [{ "name": "agent", "image": "none" }],
                        },
                    },
                },
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
                // Without a node, no slice has the Pod unless it is to be there in any state.
                "spec": { "selector": { "app": name }, "ports": [{ "port": 8000 }], "publishNotReadyAddresses": true },
            }),
            json!({ "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": { "name": name, "namespace": namespace } }),
        ]
    }

    /// Creates agents, all in one request to kubectl.
    pub fn create(&self, namespace: &str, names: &[&str]) -> Result<()> {
        let items: Vec<Value> = names.iter().flat_map(|name| Self::manifests(namespace, name)).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        self.rig.apply(&list.to_string()).map(drop)
    }
}

impl Drop for Agents<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
