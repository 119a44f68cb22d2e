//! What the NetworkPolicy API says about a packet, written from its documentation and nothing else.
//! Where the documentation leaves room, the reading that allows more is taken.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) type Labels = BTreeMap<String, String>;

/// A Pod as far as policies see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    pub(crate) address: IpAddr,
    pub(crate) host_network: bool,
    /// Container ports that have names: name, protocol, number.
    pub(crate) ports: Vec<(String, String, u16)>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    Pod(&'a Pod),
    Outside(IpAddr),
}

/// A cluster: labels of namespaces by name, and the stored policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) namespaces: BTreeMap<String, Labels>,
    pub(crate) policies: Vec<NetworkPolicy>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Ingress,
    Egress,
}

impl Cluster {
    /// "For a connection from a source pod to a destination pod to be allowed, both the egress policy on the
    /// source pod and the ingress policy on the destination pod need to allow the connection."
    pub(crate) fn allows(&self, from: End<'_>, to: End<'_>, protocol: &str, port: u16) -> bool {
        if let (End::Pod(a), End::Pod(b)) = (from, to)
            && a == b
        {
            return true;
        }
        self.passes(Direction::Egress, from, to, to, protocol, port)
            && self.passes(Direction::Ingress, to, from, to, protocol, port)
    }

    /// True when some policy isolates the Pod in both directions.
    pub(crate) fn isolates(&self, pod: &Pod) -> bool {
        [Direction::Ingress, Direction::Egress]
            .into_iter()
            .all(|direction| self.selecting(direction, pod).next().is_some())
    }

    fn passes(
        &self,
        direction: Direction,
        subject: End<'_>,
        peer: End<'_>,
        destination: End<'_>,
        protocol: &str,
        port: u16,
    ) -> bool {
        // Policies select Pods; Pods in the node's network are not told apart from their node.
        let End::Pod(pod) = subject else { return true };
        let mut isolated = false;
        for policy in self.selecting(direction, pod) {
            isolated = true;
            let namespace = namespace_of(policy);
            for (peers, ports) in rules(spec_of(policy), direction) {
                let to_peer = peers.is_empty() || peers.iter().any(|p| self.is_peer(p, namespace, peer));
                let to_port =
                    ports.is_empty() || ports.iter().any(|p| is_port(p, destination, protocol, port));
                if to_peer && to_port {
                    return true;
                }
            }
        }
        !isolated
    }

    fn selecting(&self, direction: Direction, pod: &Pod) -> impl Iterator<Item = &NetworkPolicy> {
        self.policies.iter().filter(move |policy| {
            let spec = spec_of(policy);
            !pod.host_network
                && namespace_of(policy) == pod.namespace
                && has_type(spec, direction)
                && spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, &pod.labels))
        })
    }

    fn is_peer(&self, peer: &NetworkPolicyPeer, own_namespace: &str, end: End<'_>) -> bool {
        if let Some(block) = &peer.ip_block {
            assert!(peer.pod_selector.is_none() && peer.namespace_selector.is_none(), "ipBlock stands alone");
            return match end {
                End::Pod(pod) => in_block(block, pod.address),
                End::Outside(address) => in_block(block, address),
            };
        }
        assert!(peer.pod_selector.is_some() || peer.namespace_selector.is_some(), "a peer selects something");
        let End::Pod(pod) = end else { return false };
        let namespace = match &peer.namespace_selector {
            Some(selector) => {
                self.namespaces.get(&pod.namespace).is_some_and(|labels| selects(selector, labels))
            }
            None => pod.namespace == own_namespace,
        };
        let labels = peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &pod.labels));
        namespace && labels && !pod.host_network
    }
}

fn namespace_of(policy: &NetworkPolicy) -> &str {
    policy.metadata.namespace.as_deref().expect("a stored policy has a namespace")
}

fn spec_of(policy: &NetworkPolicy) -> &NetworkPolicySpec {
    policy.spec.as_ref().expect("a policy has a spec")
}

/// Types that are not given follow from the rules: ingress always, egress if there is an egress rule.
fn has_type(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    match spec.policy_types.as_deref() {
        None | Some([]) => {
            direction == Direction::Ingress || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())
        }
        Some(types) => types.iter().any(|kind| match direction {
            Direction::Ingress => kind == "Ingress",
            Direction::Egress => kind == "Egress",
        }),
    }
}

type Rule<'a> = (&'a [NetworkPolicyPeer], &'a [NetworkPolicyPort]);

/// Peers and ports of each rule; in both, absent and empty mean everything.
fn rules(spec: &NetworkPolicySpec, direction: Direction) -> Vec<Rule<'_>> {
    match direction {
        Direction::Ingress => spec
            .ingress
            .iter()
            .flatten()
            .map(|rule| (rule.from.as_deref().unwrap_or_default(), rule.ports.as_deref().unwrap_or_default()))
            .collect(),
        Direction::Egress => spec
            .egress
            .iter()
            .flatten()
            .map(|rule| (rule.to.as_deref().unwrap_or_default(), rule.ports.as_deref().unwrap_or_default()))
            .collect(),
    }
}

