//! A running scene: control plane, authority, agents and operator, and what scenarios ask of the API server.
//! A shared scene is never dropped; its processes end with the process of the test, as every rig's do.

use crate::agents::{Agents, CRD, Card, RUNTIME_CRD, card_of};
use crate::audit::Audit;
use crate::authority::{Authority, bundle_json};
use crate::kubelet;
use crate::operator::{Operator, TRUST_DOMAIN};
use anyhow::{Context, Result, bail, ensure};
use countersign_rig::{FaultProxy, Rig};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A control plane with agents and an operator.
pub struct Scene {
    /// The control plane.
    pub rig: &'static Rig,
    /// Who issues SVIDs.
    pub authority: Authority,
    /// The agents.
    pub agents: Agents<'static>,
    /// The operator.
    pub operator: Operator<'static>,
}

impl Scene {
    /// Starts everything, the operator with these flags, and waits until it is ready.
    pub fn start(flags: &[&str]) -> Result<Self> {
        let scene = Self::start_unready(flags)?;
        scene.operator.wait_ready()?;
        Ok(scene)
    }

    /// The same for an operator that will not be ready, because of what it lacks.
    pub fn start_unready(flags: &[&str]) -> Result<Self> {
        Self::prepare(|rig| Operator::start(rig, flags))
    }

    /// The same with an operator that is started in another way.
    pub fn prepare(operator: impl FnOnce(&'static Rig) -> Result<Operator<'static>>) -> Result<Self> {
        let rig: &'static Rig = Box::leak(Box::new(Rig::control_plane()?));
        let authority = Authority::new(TRUST_DOMAIN);
        let agents = Agents::new(rig, &[], &authority)?;
        Ok(Self { rig, authority, agents, operator: operator(rig)? })
    }

    /// The same with an operator whose way to the API server is a proxy of faults, once it is ready.
    pub fn through_faults(flags: &[&str]) -> Result<(Self, FaultProxy)> {
        let mut proxy = None;
        let scene = Self::prepare(|rig| {
            let (opened, inside) = fault_proxy(rig)?;
            proxy = Some(opened);
            Operator::start_with(rig, &inside, "127.0.0.1:18081", flags)
        })?;
        scene.operator.wait_ready()?;
        Ok((scene, proxy.context("no operator was started")?))
    }

    /// Kills the operator without warning.
    pub fn kill(&mut self) -> Result<()> {
        self.operator.kill_now()
    }

    /// Starts another operator after [`Scene::kill`], and waits until it is ready.
    pub fn start_again(&mut self, flags: &[&str]) -> Result<()> {
        self.start_unready_again(flags)?;
        self.operator.wait_ready()
    }

    /// The same for one that will not be ready.
    pub fn start_unready_again(&mut self, flags: &[&str]) -> Result<()> {
        self.operator = Operator::start(self.rig, flags)?;
        Ok(())
    }

    /// Makes a scene that other tests have used ready for the next: no operator runs, the API server and the kind of
    /// AgentCards are there, the root is the scene's own, and these namespaces are new.
    pub fn prepare_again(&mut self, namespaces: &[&str]) -> Result<()> {
        // One that a test has stopped itself is gone already, and so is the API server after a test that failed.
        let _ = self.operator.kill_now();
        let _ = self.rig.start_component("apiserver");
        self.rig.wait_ready()?;
        self.rig.apply(CRD)?;
        self.rig.apply(RUNTIME_CRD)?;
        self.agents.publish(&self.bundle())?;
        for name in namespaces {
            self.namespace(name, &json!({}))?;
        }
        Ok(())
    }

    /// The trust bundle of the scene's own authority.
    pub fn bundle(&self) -> Value {
        bundle_json(&[&self.authority], 1)
    }

    /// Ends the operator in order, and everything else after it.
    pub fn stop(self) -> Result<()> {
        self.operator.stop()?;
        for part in ["controller-manager", "apiserver", "etcd"] {
            self.rig.kill_component(part)?;
        }
        Ok(())
    }

    /// Makes a namespace with these labels.
    pub fn namespace(&self, name: &str, labels: &Value) -> Result<()> {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": labels } });
        self.rig.apply(&object.to_string()).map(drop)
    }

    /// The card of an agent, signed by itself.
    pub fn honest(&self, namespace: &str, name: &str) -> Vec<u8> {
        self.signed(&card_of(name, namespace), namespace, name)
    }

    /// A card, signed by a service account.
    pub fn signed(&self, card: &Card, namespace: &str, account: &str) -> Vec<u8> {
        Agents::sign(card, &self.authority.issue(namespace, account, -60, 3600))
    }

    /// Creates an agent that serves `body`, with an AgentCard of its user that is looked at every second. The
    /// AgentCard comes first, so that none is made for it.
    pub fn agent(&self, namespace: &str, name: &str, body: &[u8]) -> Result<()> {
        self.agents.serve(namespace, name, body)?;
        let mut items = vec![user_card(namespace, name, name)];
        items.extend(Agents::manifests(namespace, name));
        self.apply_all(&items)
    }

    /// The same, with these labels added to those of the template.
    pub fn agent_labelled(&self, namespace: &str, name: &str, body: &[u8], labels: &Value) -> Result<()> {
        self.agents.serve(namespace, name, body)?;
        let mut items = vec![user_card(namespace, name, name)];
        items.extend(Agents::manifests(namespace, name));
        let spec = &mut items[1]["spec"];
        if let (Some(template), Some(labels)) =
            (spec["template"]["metadata"]["labels"].as_object_mut(), labels.as_object())
        {
            template.extend(labels.clone());
        }
        self.apply_all(&items)
    }

    /// Applies objects, in this order.
    pub fn apply_all(&self, items: &[Value]) -> Result<()> {
        self.rig.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).map(drop)
    }

