//! Network access that every agent of the cluster shares: the servers it needs and the callers it admits.
//! Callers come from the operator's configuration, never from the workload.

use super::address::{Cidr, server_address};
use super::error::InputError;
use super::namespace::Namespace;
use super::syntax::{is_label_key, is_label_value};
use countersign_core::text::Quoted;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

/// Pods of one namespace, selected by namespace name: other labels of a namespace are under its owner's control.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodGroup {
    namespace: Namespace,
    labels: BTreeMap<String, String>,
}

impl PodGroup {
    /// Parses `NAMESPACE` or `NAMESPACE:key=value,…`, as flags name callers and DNS Pods.
    ///
    /// # Errors
    /// A clause that says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (namespace, labels) = match text.split_once(':') {
            Some((namespace, labels)) => (namespace, Some(labels)),
            None => (text, None),
        };
        let namespace = Namespace::parse(namespace).map_err(|error| error.to_string())?;
        let Some(labels) = labels else { return Ok(Self::whole_namespace(namespace)) };
        let mut all = BTreeMap::new();
        for label in labels.split(',') {
            let (key, value) = label
                .split_once('=')
                .ok_or("a label has no `=`; write NAMESPACE or NAMESPACE:key=value,…")?;
            if all.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("the label {} is named twice; name it once", Quoted(key)));
            }
        }
        Self::labelled(namespace, all).map_err(|error| error.to_string())
    }

    /// Group of every Pod of a namespace.
    pub fn whole_namespace(namespace: Namespace) -> Self {
        Self { namespace, labels: BTreeMap::new() }
    }

    /// Group of the Pods of a namespace that carry all of `labels`; refuses an empty map, which would select every Pod.
    pub fn labelled(namespace: Namespace, labels: BTreeMap<String, String>) -> Result<Self, InputError> {
        if labels.is_empty() {
            return Err(InputError::EmptySelector("a group of Pods"));
        }
        for (key, value) in &labels {
            if !is_label_key(key) {
                return Err(InputError::malformed("a label key", key));
            }
            if !is_label_value(value) {
                return Err(InputError::malformed("a label value", value));
            }
        }
        Ok(Self { namespace, labels })
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

/// Endpoints of the API server: each IP address with its TCP ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiServer(BTreeMap<IpAddr, BTreeSet<NonZeroU16>>);

impl ApiServer {
    /// Parses addresses and ports as the `EndpointSlice`s of the Service `default/kubernetes` list them.
    ///
    /// Refuses an empty list, an address without ports and an address that no API server can have; the caller then
    /// keeps the last good endpoints.
    pub fn parse<'a>(endpoints: impl IntoIterator<Item = (&'a str, &'a [u16])>) -> Result<Self, InputError> {
        const WHAT: &str = "an API server endpoint";
        let mut all: BTreeMap<IpAddr, BTreeSet<NonZeroU16>> = BTreeMap::new();
        for (text, ports) in endpoints {
            let address = text.parse().map_err(|_| InputError::address(WHAT, text))?;
            let address = server_address(WHAT, address)?;
            all.entry(address).or_default().extend(read_ports("the ports of the API server", ports)?);
        }
        if all.is_empty() {
            return Err(InputError::Empty("the list of API server endpoints"));
        }
        Ok(Self(all))
    }

    pub(crate) fn endpoints(&self) -> &BTreeMap<IpAddr, BTreeSet<NonZeroU16>> {
        &self.0
    }
}

/// DNS servers that agents may query: Pods, resolver addresses outside the Pod network, and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    pods: PodGroup,
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<NonZeroU16>,
}

impl Dns {
    /// DNS Pods on port 53 and on `target_ports`: most network plugins match the port of the Pod, and some DNS Pods
    /// listen on 5353 or 8053 behind a Service on 53.
    pub fn new(pods: PodGroup, target_ports: &[u16]) -> Result<Self, InputError> {
        if pods.labels().is_empty() {
            return Err(InputError::EmptySelector("the DNS Pods"));
        }
        let mut ports = BTreeSet::from([DNS_PORT]);
        if !target_ports.is_empty() {
            ports.extend(read_ports("the ports of DNS", target_ports)?);
        }
        Ok(Self { pods, addresses: BTreeSet::new(), ports })
    }

