//! Plans for a small cluster of any workloads and verdicts: names are valid, who is not verified meets no enrolled
//! agent, losing any one object opens nothing, and the order of cards does not matter.
#![no_main]

#[path = "../../tests/support/netpol.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod netpol;

use countersign_api::keys::{NAMESPACE_NAME_LABEL, PEER_MARK_LABEL};
use countersign_core::bind::{Source, WorkloadFacts, bind_card};
use countersign_core::card::Card;
use countersign_core::policy::Policy;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::time::Timestamp;
use countersign_core::verdict::Verdict;
use countersign_core::verify::{Against, verify_card};
use countersign_fuzz::authority::{DOMAIN, NOW, WORKLOAD};
use countersign_fuzz::cards::EXAMPLES;
use countersign_fuzz::case::{BUNDLE, HONEST};
use countersign_plan::input::identity::Expected;
use countersign_plan::{
    ApiServer, CardOutcome, CardRef, ClusterAccess, Dns, Egress, EnrolledWorkload, Mode, Namespace, PodGroup,
    PodInput, plan_network_policies, plan_peer_mark,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use netpol::{Cluster, End, Labels, Pod, selects};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::LazyLock;

const OUTSIDE: [&str; 3] = ["172.18.0.2", "203.0.113.7", "fd00::2"];
const PORTS: [(&str, u16); 4] = [("UDP", 53), ("TCP", 6443), ("TCP", 8080), ("TCP", 1)];

#[derive(Arbitrary, Debug)]
struct Case {
    agents: Vec<Agent>,
    strangers: Vec<(bool, Vec<Label>)>,
    across: bool,
    anywhere: bool,
    caller: Option<Label>,
    name: String,
}

#[derive(Arbitrary, Debug)]
struct Agent {
    in_b: bool,
    kind: u8,
    name: u8,
    selector: Vec<Label>,
    template: Vec<Label>,
    cards: Option<Vec<Judgement>>,
    host_network: bool,
    wrong_identity: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Judgement {
    Verified,
    Refused(u8),
}

/// A label of the author's choice, the operator's own keys among them.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Label {
    key: u8,
    value: u8,
}

/// An agent that runs.
struct Running {
    facts: EnrolledWorkload,
    selector: LabelSelector,
    cards: Option<Vec<CardOutcome>>,
    verified: bool,
    pod: Pod,
}

static VERIFIED: LazyLock<Verdict> = LazyLock::new(|| {
    let signed = HONEST.first().expect("a signature");
    let mut card = EXAMPLES[signed.example].clone();
    card["signatures"] = json!([{"protected": signed.protected, "signature": signed.signature}]);
    let mut policy = Policy::new(TrustDomain::parse(DOMAIN).expect("a trust domain"));
    policy.coverage = countersign_core::policy::Coverage::Report;
    policy.numbers = countersign_core::json::Numbers::Binary64;
    let card = Card::parse(serde_json::to_vec(&card).expect("a text"), policy.numbers).expect("a card");
    let now = Timestamp::from_unix(NOW);
    let against = Against { bundle: &BUNDLE, policy: &policy, expected: None, history: None, now };
    let signed = verify_card(&card, against).expect("a signed card");
    let facts = WorkloadFacts {
        expected_id: workload_id(),
        cluster_hosts: BTreeSet::from(["weather.a.svc.cluster.local".to_owned()]),
        ingress_hosts: BTreeSet::new(),
        source: Source::File,
    };
    let verdict = Verdict::of(bind_card(signed, &facts, None));
    assert!(verdict.is_verified(), "{verdict:?}");
    verdict
});

fuzz_target!(|case: Case| {
    check_names(&case.name);
    let Some(facts) = cluster_facts(&case) else { return };
    let mut taken = BTreeSet::new();
    let mut address = 0;
    let agents: Vec<Running> = case
        .agents
        .iter()
        .take(4)
        .filter(|agent| taken.insert((agent.in_b, agent.kind % 3, agent.name % 4)))
        .filter_map(|agent| agent.run(&mut address))
        .collect();
    let mut cluster = Cluster::default();
    for name in ["a", "b", "kube-system", "countersign-system"] {
        let labels = Labels::from([(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned())]);
        cluster.namespaces.insert(name.to_owned(), labels);
    }
    for agent in &agents {
        let Some(cards) = &agent.cards else { continue };
        let planned = plan_network_policies(cards, &agent.facts, &facts, Mode::Enforce);
        let other_order: Vec<_> = cards.iter().rev().cloned().collect();
        assert_eq!(plan_network_policies(&other_order, &agent.facts, &facts, Mode::Enforce), planned);
        assert!(plan_network_policies(cards, &agent.facts, &facts, Mode::Audit).is_empty());
        cluster.policies.extend(planned);
    }
    check_objects(&cluster);
    let strangers = case.strangers.iter().take(3).map(|(in_b, labels)| pod(*in_b, labels, &mut address));
    let strangers: Vec<Pod> = strangers.collect();
    check_strangers(&cluster, &agents, &strangers, &case);
    check_loss(&cluster, &agents, &strangers);
});

fn workload_id() -> SpiffeId {
    SpiffeId::parse(WORKLOAD).expect("a SPIFFE ID")
}

fn group(namespace: &str, key: &str, value: &str) -> Option<PodGroup> {
    let labels = Labels::from([(key.to_owned(), value.to_owned())]);
    PodGroup::labelled(Namespace::parse(namespace).ok()?, labels).ok()
}

fn cluster_facts(case: &Case) -> Option<ClusterAccess> {
    let dns = Dns::new(group("kube-system", "k8s-app", "kube-dns")?, &[]).ok()?;
    let server = ApiServer::parse([("172.18.0.2", &[6443][..])]).ok()?;
    let operator = group("countersign-system", "app", "countersign")?;
    let mut facts = ClusterAccess::new(operator, server, dns).ok()?;
    facts = facts.with_egress(if case.anywhere { Egress::Anywhere } else { Egress::Listed(BTreeSet::new()) });
    if case.across {
        for name in ["a", "b"] {
            facts = facts.with_agent_namespace(Namespace::parse(name).ok()?);
        }
    }
    if let Some((key, value)) = case.caller.map(Label::pair) {
        // A caller is the operator's choice; it may be anyone, so that isolation from it is not promised.
        facts = facts.with_caller(group("kube-system", &key, &value)?);
    }
    Some(facts)
}

impl Label {
    fn pair(self) -> (String, String) {
        let keys = [
            "app",
            "tier",
            "kagenti.io/type",
            "agent.kagenti.dev/signature-verified",
            "agent.kagenti.dev/workload",
            "agent.kagenti.dev/policy-role",
        ];
        let values = ["x", "y", "true", "verdict", "agent", ""];
        let pick = |list: &[&str], choice: u8| list[usize::from(choice) % list.len()].to_owned();
        (pick(&keys, self.key), pick(&values, self.value))
    }
}

fn pod(in_b: bool, labels: &[Label], address: &mut u8) -> Pod {
    *address += 1;
    Pod {
        namespace: if in_b { "b" } else { "a" }.to_owned(),
        labels: labels.iter().take(4).map(|label| label.pair()).collect(),
        address: [10, 244, 0, *address].into(),
        host_network: false,
        ports: Vec::new(),
    }
}

impl Agent {
    fn run(&self, address: &mut u8) -> Option<Running> {
        let namespace = Namespace::parse(if self.in_b { "b" } else { "a" }).ok()?;
        let kind = ["Deployment", "StatefulSet", "Sandbox"][usize::from(self.kind % 3)];
        let long = "w".repeat(253);
        let name = ["weather", "weather.v1", "w", long.as_str()][usize::from(self.name % 4)];
        let labels: Labels = self.selector.iter().take(2).map(|label| label.pair()).collect();
        let selector = LabelSelector { match_labels: Some(labels.clone()), match_expressions: None };
        let id = if self.wrong_identity {
            SpiffeId::parse("spiffe://example.org/other").ok()?
        } else {
            workload_id()
        };
        let facts =
            EnrolledWorkload::new(namespace, kind, name, Expected::exactly(id), selector.clone()).ok()?;
        let facts = facts.with_host_network(self.host_network);
        let mut pod = pod(self.in_b, &self.template, address);
        pod.labels.extend(labels);
        pod.host_network = self.host_network;
        let cards: Option<Vec<CardOutcome>> = self
            .cards
            .as_ref()
            .map(|cards| cards.iter().take(3).enumerate().filter_map(|(at, card)| card.judge(at)).collect());
        let own = PodInput {
            controlled_by_workload: true,
            runs_as_workload: true,
            matches_selector: selects(&selector, &pod.labels),
            host_network: self.host_network,
        };
        let mark = cards.as_ref().and_then(|cards| plan_peer_mark(cards, &facts, own));
        // What the verdict should be, from the input alone.
        let all_verified = self.cards.iter().flatten().take(3).all(|card| *card == Judgement::Verified);
        let some = self.cards.as_ref().is_some_and(|cards| !cards.is_empty());
        let verified = all_verified && some && !self.host_network && !self.wrong_identity;
        assert_eq!(mark.is_some(), verified);
        if let Some(mark) = mark {
            pod.labels.insert(PEER_MARK_LABEL.to_owned(), mark);
        }
        Some(Running { facts, selector, cards, verified, pod })
    }
}

impl Judgement {
    fn judge(self, at: usize) -> Option<CardOutcome> {
        let card = CardRef::new(&format!("card-{at}"), None).ok()?;
        Some(match self {
            Self::Verified => CardOutcome::new(card, &VERIFIED),
            Self::Refused(reason) => {
                let reason = Reason::ALL[usize::from(reason) % Reason::ALL.len()];
                CardOutcome::new(card, &Verdict::refused(Refusal::new(reason, "refused")))
            }
        })
    }
}

/// Any name is refused or gives objects with valid names.
fn check_names(name: &str) {
    let selector = LabelSelector {
        match_labels: Some(Labels::from([("app".to_owned(), "x".to_owned())])),
        match_expressions: None,
    };
    let Ok(namespace) = Namespace::parse("a") else { return };
    for (kind, name) in [("Deployment", name), (name, "weather")] {
        let expected = Expected::exactly(workload_id());
        let Ok(facts) = EnrolledWorkload::new(namespace.clone(), kind, name, expected, selector.clone())
        else {
            continue;
        };
        let case = Case {
            agents: Vec::new(),
            strangers: Vec::new(),
            across: false,
            anywhere: false,
            caller: None,
            name: String::new(),
        };
        let cluster = cluster_facts(&case).expect("facts");
        let policies = plan_network_policies(&[], &facts, &cluster, Mode::Enforce);
        check_objects(&Cluster { policies, ..Cluster::default() });
    }
    if let Ok(namespace) = Namespace::parse(name) {
        assert!(is_label(namespace.as_str()) && namespace.as_str() == name);
    }
}

/// DNS-1123 label.
fn is_label(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn check_objects(cluster: &Cluster) {
    let mut names = BTreeSet::new();
    for policy in &cluster.policies {
        let meta = &policy.metadata;
        let name = meta.name.as_deref().expect("a name");
        assert!(name.len() <= 253 && name.split('.').all(is_label), "{name}");
        assert!(names.insert((meta.namespace.clone(), name)), "{name} twice");
        for value in meta.labels.iter().flatten().map(|(_, value)| value) {
            let inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let ends = [value.chars().next(), value.chars().last()];
            assert!(value.len() <= 63 && value.chars().all(inside), "{value}");
            assert!(ends.into_iter().flatten().all(|c| c.is_ascii_alphanumeric()), "{value}");
        }
        let spec = policy.spec.as_ref().expect("a spec");
        assert_eq!(spec.policy_types.as_deref(), Some(&["Ingress".to_owned(), "Egress".to_owned()][..]));
    }
}

fn check_strangers(cluster: &Cluster, agents: &[Running], strangers: &[Pod], case: &Case) {
    let reaches = |from: &Pod, to: &Pod| {
        PORTS.iter().any(|(protocol, port)| cluster.allows(End::Pod(from), End::Pod(to), protocol, *port))
    };
    for agent in agents.iter().filter(|agent| agent.cards.is_some() && !agent.pod.host_network) {
        assert!(cluster.isolates(&agent.pod), "{:?}", agent.pod);
        let unverified = agents.iter().filter(|other| !other.verified).map(|other| &other.pod);
        let verified = agents.iter().filter(|other| other.verified).map(|other| &other.pod);
        let kept_out: Vec<&Pod> = match agent.verified {
            true => unverified.chain(strangers).collect(),
            false => unverified.chain(strangers).chain(verified).collect(),
        };
        for other in kept_out.into_iter().filter(|other| **other != agent.pod && !other.host_network) {
            assert!(!reaches(other, &agent.pod), "{other:?} reaches {:?}", agent.pod);
            // A verified agent may be allowed to call anywhere.
            assert!(!reaches(&agent.pod, other) || (agent.verified && case.anywhere), "{other:?}");
        }
    }
    for (one, other) in agents.iter().flat_map(|one| agents.iter().map(move |other| (one, other))) {
        let near = case.across || one.pod.namespace == other.pod.namespace;
        if one.verified && other.verified && near && !shares_a_pod(one, other, agents) {
            assert!(reaches(&one.pod, &other.pod), "verified agents do not meet");
        }
    }
}

/// Overlapping selectors make one workload's policies select another one's Pods; those are isolated for both.
fn shares_a_pod(one: &Running, other: &Running, agents: &[Running]) -> bool {
    [one, other].into_iter().any(|agent| {
        agents
            .iter()
            .filter(|any| any.pod.namespace == agent.pod.namespace && any.pod != agent.pod)
            .any(|any| any.cards.is_some() && selects(&any.selector, &agent.pod.labels))
    })
}

fn check_loss(cluster: &Cluster, agents: &[Running], strangers: &[Pod]) {
    let mut ends: Vec<End<'_>> = agents.iter().map(|agent| End::Pod(&agent.pod)).collect();
    ends.extend(strangers.iter().map(End::Pod));
    ends.extend(OUTSIDE.iter().map(|text| End::Outside(text.parse().expect("an address"))));
    let open = |cluster: &Cluster| -> Vec<bool> {
        let pairs = ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to)));
        let ways = pairs.flat_map(|(from, to)| PORTS.iter().map(move |port| (from, to, port)));
        ways.map(|(from, to, (protocol, port))| cluster.allows(from, to, protocol, *port)).collect()
    };
    let whole = open(cluster);
    for lost in 0..cluster.policies.len() {
        let mut rest = cluster.clone();
        let gone = rest.policies.remove(lost);
        for (before, after) in whole.iter().zip(open(&rest)) {
            assert!(*before || !after, "losing {:?} opens a way", gone.metadata.name);
        }
    }
}