    /// Makes the Pods of an agent ready or not, as their kubelet would.
    pub fn set_ready(&self, namespace: &str, name: &str, is_ready: bool) -> Result<()> {
        for pod in self.list("pods", namespace)? {
            let name_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if pod["metadata"]["labels"]["app"] == name {
                kubelet::set_ready(self.rig, namespace, &name_of(&pod["metadata"]["name"]), is_ready)?;
            }
        }
        Ok(())
    }

    /// Name and address of each Pod of an agent that can serve, in the order of their names.
    pub fn pods(&self, namespace: &str, name: &str) -> Result<Vec<(String, String)>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = self.list("pods", namespace)?;
        let own = pods.iter().filter(|pod| {
            pod["metadata"]["labels"]["app"] == name && pod["metadata"]["deletionTimestamp"].is_null()
        });
        let mut own: Vec<_> =
            own.map(|pod| (text(&pod["metadata"]["name"]), text(&pod["status"]["podIP"]))).collect();
        own.sort();
        Ok(own)
    }

    /// Waits until an agent has so many Pods with an address.
    pub fn has_pods(&self, namespace: &str, name: &str, count: usize) -> Result<Vec<(String, String)>> {
        let mut last = Vec::new();
        self.rig.wait("the Pods of an agent", || {
            last = self.pods(namespace, name)?;
            Ok(last.len() == count && last.iter().all(|(_, address)| !address.is_empty()))
        })?;
        Ok(last)
    }

    /// An object; null if there is none.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        Ok(find(self.rig, kind, namespace, name)?.unwrap_or_default())
    }

    /// All objects of a kind in a namespace.
    pub fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        list(self.rig, kind, namespace)
    }

    /// Changes an object by a merge patch.
    pub fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<()> {
        self.rig.patch(&format!("{}/{name}", collection(kind, namespace)?), patch)
    }

    /// Deletes an object and waits until it is gone.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        delete(self.rig, kind, namespace, name)
    }

    /// Waits until the AgentCard is verified and the policy of its workload open; returns the card.
    pub fn verified(&self, namespace: &str, card: &str, workload: &str) -> Result<Value> {
        let found = self.operator.wait_card(namespace, card, "a verified card", |card| {
            outcome(card) == "Verified" && holds(card, "Ready")
        })?;
        self.policy_is(namespace, workload, "Verified")?;
        Ok(found)
    }

    /// Waits until the AgentCard is refused for `reason` and the policy of its workload is closed for the same.
    pub fn refused(&self, namespace: &str, card: &str, workload: &str, reason: &str) -> Result<Value> {
        let found = self.operator.wait_card(namespace, card, "a refusal", |card| outcome(card) == reason)?;
        for kind in ["Ready", "Verified", "Bound"] {
            if holds(&found, kind) {
                bail!("a card that is refused has {kind}: {found:#}");
            }
        }
        self.policy_is(namespace, workload, reason)?;
        Ok(found)
    }

    /// Waits until the policy of a Deployment says `reason`, and is open if that is `Verified` and else closed.
    pub fn policy_is(&self, namespace: &str, workload: &str, reason: &str) -> Result<()> {
        let name = format!("{workload}-signature-policy");
        let mut last = Value::Null;
        let waited = self.rig.wait("a policy", || {
            last = self.get("networkpolicy", namespace, &name)?;
            let said = last["metadata"]["annotations"]["agent.kagenti.dev/reason"].as_str();
            Ok(said == Some(reason) && is_open(&last) == (reason == "Verified"))
        });
        waited.with_context(|| format!("{last:#}\n{}", self.operator.log()))
    }

    /// Whether an event tells of each AgentCard of a namespace that has a verdict.
    fn has_told(&self, namespace: &str) -> Result<bool> {
        let events = self.list("events.events.k8s.io", namespace)?;
        let is_told = |card: &Value| {
            let uid = &card["metadata"]["uid"];
            card["status"]["verdict"].is_null()
                || events.iter().any(|event| event["regarding"]["uid"] == *uid)
        };
        Ok(self.list("agentcards", namespace)?.iter().all(is_told))
    }

    /// Writes of the operator in a namespace from now on.
    pub fn audit(&self, namespace: &str) -> Result<Audit> {
        Audit::of_namespace(self.rig, namespace)
    }

    /// Waits until the operator has looked at an agent so many times from now on.
    pub fn looked(&self, namespace: &str, name: &str, times: u64) -> Result<()> {
        self.agents.looked(namespace, name, times).with_context(|| self.operator.log())
    }

    /// Waits until the operator has written nothing in a namespace for so long.
    pub fn settle(&self, namespace: &str, quiet: Duration) -> Result<()> {
        let mut audit = self.audit(namespace)?;
        let (mut seen, mut since) = (Vec::new(), Instant::now());
        let waited = self.rig.wait("the operator to have nothing to do", || {
            let now = audit.writes()?;
            // Events come when nothing else is due, which on a busy machine may be later than the quiet time.
            if now.len() != seen.len() || !self.has_told(namespace)? {
                (seen, since) = (now, Instant::now());
            }
            Ok(since.elapsed() > quiet)
        });
        waited.with_context(|| format!("{:#?}", seen.iter().rev().take(10).collect::<Vec<_>>()))
    }
}