    /// Adds a resolver outside the Pod network, such as a node-local cache, on the ports of the DNS Pods. Accepts
    /// IPv4 link-local addresses, which such caches use, except those of cloud metadata services.
    pub fn with_address(mut self, address: IpAddr) -> Result<Self, InputError> {
        let cache =
            matches!(address, IpAddr::V4(v4) if v4.is_link_local() && !METADATA.contains(&v4.octets()));
        if !cache {
            server_address("a DNS address", address)?;
        }
        self.addresses.insert(address);
        Ok(self)
    }

    pub(crate) fn pods(&self) -> &PodGroup {
        &self.pods
    }

    pub(crate) fn addresses(&self) -> &BTreeSet<IpAddr> {
        &self.addresses
    }

    pub(crate) fn ports(&self) -> &BTreeSet<NonZeroU16> {
        &self.ports
    }
}

const DNS_PORT: NonZeroU16 = NonZeroU16::MIN.saturating_add(52);
/// Link-local IPv4 addresses at which clouds hand out credentials to instances, containers and Pods.
const METADATA: &[[u8; 4]] = &[[169, 254, 169, 254], [169, 254, 170, 2], [169, 254, 170, 23]];

/// Egress that a verified agent has besides verified agents, DNS and the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Every destination, since agents call models and tools outside the cluster. A verified agent then also
    /// reaches Pods that no policy protects, but never a refused agent.
    #[default]
    Anywhere,
    /// Listed ranges alone; an empty list allows none.
    Listed(BTreeSet<Destination>),
}

/// IP range outside the Pod network with TCP ports, such as the servers of a model provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    range: Cidr,
    except: BTreeSet<Cidr>,
    ports: BTreeSet<NonZeroU16>,
}

impl Destination {
    /// Destination for TCP to `ports` of `range`, without the parts in `except`, which must lie strictly inside.
    ///
    /// Callers list the Pod network in `except` where `range` covers it: some network plugins apply IP ranges to
    /// Pods as well.
    pub fn new(
        range: Cidr,
        except: impl IntoIterator<Item = Cidr>,
        ports: &[u16],
    ) -> Result<Self, InputError> {
        let except: BTreeSet<_> = except.into_iter().collect();
        if let Some(outside) = except.iter().find(|part| !range.strictly_contains(part)) {
            return Err(InputError::address("an exception of a destination", &outside.to_string()));
        }
        Ok(Self { range, except, ports: read_ports("the ports of a destination", ports)? })
    }

    pub(crate) fn range(&self) -> Cidr {
        self.range
    }

    pub(crate) fn except(&self) -> &BTreeSet<Cidr> {
        &self.except
    }

    pub(crate) fn ports(&self) -> &BTreeSet<NonZeroU16> {
        &self.ports
    }
}

/// Network access of all workloads of the cluster, from observed endpoints and the operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAccess {
    operator: PodGroup,
    api_server: ApiServer,
    dns: Dns,
    callers: BTreeSet<PodGroup>,
    agent_namespaces: BTreeSet<Namespace>,
    egress: Egress,
}

impl ClusterAccess {
    /// Access that every agent needs: `operator` fetches cards, `api_server` and `dns` are reached. Refuses an
    /// `operator` without labels, because other Pods of that namespace have no business with agents.
    pub fn new(operator: PodGroup, api_server: ApiServer, dns: Dns) -> Result<Self, InputError> {
        if operator.labels().is_empty() {
            return Err(InputError::EmptySelector("the operator's Pods"));
        }
        let egress = Egress::default();
        Ok(Self {
            operator,
            api_server,
            dns,
            callers: BTreeSet::new(),
            agent_namespaces: BTreeSet::new(),
            egress,
        })
    }

    /// Admits a caller of verified agents: a gateway, or every Pod of a namespace.
    #[must_use]
    pub fn with_caller(mut self, caller: PodGroup) -> Self {
        self.callers.insert(caller);
        self
    }

    /// Lets verified agents of `namespace` call verified agents of every namespace. Those of namespaces that are never added
    /// may call agents of their own namespace alone; where egress is listed, nobody reaches a namespace that is never
    /// added.
    #[must_use]
    pub fn with_agent_namespace(mut self, namespace: Namespace) -> Self {
        self.agent_namespaces.insert(namespace);
        self
    }