/// The protocol is TCP unless given; a name is looked up at the destination; `endPort` makes a range.
fn is_port(rule: &NetworkPolicyPort, destination: End<'_>, protocol: &str, port: u16) -> bool {
    if rule.protocol.as_deref().unwrap_or("TCP") != protocol {
        return false;
    }
    match (&rule.port, rule.end_port) {
        (None, None) => true,
        (Some(IntOrString::Int(first)), last) => (*first..=last.unwrap_or(*first)).contains(&i32::from(port)),
        (Some(IntOrString::String(name)), None) => match destination {
            End::Pod(pod) => {
                pod.ports.iter().any(|(n, p, number)| n == name && p == protocol && *number == port)
            }
            End::Outside(_) => false,
        },
        (None | Some(IntOrString::String(_)), Some(_)) => panic!("endPort needs a port number"),
    }
}

fn in_block(block: &IPBlock, address: IpAddr) -> bool {
    in_cidr(&block.cidr, address) && !block.except.iter().flatten().any(|cidr| in_cidr(cidr, address))
}

fn in_cidr(cidr: &str, address: IpAddr) -> bool {
    let (network, length) = cidr.split_once('/').expect("a CIDR has a slash");
    let (network, length): (IpAddr, usize) = (network.parse().unwrap(), length.parse().unwrap());
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (128, v6.to_bits()),
    };
    let ((width, network), (other, address)) = (number(network), number(address));
    assert!(length <= width, "a prefix is not longer than its address");
    width == other && (length == 0 || (network ^ address) >> (width - length) == 0)
}

/// All of `matchLabels` and all of `matchExpressions`; an empty selector selects everything.
pub(crate) fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().flatten().all(|expression| holds(expression, labels))
}

fn holds(expression: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&expression.key);
    let listed = || value.is_some_and(|value| expression.values.iter().flatten().any(|v| v == value));
    match expression.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        other => panic!("no such operator: {other}"),
    }
}

mod evaluator {
    use super::*;
    use serde_json::{Value, json};

    fn pod(namespace: &str, labels: Value, address: &str) -> Pod {
        Pod {
            namespace: namespace.to_owned(),
            labels: serde_json::from_value(labels).unwrap(),
            address: address.parse().unwrap(),
            host_network: false,
            ports: vec![("web".to_owned(), "TCP".to_owned(), 8080)],
        }
    }

