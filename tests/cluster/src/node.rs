//! A node with SPIRE and the operator as its chart installs it, and agents that are Pods and send packets.
//! The images hold the programs under test; nothing is pulled from anywhere.

use crate::agents::{Card, card_of};
use crate::authority::Svid;
use crate::scene::{find, labelled};
use anyhow::{Context, Result, bail};
use countersign_core::x509::parse_pem_chain;
use countersign_io::keys::parse_private_key;
use countersign_rig::{AGNHOST, Entry, Image, Options, Rig, SOCKET, SOCKET_FOLDER, libraries, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The namespace of the operator.
pub const SYSTEM: &str = "countersign-system";
/// The user that the operator is to the API server.
pub const OPERATOR_USER: &str = "system:serviceaccount:countersign-system:controller-manager";

const OPERATOR_IMAGE: &str = "countersign.test/countersign";
const AGENT_IMAGE: &str = "countersign.test/agent:1";
const SIDECAR_IMAGE: &str = "countersign.test/authbridge";

/// How long anything may take on a machine that is busy besides; a test that is about time measures it itself.
const PATIENCE: Duration = Duration::from_mins(2);

/// What became of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// The connection was made.
    Pass,
    /// Nobody answered within two seconds.
    Dropped,
    /// It was refused: no policy does that.
    Refused,
}

/// Who signs the card of an agent.
#[derive(Clone, Copy, Debug)]
pub enum Signer<'c> {
    /// The test, with [`Node::serve`].
    Test,
    /// An init container of the Pod, with the SVID that the Workload API gives it.
    InitContainer(&'c Card),
}

/// A node on which the operator runs.
pub struct Node {
    /// Its rig.
    pub rig: Rig,
}

impl Node {
    /// A node with SPIRE and the images, without the operator.
    pub fn bare() -> Result<Self> {
        let node = Self { rig: Rig::node(&Options::default())? };
        let (operator, agent, wire) = (program("countersign")?, program("agent")?, program("wire")?);
        let manager = Entry::Link("/manager", "/countersign");
        let name = format!("{OPERATOR_IMAGE}:test");
        node.import(&name, &operator, vec![Entry::File(&operator, "/countersign"), manager], "/countersign")?;
        let files = vec![
            Entry::File(&agent, "/agent"),
            Entry::File(&wire, "/wire"),
            Entry::File(&operator, "/countersign"),
        ];
        node.import(AGENT_IMAGE, &operator, files, "/agent")?;
        Ok(node)
    }

    /// A node with the operator, installed with these settings besides the usual ones, and ready.
    pub fn with_operator(more: &[&str]) -> Result<Self> {
        let node = Self::bare()?;
        node.install(&chart(), more).with_context(|| node.report())?;
        Ok(node)
    }

    /// A node with the operator that injects sidecars with the node's socket of SPIRE, and fetches cards over mTLS.
    pub fn with_sidecars() -> Result<Self> {
        let node = Self::bare()?;
        let sidecar = program("authbridge")?;
        let name = format!("{SIDECAR_IMAGE}:test");
        node.import(&name, &sidecar, vec![Entry::File(&sidecar, "/authbridge")], "/authbridge")?;
        node.rig.spire().register(SYSTEM, "controller-manager")?;
        node.install_with_sidecars(&[]).with_context(|| node.report())?;
        Ok(node)
    }

    /// Installs or upgrades the operator that injects sidecars, with these settings (`name=value`) besides.
    pub fn install_with_sidecars(&self, more: &[&str]) -> Result<()> {
        let (image, host_path, socket) = (
            format!("sidecar.image.repository={SIDECAR_IMAGE}"),
            format!("sidecar.spireHostPath={SOCKET_FOLDER}"),
            format!("verifiedFetch.hostPath={SOCKET_FOLDER}"),
        );
        let mut sets = Vec::new();
        for set in [
            image.as_str(),
            "sidecar.image.tag=test",
            host_path.as_str(),
            "verifiedFetch.enabled=true",
            "verifiedFetch.clusterSPIFFEID.create=false",
            socket.as_str(),
            // Replicas are waited for here, and not asked every ten seconds.
            "controllerManager.container.readinessProbe.initialDelaySeconds=1",
            "controllerManager.container.readinessProbe.periodSeconds=1",
        ] {
            sets.extend(["--set", set]);
        }
        for set in more {
            sets.extend(["--set", set]);
        }
        self.install(&chart(), &sets)
    }

    /// `name` gets these files and the libraries of `linked`.
    fn import(&self, name: &str, linked: &Path, files: Vec<Entry>, entrypoint: &str) -> Result<()> {
        let shared = libraries(linked)?;
        let mut all = files;
        all.extend(shared.iter().filter_map(|path| Some(Entry::File(path, path.to_str()?))));
        self.rig.import_image(&Image { name, files: all, entrypoint: vec![entrypoint], user: "65532:65532" })
    }