    /// Replaces the egress of verified agents, which is [`Egress::Anywhere`] by default.
    #[must_use]
    pub fn with_egress(mut self, egress: Egress) -> Self {
        self.egress = egress;
        self
    }

    pub(crate) fn operator(&self) -> &PodGroup {
        &self.operator
    }

    pub(crate) fn api_server(&self) -> &ApiServer {
        &self.api_server
    }

    pub(crate) fn dns(&self) -> &Dns {
        &self.dns
    }

    pub(crate) fn callers(&self) -> &BTreeSet<PodGroup> {
        &self.callers
    }

    pub(crate) fn agent_namespaces(&self) -> &BTreeSet<Namespace> {
        &self.agent_namespaces
    }

    pub(crate) fn egress(&self) -> &Egress {
        &self.egress
    }
}

/// Port set; refuses an empty list, which Kubernetes reads as every port, and port 0, which matches none.
fn read_ports(what: &'static str, ports: &[u16]) -> Result<BTreeSet<NonZeroU16>, InputError> {
    if ports.is_empty() {
        return Err(InputError::Empty(what));
    }
    ports
        .iter()
        .map(|port| NonZeroU16::new(*port).ok_or_else(|| InputError::malformed(what, &port.to_string())))
        .collect()
}

/// Access of a kubeadm cluster, for tests of whole plans.
#[cfg(test)]
pub(crate) fn cluster() -> ClusterAccess {
    let pods = |namespace: &str, key: &str, value: &str| {
        let labels = [(key.to_owned(), value.to_owned())].into();
        PodGroup::labelled(Namespace::parse(namespace).unwrap(), labels).unwrap()
    };
    let dns = Dns::new(pods("kube-system", "k8s-app", "kube-dns"), &[]).unwrap();
    let server = ApiServer::parse([("10.0.0.1", &[6443][..])]).unwrap();
    ClusterAccess::new(pods("countersign-system", "control-plane", "controller-manager"), server, dns)
        .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    #[test]
    fn one_bad_api_server_endpoint_refuses_all() {
        for (address, ports) in
            [("10.0.0.300", &[443][..]), ("127.0.0.1", &[443]), ("10.0.0.2", &[]), ("10.0.0.2", &[0])]
        {
            assert!(
                ApiServer::parse([("10.0.0.1", &[443][..]), (address, ports)]).is_err(),
                "{address} {ports:?}"
            );
        }
        assert_eq!(ApiServer::parse([]), Err(InputError::Empty("the list of API server endpoints")));
    }

    #[test]
    fn the_operator_and_dns_are_groups_of_pods_and_not_whole_namespaces() {
        let whole = PodGroup::whole_namespace(namespace("kube-system"));
        assert!(Dns::new(whole.clone(), &[]).is_err());
        let labels = BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]);
        let dns = Dns::new(PodGroup::labelled(namespace("kube-system"), labels).unwrap(), &[]).unwrap();
        let api_server = ApiServer::parse([("10.0.0.1", &[6443][..])]).unwrap();
        assert!(ClusterAccess::new(whole, api_server, dns).is_err());
        assert!(PodGroup::labelled(namespace("a"), BTreeMap::new()).is_err());
    }

    #[test]
    fn dns_may_be_link_local_but_never_the_metadata_service() {
        let labels = BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]);
        let dns = Dns::new(PodGroup::labelled(namespace("kube-system"), labels).unwrap(), &[5353]).unwrap();
        assert_eq!(dns.ports().iter().map(|port| port.get()).collect::<Vec<_>>(), [53, 5353]);
        assert!(dns.clone().with_address("169.254.20.10".parse().unwrap()).is_ok());
        assert!(dns.clone().with_address("169.254.169.254".parse().unwrap()).is_err());
        assert!(dns.with_address("127.0.0.53".parse().unwrap()).is_err());
    }

    #[test]
    fn an_exception_lies_inside_its_range() {
        let cidr = |text| Cidr::parse(text).unwrap();
        assert!(Destination::new(cidr("0.0.0.0/0"), [cidr("10.0.0.0/8")], &[443]).is_ok());
        assert!(Destination::new(cidr("10.0.0.0/8"), [cidr("11.0.0.0/16")], &[443]).is_err());
        assert!(Destination::new(cidr("0.0.0.0/0"), [], &[]).is_err());
    }
}