    fn cluster(specs: &[Value]) -> Cluster {
        let label = |name: &str| (name.to_owned(), Labels::from([("name".to_owned(), name.to_owned())]));
        let policies = specs.iter().map(|spec| {
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "a"}, "spec": spec}))
                .unwrap()
        });
        Cluster { namespaces: [label("a"), label("b")].into(), policies: policies.collect() }
    }

    fn ways(cluster: &Cluster) -> [bool; 4] {
        let (server, client) =
            (pod("a", json!({"app": "server"}), "10.0.0.1"), pod("a", json!({"app": "client"}), "10.0.0.2"));
        let foreign = pod("b", json!({"app": "client"}), "10.0.0.3");
        let to = End::Pod(&server);
        [
            cluster.allows(End::Pod(&client), to, "TCP", 8080),
            cluster.allows(End::Pod(&foreign), to, "TCP", 8080),
            cluster.allows(End::Outside("192.0.2.1".parse().unwrap()), to, "TCP", 8080),
            cluster.allows(to, End::Pod(&client), "TCP", 8080),
        ]
    }

    #[test]
    fn without_a_policy_everything_is_allowed() {
        assert_eq!(ways(&cluster(&[])), [true; 4]);
    }

    #[test]
    fn policy_types_that_are_not_given_follow_from_the_rules() {
        let selector = json!({"matchLabels": {"app": "server"}});
        assert_eq!(ways(&cluster(&[json!({"podSelector": selector})])), [false, false, false, true]);
        assert_eq!(
            ways(&cluster(&[json!({"podSelector": selector, "egress": []})])),
            [false, false, false, true]
        );
        let rule = json!([{"ports": [{"port": 1}]}]);
        assert_eq!(ways(&cluster(&[json!({"podSelector": selector, "egress": rule})])), [false; 4]);
        let only = json!({"podSelector": selector, "policyTypes": ["Egress"]});
        assert_eq!(ways(&cluster(&[only])), [true, true, true, false]);
    }

    #[test]
    fn an_empty_rule_allows_all_and_an_empty_list_nothing() {
        let base =
            |ingress: Value| json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress});
        assert_eq!(ways(&cluster(&[base(json!([]))])), [false; 4]);
        assert_eq!(ways(&cluster(&[base(json!([{}]))])), [true; 4]);
        assert_eq!(ways(&cluster(&[base(json!([{"from": [], "ports": []}]))])), [true; 4]);
    }

    #[test]
    fn policies_add_up() {
        let allow = |app: &str| {
            json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": app}}}]}]})
        };
        assert_eq!(ways(&cluster(&[allow("x")])), [false, false, false, true]);
        assert_eq!(ways(&cluster(&[allow("x"), allow("client")])), [true, false, false, true]);
    }

    #[test]
    fn both_ends_must_allow() {
        let deny_out = json!({"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"]});
        assert_eq!(ways(&cluster(&[deny_out])), [false, true, true, true]);
    }

    #[test]
    fn selectors_of_one_peer_are_and_and_peers_are_or() {
        let from = |peers: Value| {
            json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
                "ingress": [{"from": peers}]})
        };
        let namespace = json!({"matchLabels": {"name": "b"}});
        let pods = json!({"matchLabels": {"app": "client"}});
        let none = json!({"matchLabels": {"app": "none"}});
        let way = |peers| ways(&cluster(&[from(peers)]))[..3].to_vec();
        assert_eq!(way(json!([{"namespaceSelector": namespace, "podSelector": pods}])), [false, true, false]);
        assert_eq!(
            way(json!([{"namespaceSelector": namespace, "podSelector": none}])),
            [false, false, false]
        );
        assert_eq!(
            way(json!([{"namespaceSelector": namespace}, {"podSelector": pods}])),
            [true, true, false]
        );
        assert_eq!(way(json!([{"namespaceSelector": {}}])), [true, true, false]);
        assert_eq!(way(json!([{"podSelector": {}}])), [true, false, false]);
    }

    #[test]
    fn a_block_matches_addresses_without_its_exceptions() {
        let from = |block: Value| {
            json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"ipBlock": block}]}]})
        };
        let way = |block| ways(&cluster(&[from(block)]))[..3].to_vec();
        assert_eq!(way(json!({"cidr": "192.0.2.1/32"})), [false, false, true]);
        assert_eq!(way(json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.2/32"]})), [false, true, true]);
        assert_eq!(way(json!({"cidr": "::/0"})), [false, false, false]);
        assert!(in_cidr("2001:db8::/127", "2001:db8::1".parse().unwrap()));
        assert!(!in_cidr("2001:db8::/127", "2001:db8::2".parse().unwrap()));
    }

    #[test]
    fn ports_have_a_protocol_a_range_or_a_name() {
        let server = pod("a", json!({"app": "server"}), "10.0.0.1");
        let other = End::Outside("192.0.2.1".parse().unwrap());
        let passes = |port: Value, protocol: &str, number: u16| {
            let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [port]}]});
            cluster(&[spec]).allows(other, End::Pod(&server), protocol, number)
        };
        assert!(passes(json!({"port": 80}), "TCP", 80));
        assert!(!passes(json!({"port": 80}), "UDP", 80));
        assert!(!passes(json!({"port": 80}), "TCP", 81));
        assert!(passes(json!({"port": 80, "endPort": 90}), "TCP", 90));
        assert!(!passes(json!({"port": 80, "endPort": 90}), "TCP", 91));
        assert!(passes(json!({"port": "web"}), "TCP", 8080));
        assert!(!passes(json!({"port": "web"}), "TCP", 8081));
        assert!(!passes(json!({"port": "other"}), "TCP", 8080));
        assert!(passes(json!({"protocol": "UDP"}), "UDP", 1));
        assert!(!passes(json!({"protocol": "UDP"}), "TCP", 1));
    }

    #[test]
    fn expressions_follow_the_label_selector() {
        let labels = Labels::from([("app".to_owned(), "x".to_owned())]);
        let yes = |key: &str, operator: &str, values: &[&str]| {
            let selector =
                json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
            selects(&serde_json::from_value(selector).unwrap(), &labels)
        };
        assert!(yes("app", "In", &["x", "y"]) && !yes("app", "In", &["y"]) && !yes("tier", "In", &["x"]));
        assert!(yes("app", "NotIn", &["y"]) && !yes("app", "NotIn", &["x"]) && yes("tier", "NotIn", &["x"]));
        assert!(yes("app", "Exists", &[]) && !yes("tier", "Exists", &[]));
        assert!(yes("tier", "DoesNotExist", &[]) && !yes("app", "DoesNotExist", &[]));
    }

    #[test]
    fn pods_in_the_network_of_their_node_are_beyond_policies() {
        let mut server = pod("a", json!({"app": "server"}), "192.0.2.9");
        server.host_network = true;
        let client = pod("a", json!({"app": "client"}), "10.0.0.2");
        let deny = cluster(&[json!({"podSelector": {"matchLabels": {"app": "server"}}})]);
        assert!(deny.allows(End::Pod(&client), End::Pod(&server), "TCP", 1));
        let out =
            cluster(&[json!({"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {}}]}]})]);
        assert!(!out.allows(End::Pod(&client), End::Pod(&server), "TCP", 1));
    }

    #[test]
    fn policies_stay_in_their_namespace_and_a_pod_always_reaches_itself() {
        let foreign = pod("b", json!({"app": "server"}), "10.0.0.9");
        let deny = cluster(&[json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})]);
        assert!(deny.allows(End::Outside("192.0.2.1".parse().unwrap()), End::Pod(&foreign), "TCP", 1));
        assert!(!deny.isolates(&foreign));
        let own = pod("a", json!({}), "10.0.0.8");
        assert!(deny.isolates(&own));
        assert!(deny.allows(End::Pod(&own), End::Pod(&own), "TCP", 1));
    }
}