/// A proxy of faults, and a kubeconfig with which an operator comes through it.
pub fn fault_proxy(rig: &Rig) -> Result<(FaultProxy, PathBuf)> {
    let opened = rig.fault_proxy("rig:operator", Some("system:masters"))?;
    // The operator runs inside, where the proxy has another address.
    let text = std::fs::read_to_string(opened.kubeconfig())?;
    let inside = rig.folder().join("through-faults.kubeconfig");
    let addresses = (opened.address().to_string(), opened.address_inside().to_string());
    ensure!(text.contains(&addresses.0), "the proxy is not at {}", addresses.0);
    std::fs::write(&inside, text.replace(&addresses.0, &addresses.1))?;
    Ok((opened, inside))
}

/// An AgentCard as its user writes it, looked at every second.
pub fn user_card(namespace: &str, name: &str, workload: &str) -> Value {
    json!({
        "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "syncPeriod": "1s",
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": workload },
        },
    })
}

/// Has an AgentCard looked at every so many seconds.
pub fn look_every(rig: &Rig, seconds: u32, namespace: &str, card: &str) -> Result<()> {
    let patch = json!({ "spec": { "syncPeriod": format!("{seconds}s") } });
    rig.patch(&format!("{}/{card}", collection("agentcard", namespace)?), &patch)
}