    /// Installs or upgrades the chart in a folder or archive, and waits until the operator is ready.
    pub fn install(&self, chart: &Path, more: &[&str]) -> Result<()> {
        let chart = chart.display().to_string();
        let mut arguments = vec!["upgrade", "--install", "countersign", &chart, "--namespace", SYSTEM];
        arguments.extend(["--create-namespace", "--wait", "--timeout", "180s"]);
        let image = format!("controllerManager.container.image.repository={OPERATOR_IMAGE}");
        for set in [
            image.as_str(),
            "controllerManager.container.image.tag=test",
            "controllerManager.container.image.pullPolicy=Never",
            "signatureVerification.enabled=true",
            "signatureVerification.enforceNetworkPolicies=true",
            "signatureVerification.spireTrustDomain=rig.example",
            "signatureVerification.spireTrustBundle.configMapNamespace=spire",
        ] {
            arguments.extend(["--set", set]);
        }
        arguments.extend(more);
        self.rig.helm(&arguments).map(drop)
    }

    /// Makes a namespace with an unlabelled Pod `stranger` in it.
    pub fn namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.rig.apply(&namespace.to_string())?;
        // Its service account is made by a controller, and a Pod needs it.
        until("the default service account", PATIENCE, || {
            Ok(find(&self.rig, "serviceaccount", name, "default")?.is_some())
        })?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "stranger", "namespace": name, "labels": { "app": "stranger" } },
            "spec": { "terminationGracePeriodSeconds": 0, "containers": [probe()] },
        });
        self.rig.apply(&pod.to_string()).map(drop)
    }

    /// Creates an agent: service account, Service, and a labelled Deployment of one Pod with the containers
    /// `agent`, which serves its card on port 8000, and `probe`, from which [`Node::connect`] sends.
    pub fn create(&self, namespace: &str, name: &str, signer: Signer) -> Result<()> {
        self.apply_all(&self.manifests(namespace, name, signer)?)
    }

    /// Applies objects in one request to kubectl.
    pub fn apply_all(&self, items: &[Value]) -> Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        self.rig.apply(&list.to_string()).map(drop)
    }

    /// What [`Node::create`] applies: the Deployment first, then its Service and service account.
    pub fn manifests(&self, namespace: &str, name: &str, signer: Signer) -> Result<Vec<Value>> {
        let label = short(name);
        let labels = json!({ "app": label, "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" });
        let mount = |name: &str, path: &str| json!({ "name": name, "mountPath": path });
        let mut more = Vec::new();
        let (volumes, init) = match signer {
            Signer::Test => {
                let folder = self.card_folder(namespace, name)?;
                (json!([{ "name": "card", "hostPath": { "path": folder } }]), json!([]))
            }
            Signer::InitContainer(card) => {
                let map = format!("{name}-unsigned");
                more.push(json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": { "name": map, "namespace": namespace },
                    "data": { "card.json": card.to_string() },
                }));
                let volumes = json!([
                    { "name": "card", "emptyDir": {} },
                    { "name": "unsigned", "configMap": { "name": map } },
                    { "name": "spire", "hostPath": { "path": SOCKET_FOLDER } },
                ]);
                let socket = format!("/spire/{SOCKET}");
                let sign =
                    ["sign", "/unsigned/card.json", "--workload-api", &socket, "-o", "/card/card.json"];
                let init = json!([{
                    "name": "sign", "image": AGENT_IMAGE, "imagePullPolicy": "Never",
                    "command": ["/countersign"], "args": sign,
                    "volumeMounts": [mount("card", "/card"), mount("unsigned", "/unsigned"), mount("spire", "/spire")],
                }]);
                (volumes, init)
            }
        };
        let mut all = vec![
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": name, "namespace": namespace, "labels": labels },
                "spec": {
                    "replicas": 1, "selector": { "matchLabels": { "app": label } },
                    "strategy": { "type": "Recreate" },
                    "template": {
                        "metadata": { "labels": { "app": label, "kagenti.io/type": "agent" } },
                        "spec": {
                            "serviceAccountName": name, "terminationGracePeriodSeconds": 0, "enableServiceLinks": false,
                            "volumes": volumes, "initContainers": init,
                            "containers": [
                                {
                                    "name": "agent", "image": AGENT_IMAGE, "imagePullPolicy": "Never",
                                    "args": ["0.0.0.0:8000", "/card"], "volumeMounts": [mount("card", "/card")],
                                },
                                probe(),
                            ],
                        },
                    },
                },
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
                "spec": { "selector": { "app": label }, "ports": [{ "port": 8000 }] },
            }),
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": namespace },
            }),
        ];
        all.extend(more);
        Ok(all)
    }

    /// What a user who knows nothing of sidecars applies: service account, Service, and a Deployment of one agent that serves
    /// its card on the port that the variable `PORT` names, 8000.
    pub fn plain_manifests(&self, namespace: &str, name: &str) -> Result<Vec<Value>> {
        let folder = self.card_folder(namespace, name)?;
        let metadata = json!({ "name": name, "namespace": namespace });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": { "replicas": 1, "selector": { "matchLabels": { "app": name } }, "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "serviceAccountName": name, "terminationGracePeriodSeconds": 0, "enableServiceLinks": false,
                    "volumes": [{ "name": "card", "hostPath": { "path": folder } }],
                    "containers": [{
                        "name": "agent", "image": AGENT_IMAGE, "imagePullPolicy": "Never",
                        "args": ["0.0.0.0:$(PORT)", "/card"], "env": [{ "name": "PORT", "value": "8000" }],
                        "ports": [{ "containerPort": 8000 }],
                        "readinessProbe": { "httpGet": { "path": "/.well-known/agent-card.json", "port": 8000 },
                            "periodSeconds": 1 },
                        "volumeMounts": [{ "name": "card", "mountPath": "/card" }],
                    }, probe()],
                },
            } },
        });
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": { "selector": { "app": name }, "ports": [{ "name": "agent-tls", "port": 8000 }] } });
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata });
        Ok(vec![deployment, service, account])
    }

    fn card_folder(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let folder = self.rig.folder().join("cards").join(namespace).join(name);
        std::fs::create_dir_all(&folder)?;
        // The agent is another user, and notes there how often it was asked.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
        Ok(folder)
    }

    /// How often the first Pod of an agent was asked for its card.
    pub fn asked(&self, namespace: &str, name: &str) -> Result<u64> {
        let pods = labelled(&self.rig, "pods", namespace, &format!("app={}", short(name)))?;
        let running = pods.iter().find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let uid = running.context("the agent has a Pod")?["metadata"]["uid"].as_str().unwrap_or_default();
        // Its own folder, if it signs by itself, lies in a mount of the node.
        let own = format!("state/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/card");
        let folders = [self.rig.inside(&self.rig.folder().join(own)), self.card_folder(namespace, name)?];
        let asked = folders.iter().map(|folder| folder.join(format!("{name}.{namespace}.asked")));
        Ok(asked.filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum())
    }

    /// Waits until the operator has looked at each of these agents of one Pod so many times from now on.
    pub fn looked(&self, namespace: &str, names: &[&str], times: u64) -> Result<()> {
        let asked = || names.iter().map(|name| self.asked(namespace, name)).collect::<Result<Vec<_>>>();
        let before = asked()?;
        let looked = || Ok(asked()?.iter().zip(&before).all(|(now, before)| *now > before + times));
        self.rig.wait("looks at agents", looked).with_context(|| self.report())
    }

    /// Lets an agent with [`Signer::Test`] serve these bytes from now on.
    pub fn serve(&self, namespace: &str, name: &str, card: &[u8]) -> Result<()> {
        let folder = self.card_folder(namespace, name)?;
        let next = folder.join("next");
        std::fs::write(&next, card)?;
        Ok(std::fs::rename(next, folder.join("card.json"))?)
    }

    /// An agent that serves its own card, signed with an SVID of SPIRE, and so deserves trust.
    pub fn create_honest(&self, namespace: &str, name: &str) -> Result<Vec<u8>> {
        let signed = crate::Agents::sign(&card_of(name, namespace), &self.svid(namespace, name, "1h")?);
        self.serve(namespace, name, &signed)?;
        self.create(namespace, name, Signer::Test)?;
        Ok(signed)
    }

    /// An SVID of a service account, minted by SPIRE's server.
    pub fn svid(&self, namespace: &str, account: &str, ttl: &str) -> Result<Svid> {
        let folder = self.rig.folder().join("svids").join(format!("{namespace}.{account}"));
        std::fs::create_dir_all(&folder)?;
        let id = format!("spiffe://{}/ns/{namespace}/sa/{account}", crate::TRUST_DOMAIN);
        self.rig.spire().mint(&id, ttl, &folder)?;
        let read = |file: &str| std::fs::read_to_string(folder.join(file));
        let chain = parse_pem_chain(&read("svid.pem")?)?;
        let key = parse_private_key(&read("key.pem")?)?;
        let key = key.pkcs8().next().context("the minted key has no PKCS#8 form")?.to_vec();
        Ok(Svid { chain, key })
    }

    /// Whether packets of `from`, such as `deploy/weather` or `pod/stranger`, reach an address.
    pub fn connect(&self, namespace: &str, from: &str, address: &str) -> Result<Packets> {
        let call = [
            "exec",
            "-n",
            namespace,
            from,
            "-c",
            "probe",
            "--",
            "/agnhost",
            "connect",
            "--timeout=2s",
            address,
        ];
        match self.rig.kubectl(&call) {
            Ok(_) => Ok(Packets::Pass),
            Err(error) => match error.to_string() {
                text if text.contains("TIMEOUT") => Ok(Packets::Dropped),
                text if text.contains("REFUSED") => Ok(Packets::Refused),
                text => bail!("the attempt to connect could not be made: {text}"),
            },
        }
    }

    /// The address of an agent's Service.
    pub fn service(&self, namespace: &str, name: &str) -> Result<String> {
        let service = find(&self.rig, "service", namespace, name)?.context("the Service is there")?;
        let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
        Ok(format!("{address}:{}", service["spec"]["ports"][0]["port"]))
    }

    /// The address of an agent's one Pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<String> {
        let pods = labelled(&self.rig, "pods", namespace, &format!("app={}", short(name)))?;
        let pod = pods.first().with_context(|| format!("{name} has no Pod"))?;
        Ok(format!("{}:8000", pod["status"]["podIP"].as_str().unwrap_or_default()))
    }

    /// An AgentCard; null if there is none.
    pub fn card(&self, namespace: &str, name: &str) -> Result<Value> {
        Ok(find(&self.rig, "agentcards", namespace, name)?.unwrap_or_default())
    }

    /// Waits until the card that was made for a Deployment has this verdict: `None` for verified, else the
    /// reason of the refusal. Returns the time that it took.
    pub fn wait_verdict(&self, namespace: &str, name: &str, reason: Option<&str>) -> Result<Duration> {
        let card = format!("{name}-deployment-card");
        let what = format!("the verdict {} on {namespace}/{name}", reason.unwrap_or("verified"));
        let mut last = Value::Null;
        let took = until(&what, PATIENCE, || {
            last = self.card(namespace, &card)?;
            let verdict = &last["status"]["verdict"];
            let wanted = if reason.is_some() { "Refused" } else { "Verified" };
            Ok(verdict["outcome"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(wanted))
                && verdict["reason"].as_str() == reason)
        });
        took.with_context(|| format!("{:#}\n{}", last["status"], self.report()))
    }

    /// Waits until packets fare like this; returns the time that it took.
    pub fn wait_packets(
        &self,
        (namespace, from): (&str, &str),
        address: &str,
        wanted: Packets,
    ) -> Result<Duration> {
        let what = format!("{from} of {namespace} to {address}: {wanted:?}");
        let result = until(&what, PATIENCE, || {
            Ok(self.connect(namespace, from, address).is_ok_and(|found| found == wanted))
        });
        result.with_context(|| self.report())
    }

    /// The operator's processes as the machine numbers them, each with the name of its Pod.
    pub fn operators(&self) -> Result<Vec<(u32, String)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            if read("cmdline").starts_with("/manager\0") && self.owns(&entry.path()) {
                let environment = read("environ");
                let pod = environment.split('\0').find_map(|pair| pair.strip_prefix("HOSTNAME="));
                found.push((pid, pod.unwrap_or_default().to_owned()));
            }
        }
        Ok(found)
    }

    /// Other rigs of the machine have operators too; the mounts of this one's name its folder.
    fn owns(&self, process: &Path) -> bool {
        let folder = self.rig.folder().display().to_string();
        std::fs::read_to_string(process.join("mountinfo")).is_ok_and(|mounts| mounts.contains(&folder))
    }

    /// What is worth reading after a failure.
    pub fn report(&self) -> String {
        let selector = "control-plane=controller-manager";
        let asked: [&[&str]; 5] = [
            &["get", "pods,agentcards,networkpolicies", "-A", "-o", "wide"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["logs", "-n", SYSTEM, "-l", selector, "--tail=40", "--prefix"],
            &["describe", "pods", "-n", SYSTEM],
            &["get", "pods", "-A", "--show-labels"],
        ];
        asked.map(|call| self.rig.kubectl(call).unwrap_or_else(|error| format!("{error:#}"))).join("\n----\n")
    }
}

/// The second container of every Pod, from which packets are sent.
fn probe() -> Value {
    json!({ "name": "probe", "image": AGNHOST, "imagePullPolicy": "Never", "args": ["pause"] })
}

/// The value of the label `app` for a workload: the end of a long name is what differs.
fn short(name: &str) -> &str {
    name.get(name.len().saturating_sub(20)..).unwrap_or(name).trim_start_matches('-')
}

/// The folder of the chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/countersign")
}

/// A program of this workspace, beside the one of this test.
fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("a folder")?;
    let program = folder.join(name);
    if !program.exists() {
        bail!("{} is missing; build it with `cargo build --features operator`", program.display());
    }
    Ok(program)
}
