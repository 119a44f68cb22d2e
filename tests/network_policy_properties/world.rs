//! A small cluster: workloads with verdicts, their Pods, Pods of strangers, and an operator that marks.
//! Admission is modelled as the guard promises it: no Pod is created with a mark, and nobody else changes one.

use crate::cards;
use crate::netpol::{Cluster, End, Labels, Pod, selects};
use crate::pki::WORKLOAD;
use countersign_api::keys::{AGENT_TYPE, Family, PEER_MARK_LABEL, SIDECAR_ANNOTATION};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::verdict::Verdict;
use countersign_plan::input::identity::Expected;
use countersign_plan::input::ports::OpenPorts;
use countersign_plan::{
    ApiServer, CardOutcome, CardRef, ClusterAccess, Dns, Egress, EnrolledWorkload, Isolation, Mode,
    Namespace, PodGroup, PodInput, plan_namespace_policies, plan_network_policies, plan_peer_mark,
};
use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeSet;
use std::sync::LazyLock;

const CARD_UID: &str = "3f0c6f0e-0000-4000-8000-000000000001";
pub(crate) const OPERATOR_NAMESPACE: &str = "countersign-system";
/// Every end is tried on the ports of DNS, of the API server, of a web server and of none of them.
pub(crate) const PORTS: [(&str, u16); 7] =
    [("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 6443), ("TCP", 8080), ("UDP", 8080), ("TCP", 1)];

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub(crate) fn by_labels(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector { match_labels: Some(labels(pairs)), match_expressions: None }
}

pub(crate) fn namespace(name: &str) -> Namespace {
    Namespace::parse(name).unwrap()
}

pub(crate) fn group(name: &str, pairs: &[(&str, &str)]) -> PodGroup {
    PodGroup::labelled(namespace(name), labels(pairs)).unwrap()
}

pub(crate) fn verified(card: &str) -> CardOutcome {
    static VERDICT: LazyLock<Verdict> = LazyLock::new(|| {
        let world = cards::World::new();
        Verdict::of(world.bind(&world.signed(&cards::card()), &cards::facts()))
    });
    assert!(VERDICT.is_verified());
    CardOutcome::new(CardRef::new(card, Some(CARD_UID)).unwrap(), &VERDICT)
}

pub(crate) fn refused(card: &str, reason: Reason) -> CardOutcome {
    let verdict = Verdict::refused(Refusal::new(reason, "refused"));
    CardOutcome::new(CardRef::new(card, Some(CARD_UID)).unwrap(), &verdict)
}

/// A cluster that keeps verified agents to each other; where a test opens it, it says so.
pub(crate) fn cluster_facts(api_server: &[(&str, &[u16])]) -> ClusterAccess {
    let operator = group(OPERATOR_NAMESPACE, &[("app", "countersign")]);
    let dns = Dns::new(group("kube-system", &[("k8s-app", "kube-dns")]), &[]).unwrap();
    let facts =
        ClusterAccess::new(operator, ApiServer::parse(api_server.iter().copied()).unwrap(), dns).unwrap();
    facts.with_egress(Egress::Listed(BTreeSet::new()))
}

/// A workload of the world; `verdict` is `None` where nobody enrolled it.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) facts: EnrolledWorkload,
    pub(crate) selector: LabelSelector,
    pub(crate) cards: Option<Vec<CardOutcome>>,
    /// Ports that stay open beside a sidecar.
    pub(crate) open: Option<Vec<(&'static str, u16)>>,
    label: Option<Family>,
}

impl Agent {
    pub(crate) fn new(place: &str, kind: &str, name: &str, app: &[(&str, &str)]) -> Self {
        let selector = by_labels(app);
        let id = SpiffeId::parse(WORKLOAD).unwrap();
        let facts =
            EnrolledWorkload::new(namespace(place), kind, name, Expected::exactly(id), selector.clone())
                .unwrap();
        let facts = facts.with_uid("3f0c6f0e-0000-4000-8000-000000000002").unwrap();
        Self { facts, selector, cards: None, open: None, label: None }
    }

    pub(crate) fn enrolled(mut self, cards: Vec<CardOutcome>) -> Self {
        self.cards = Some(cards);
        self
    }

    /// Isolated by its namespace: the template carries the label of this family, by which that selects.
    pub(crate) fn labelled(mut self, family: Family) -> Self {
        self.facts = self.facts.with_isolation(Isolation::Namespace(family));
        self.label = Some(family);
        self
    }

    /// Beside a sidecar: its template asks for one, and declares these ports.
    pub(crate) fn beside_sidecar(mut self, ports: &[(&'static str, u16)]) -> Self {
        let port = |(protocol, number): &(&str, u16)| ContainerPort {
            container_port: (*number).into(),
            protocol: Some((*protocol).to_owned()),
            ..ContainerPort::default()
        };
        let agent = Container { ports: Some(ports.iter().map(port).collect()), ..Container::default() };
        let spec = PodSpec { containers: vec![agent], ..PodSpec::default() };
        let annotations = Some(labels(&[(SIDECAR_ANNOTATION, "proxy-sidecar")]));
        let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
        self.open = Some(ports.to_vec());
        self.facts = self.facts.with_open_ports(OpenPorts::of_template(Some(&metadata), Some(&spec)));
        self
    }

    /// Family of an agent that is enrolled, and isolated by its namespace rather than by policies of its own.
    pub(crate) fn isolating_family(&self) -> Option<Family> {
        self.label.filter(|_| self.cards.is_some())
    }

    pub(crate) fn is_verified(&self) -> bool {
        let cards = self.cards.as_deref().unwrap_or_default();
        let own = PodInput {
            controlled_by_workload: true,
            runs_as_workload: true,
            matches_selector: true,
            host_network: false,
        };
        plan_peer_mark(cards, &self.facts, own).is_some()
    }

    pub(crate) fn policies(&self, cluster: &ClusterAccess) -> Vec<NetworkPolicy> {
        match &self.cards {
            Some(cards) => plan_network_policies(cards, &self.facts, cluster, Mode::Enforce),
            None => Vec::new(),
        }
    }
}

/// A Pod and the agent whose workload controls it, by index; strangers have none.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) pod: Pod,
    pub(crate) of: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) agents: Vec<Agent>,
    pub(crate) pods: Vec<Running>,
    pub(crate) cluster: Cluster,
    pub(crate) facts: ClusterAccess,
    next: u8,
}

impl World {
    pub(crate) fn new(facts: ClusterAccess, agents: Vec<Agent>) -> Self {
        let mut cluster = Cluster::default();
        for name in ["a", "b", "kube-system", OPERATOR_NAMESPACE] {
            cluster.namespaces.insert(name.to_owned(), labels(&[("kubernetes.io/metadata.name", name)]));
        }
        let shared: BTreeSet<_> = agents
            .iter()
            .filter_map(|agent| Some((agent.facts.namespace().clone(), agent.isolating_family()?)))
            .collect();
        let isolating = |(name, family): &(Namespace, Family)| {
            plan_namespace_policies(name, *family, &facts, Mode::Enforce)
        };
        cluster.policies = shared.iter().flat_map(isolating).collect();
        cluster.policies.extend(agents.iter().flat_map(|agent| agent.policies(&facts)));
        let mut world = Self { agents, pods: Vec::new(), cluster, facts, next: 1 };
        world.run("kube-system", labels(&[("k8s-app", "kube-dns")]), None);
        world.run(OPERATOR_NAMESPACE, labels(&[("app", "countersign")]), None);
        world
    }

    /// Starts a Pod and lets the operator see it; returns its place. What the guard refuses does not start.
    pub(crate) fn run(&mut self, place: &str, labels: Labels, of: Option<usize>) -> usize {
        assert!(!labels.contains_key(PEER_MARK_LABEL), "the guard lets no Pod start with a mark");
        let address = std::net::IpAddr::from([10, 244, 0, self.next]);
        self.next += 1;
        let mut pod =
            Pod { namespace: place.to_owned(), labels, address, host_network: false, ports: Vec::new() };
        self.mark(&mut pod, of);
        self.pods.push(Running { pod, of });
        self.pods.len() - 1
    }

    /// A Pod of an agent: the labels that its selector asks for, over whatever else the template carries.
    pub(crate) fn run_agent(&mut self, of: usize, extra: Labels) -> usize {
        let agent = &self.agents[of];
        let mut all = extra;
        all.extend(agent.selector.match_labels.clone().unwrap_or_default());
        if let Some(family) = agent.label {
            all.extend(labels(&[(family.type_label(), AGENT_TYPE)]));
        }
        let place = agent.facts.namespace().as_str().to_owned();
        self.run(&place, all, Some(of))
    }

    fn mark(&self, pod: &mut Pod, of: Option<usize>) {
        let Some(agent) = of.map(|of| &self.agents[of]) else { return };
        let facts = PodInput {
            controlled_by_workload: true,
            runs_as_workload: true,
            matches_selector: selects(&agent.selector, &pod.labels),
            host_network: pod.host_network,
        };
        if let Some(cards) = &agent.cards
            && let Some(mark) = plan_peer_mark(cards, &agent.facts, facts)
        {
            pod.labels.insert(PEER_MARK_LABEL.to_owned(), mark);
        }
    }

    pub(crate) fn pod(&self, index: usize) -> &Pod {
        &self.pods[index].pod
    }

    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        let (from, to) = (End::Pod(self.pod(from)), End::Pod(self.pod(to)));
        PORTS.iter().any(|(protocol, port)| self.cluster.allows(from, to, protocol, *port))
    }

    /// The tried ports of `to` that `from` reaches.
    pub(crate) fn reached_ports(&self, from: usize, to: usize) -> Vec<(&'static str, u16)> {
        let (from, to) = (End::Pod(self.pod(from)), End::Pod(self.pod(to)));
        PORTS.into_iter().filter(|(protocol, port)| self.cluster.allows(from, to, protocol, *port)).collect()
    }

    /// Reaches it, and is reached by it.
    pub(crate) fn meets(&self, one: usize, other: usize) -> [bool; 2] {
        [self.reaches(one, other), self.reaches(other, one)]
    }

    pub(crate) fn reaches_address(&self, from: usize, address: &str, protocol: &str, port: u16) -> bool {
        let to = End::Outside(address.parse().unwrap());
        self.cluster.allows(End::Pod(self.pod(from)), to, protocol, port)
    }

    /// Every connection between Pods, and between Pods and these addresses, on the tried ports.
    pub(crate) fn connections(&self, cluster: &Cluster, outside: &[&str]) -> Vec<Connection> {
        let pods = self.pods.iter().enumerate().map(|(index, running)| (Some(index), End::Pod(&running.pod)));
        let outside = outside.iter().map(|address| (None, End::Outside(address.parse().unwrap())));
        let ends: Vec<(Option<usize>, End<'_>)> = pods.chain(outside).collect();
        let mut all = Vec::new();
        for (from, source) in &ends {
            for (to, target) in &ends {
                if let (None, None) = (from, to) {
                    continue;
                }
                all.extend(PORTS.iter().map(|(protocol, port)| Connection {
                    ends: [*from, *to],
                    allowed: cluster.allows(*source, *target, protocol, *port),
                }));
            }
        }
        all
    }
}

/// Whether one end reaches the other; Pods are ends by their place in the world.
pub(crate) struct Connection {
    pub(crate) ends: [Option<usize>; 2],
    pub(crate) allowed: bool,
}
