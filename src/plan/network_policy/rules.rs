//! Peers and ports of NetworkPolicy rules.
//! Peer lists are never empty, because Kubernetes reads an empty list as every peer.

use crate::input::address::Cidr;
use crate::input::cluster::{ApiServer, Destination, Dns, PodGroup};
use crate::input::enrolled::selector_of;
use crate::input::namespace::Namespace;
use crate::input::ports::OpenPorts;
use countersign_api::keys::{NAMESPACE_NAME_LABEL, PEER_MARK_LABEL};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;
use std::num::NonZeroU16;

/// Ingress rule for all ports from these peers.
pub(super) fn ingress(from: Vec<NetworkPolicyPeer>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(from), ports: None }
}

/// The ports of a Pod with a sidecar. There is one at least, because Kubernetes reads an empty list as every port.
pub(super) fn ports(open: &OpenPorts) -> Vec<NetworkPolicyPort> {
    open.iter().map(|one| port(one.protocol(), one.number())).collect()
}

/// Egress rule for all ports to these peers.
pub(super) fn egress(to: Vec<NetworkPolicyPeer>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(to), ports: None }
}

/// Peer for a configured group of Pods.
pub(super) fn group(group: &PodGroup) -> NetworkPolicyPeer {
    let pods = (!group.labels().is_empty()).then(|| selector_of(group.labels().clone()));
    NetworkPolicyPeer {
        namespace_selector: Some(by_name(group.namespace())),
        pod_selector: pods,
        ip_block: None,
    }
}

/// Peers for every marked Pod of the policy's own namespace, and of `namespaces`.
pub(super) fn verified_agents(namespaces: &BTreeSet<Namespace>) -> Vec<NetworkPolicyPeer> {
    let marked = LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: PEER_MARK_LABEL.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
        match_labels: None,
    };
    std::iter::once(None)
        .chain(namespaces.iter().map(|namespace| Some(by_name(namespace))))
        .map(|namespace_selector| NetworkPolicyPeer {
            namespace_selector,
            pod_selector: Some(marked.clone()),
            ip_block: None,
        })
        .collect()
}

/// Egress rule for DNS over UDP and TCP, which resolvers use for truncated answers (RFC 7766).
pub(super) fn to_dns(dns: &Dns) -> NetworkPolicyEgressRule {
    let mut to = vec![group(dns.pods())];
    to.extend(dns.addresses().iter().map(|address| range(Cidr::single(*address), &BTreeSet::new())));
    let ports = dns.ports().iter().flat_map(|number| [port("UDP", *number), port("TCP", *number)]);
    NetworkPolicyEgressRule { to: Some(to), ports: Some(ports.collect()) }
}

/// Egress rules for the API server, one per address, because each address has its own ports.
pub(super) fn to_api_server(server: &ApiServer) -> Vec<NetworkPolicyEgressRule> {
    let rule = |(address, ports): (&_, _)| tcp_to(range(Cidr::single(*address), &BTreeSet::new()), ports);
    server.endpoints().iter().map(rule).collect()
}

/// Egress rule for a configured destination, TCP only.
pub(super) fn to_destination(destination: &Destination) -> NetworkPolicyEgressRule {
    tcp_to(range(destination.range(), destination.except()), destination.ports())
}

fn tcp_to(peer: NetworkPolicyPeer, ports: &BTreeSet<NonZeroU16>) -> NetworkPolicyEgressRule {
    let ports = ports.iter().map(|number| port("TCP", *number)).collect();
    NetworkPolicyEgressRule { to: Some(vec![peer]), ports: Some(ports) }
}

fn by_name(namespace: &Namespace) -> LabelSelector {
    selector_of([(NAMESPACE_NAME_LABEL.to_owned(), namespace.as_str().to_owned())])
}

fn range(cidr: Cidr, except: &BTreeSet<Cidr>) -> NetworkPolicyPeer {
    let except = (!except.is_empty()).then(|| except.iter().map(Cidr::to_string).collect());
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_string(), except }),
        namespace_selector: None,
        pod_selector: None,
    }
}

fn port(protocol: &str, number: NonZeroU16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number.get()))),
        end_port: None,
    }
}
