//! Ports of a Pod with a sidecar that callers may reach: those that its containers declare. Injection gives the agent a port
//! that none of them declares, so that no open port leads past the sidecar.

use crate::limits::ITEMS;
use countersign_api::keys::{SIDECAR_ANNOTATION, SIDECAR_CONTAINER};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;

/// Port of a Pod that declares none.
const USUAL: Port = Port { number: NonZeroU16::MIN.saturating_add(7999), transport: Transport::Tcp };

/// Port that a container declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    number: NonZeroU16,
    transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Port {
    /// Parses `containerPort` and `protocol`; `None` for what the API server refuses.
    pub fn parse(number: i64, protocol: Option<&str>) -> Option<Self> {
        let number = NonZeroU16::new(u16::try_from(number).ok()?)?;
        let transport = match protocol {
            None | Some("TCP") => Transport::Tcp,
            Some("UDP") => Transport::Udp,
            Some("SCTP") => Transport::Sctp,
            Some(_) => return None,
        };
        Some(Self { number, transport })
    }

    pub(crate) const fn number(self) -> NonZeroU16 {
        self.number
    }

    /// Value of `protocol`.
    pub(crate) const fn protocol(self) -> &'static str {
        match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Sctp => "SCTP",
        }
    }

    pub(crate) const fn is_tcp(self) -> bool {
        matches!(self.transport, Transport::Tcp)
    }
}

impl fmt::Display for Port {
    /// The number, with the protocol if that is not TCP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Transport::Tcp => write!(f, "{}", self.number),
            Transport::Udp | Transport::Sctp => write!(f, "{}/{}", self.number, self.protocol()),
        }
    }
}

/// Ports of a Pod with a sidecar that callers may reach: one at least, and [`ITEMS`] at most, of which the first count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPorts {
    guarded: Port,
    all: BTreeSet<Port>,
}

impl OpenPorts {
    /// Ports of the Pods of a template with this metadata and specification; `None` if it asks for no sidecar.
    pub fn of_template(metadata: Option<&ObjectMeta>, spec: Option<&PodSpec>) -> Option<Self> {
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        if !annotations.is_some_and(|annotations| annotations.contains_key(SIDECAR_ANNOTATION)) {
            return None;
        }
        let containers = spec.map(|spec| spec.containers.iter()).unwrap_or_default();
        let before = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let running = before.iter().filter(|container| container.restart_policy.as_deref() == Some(RUNNING));
        Some(Self::new(containers.map(declared), running.map(declared)))
    }

    /// Ports that each container declares, and each init container that goes on running, in the order of the Pod. Of a long
    /// list the first [`ITEMS`] count, as many as the operator reads of a template.
    pub(crate) fn new<P: IntoIterator<Item = Port>>(
        containers: impl IntoIterator<Item = P>,
        running: impl IntoIterator<Item = P>,
    ) -> Self {
        let ports = |container: P| container.into_iter().take(ITEMS);
        let containers: Vec<Port> = containers.into_iter().take(ITEMS).flat_map(ports).collect();
        let guarded = containers.iter().copied().find(|port| port.is_tcp()).unwrap_or(USUAL);
        let running = running.into_iter().take(ITEMS).flat_map(ports);
        let all = std::iter::once(guarded).chain(containers).chain(running).take(ITEMS).collect();
        Self { guarded, all }
    }

    /// Port that the sidecar takes over: the first that a container declares for TCP.
    pub const fn guarded(&self) -> Port {
        self.guarded
    }

    /// All ports in ascending order, with [`Self::guarded`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = Port> {
        self.all.iter().copied()
    }
}

/// Restart policy of an init container that goes on running.
pub(crate) const RUNNING: &str = "Always";

/// Ports that a container declares. One that only has the sidecar's name is replaced, and its ports with it.
fn declared(container: &Container) -> impl Iterator<Item = Port> {
    let ports = container.ports.iter().flatten().filter(|_| container.name != SIDECAR_CONTAINER);
    ports.filter_map(|port| Port::parse(port.container_port.into(), port.protocol.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn open(annotations: &Value, spec: &Value) -> Option<String> {
        let metadata = serde_json::from_value(json!({ "annotations": annotations })).unwrap();
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let open = OpenPorts::of_template(Some(&metadata), Some(&spec))?;
        let all: Vec<String> = open.iter().map(|port| port.to_string()).collect();
        Some(format!("{}: {}", open.guarded(), all.join(" ")))
    }

    fn container(name: &str, ports: &[(u32, &str)]) -> Value {
        let port =
            |(number, protocol): &(u32, &str)| json!({ "containerPort": number, "protocol": protocol });
        json!({ "name": name, "ports": ports.iter().map(port).collect::<Vec<_>>() })
    }

    #[test]
    fn the_ports_that_containers_declare_are_open_and_the_first_for_tcp_is_guarded() {
        let asks = json!({ "countersign.dev/sidecar": "proxy-sidecar" });
        let spec = |containers: &[Value]| json!({ "containers": containers });
        let many: Vec<(u32, &str)> = (1..=70).map(|number| (number, "UDP")).collect();
        let first: Vec<String> = (1..64).map(|number| format!("{number}/UDP")).collect();
        let last = format!("7000: {} 7000", first.join(" "));
        let cut = format!("8000: {} 8000", first.join(" "));
        let long = many.iter().copied().chain([(9000, "TCP")]).collect::<Vec<_>>();
        for (spec, expected) in [
            (json!({ "containers": [] }), "8000: 8000"),
            (spec(&[json!({ "name": "a", "ports": [{ "containerPort": 9000 }] })]), "9000: 9000"),
            (
                spec(&[
                    container("a", &[(53, "UDP")]),
                    container("b", &[(9090, "TCP"), (80, "TCP"), (80, "SCTP")]),
                ]),
                "9090: 53/UDP 80 80/SCTP 9090",
            ),
            (spec(&[container("a", &[(53, "UDP")])]), "8000: 53/UDP 8000"),
            // The container of that name is replaced, and the agent may get its port.
            (
                spec(&[container("authbridge-proxy", &[(8001, "TCP")]), container("a", &[(8000, "TCP")])]),
                "8000: 8000",
            ),
            (
                json!({ "containers": [container("a", &[(8000, "TCP")])], "initContainers": [
                    container("once", &[(7000, "TCP")]),
                    { "name": "on", "restartPolicy": "Always", "ports": [{ "containerPort": 7001 }] }] }),
                "8000: 7001 8000",
            ),
            // What the API server refuses.
            (spec(&[container("a", &[(0, "TCP"), (65_536, "TCP"), (1, "tcp"), (2, "TCP")])]), "2: 2"),
            // The guarded port is among the ports that count, wherever it stands.
            (spec(&[container("a", &many), container("b", &[(7000, "TCP")])]), &last),
            (spec(&[container("a", &long)]), &cut),
        ] {
            assert_eq!(open(&asks, &spec).as_deref(), Some(expected), "{spec}");
            for other in [json!({}), json!({ "countersign.dev/sidecar-config": "x" }), Value::Null] {
                assert_eq!(open(&other, &spec), None, "no sidecar");
            }
        }
    }
}