/// All objects of a kind in a namespace.
pub fn list(rig: &Rig, kind: &str, namespace: &str) -> Result<Vec<Value>> {
    let list = rig.get(&collection(kind, namespace)?)?.unwrap_or_default();
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// An object, if there is one.
pub fn find(rig: &Rig, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
    rig.get(&format!("{}/{name}", collection(kind, namespace)?))
}

/// All objects of a kind in a namespace that have a label, such as `app=weather`.
pub fn labelled(rig: &Rig, kind: &str, namespace: &str, label: &str) -> Result<Vec<Value>> {
    let label = label.replace('=', "%3D");
    let list =
        rig.get(&format!("{}?labelSelector={label}", collection(kind, namespace)?))?.unwrap_or_default();
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Deletes an object and waits until it is gone.
pub fn delete(rig: &Rig, kind: &str, namespace: &str, name: &str) -> Result<()> {
    rig.delete(&format!("{}/{name}", collection(kind, namespace)?))
}

/// Where objects of a kind are found; the kind is given as kubectl takes it, in the singular or the plural.
fn collection(kind: &str, namespace: &str) -> Result<String> {
    let groups = [
        ("apis/agent.kagenti.dev/v1alpha1", "agentcards"),
        ("apis/agent.kagenti.dev/v1alpha1", "agentruntimes"),
        ("apis/agent.rossoctl.dev/v1alpha1", "agentruntimes.agent.rossoctl.dev"),
        ("apis/networking.k8s.io/v1", "networkpolicies"),
        ("apis/apps/v1", "deployments"),
        ("apis/apps/v1", "replicasets"),
        ("apis/agents.x-k8s.io/v1alpha1", "sandboxes"),
        ("apis/discovery.k8s.io/v1", "endpointslices"),
        ("apis/events.k8s.io/v1", "events.events.k8s.io"),
        ("apis/coordination.k8s.io/v1", "leases"),
        ("api/v1", "configmaps"),
        ("api/v1", "pods"),
        ("api/v1", "serviceaccounts"),
        ("api/v1", "services"),
    ];
    let singular = |plural: &str| match plural.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => plural.trim_end_matches('s').to_owned(),
    };
    let found = groups.iter().find(|(_, plural)| *plural == kind || singular(plural) == kind);
    let (group, plural) = found.with_context(|| format!("no kind {kind} is known here"))?;
    let resource = plural.split('.').next().unwrap_or_default();
    Ok(format!("/{group}/namespaces/{namespace}/{resource}"))
}

/// A condition of an AgentCard; null if it has none of the type.
pub fn condition<'c>(card: &'c Value, kind: &str) -> &'c Value {
    let conditions = card["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// Whether a condition of an AgentCard has this status.
pub fn is(card: &Value, kind: &str, status: &str) -> bool {
    condition(card, kind)["status"] == status
}

/// Whether a condition of an AgentCard is true.
pub fn holds(card: &Value, kind: &str) -> bool {
    is(card, kind, "True")
}

/// The reason of the verdict, empty if there is none.
pub fn reason(card: &Value) -> &str {
    card["status"]["verdict"]["reason"].as_str().unwrap_or_default()
}

/// `Verified`, the reason of the refusal, or nothing if there is no verdict.
pub fn outcome(card: &Value) -> &str {
    let verdict = &card["status"]["verdict"];
    match verdict["outcome"].as_str() {
        Some("verified") => "Verified",
        Some(_) => verdict["reason"].as_str().unwrap_or("refused without a reason"),
        None => "",
    }
}

/// Whether a NetworkPolicy lets in peers by their mark, or lets everything out.
pub fn is_open(policy: &Value) -> bool {
    let rules = |way: &str| policy["spec"][way].as_array().cloned().unwrap_or_default();
    let everywhere = |rule: &Value| rule["to"].is_null() && rule["ports"].is_null();
    rules("egress").iter().any(everywhere)
        || rules("ingress")
            .iter()
            .any(|rule| rule["from"].is_null() || rule.to_string().contains("verified-peer"))
}
