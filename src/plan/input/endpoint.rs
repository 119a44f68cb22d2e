//! Endpoints behind a Service, as its `EndpointSlice`s list them. Each is a claim: whoever may write an
//! `EndpointSlice` can name any address and any Pod.

use crate::limits::NAME_BYTES;
use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::net::IpAddr;
use std::sync::Arc;

/// Label of an `EndpointSlice` that names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Resource versions of the `EndpointSlice`s of a Service, ordered by slice name.
pub type SliceVersions = Box<[(String, String)]>;

/// Address behind a Service, with the Pod that an `EndpointSlice` claims for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// IP address that receives traffic.
    pub address: IpAddr,
    /// Target port of the Service port; `None` where the `EndpointSlice` lists no port of that name.
    pub port: Option<u16>,
    /// True if the Service sends traffic to the address now.
    pub is_ready: bool,
    /// Name and UID of the claimed Pod; `None` where the `EndpointSlice` names no Pod.
    pub pod: Option<Arc<(String, String)>>,
}

/// Endpoints of all `EndpointSlice`s of a Service for one Service port; `default` stands in for the port of a
/// headless Service that declares none. One unreadable address or port fails the whole list.
pub fn read_endpoints(
    slices: &[EndpointSlice],
    port: Option<&ServicePort>,
    default: u16,
) -> Result<Vec<ServiceEndpoint>, String> {
    let mut all = Vec::new();
    for slice in slices {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let port = match port {
            Some(wanted) => target_port(slice, wanted).map_err(|problem| format!("{name}: {problem}"))?,
            None => Some(default),
        };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            // An unset condition means ready (discovery.k8s.io/v1, EndpointConditions).
            let is_ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let pod = target.and_then(|target| Some((target.name.clone()?, target.uid.clone()?)));
            if pod.as_ref().is_some_and(|(pod, uid)| pod.len().max(uid.len()) > NAME_BYTES) {
                return Err(format!("{name}: an endpoint names its Pod by more than {NAME_BYTES} bytes"));
            }
            let pod = pod.map(Arc::new);
            for address in &endpoint.addresses {
                let address =
                    address.parse().map_err(|_| format!("{name}: an endpoint has no IP address"))?;
                all.push(ServiceEndpoint { address, port, is_ready, pod: pod.clone() });
            }
        }
    }
    Ok(all)
}

/// Target port of an `EndpointSlice` for a Service port; both carry one name, which may be empty.
fn target_port(slice: &EndpointSlice, wanted: &ServicePort) -> Result<Option<u16>, String> {
    let name = wanted.name.as_deref().unwrap_or_default();
    let ports = slice.ports.as_deref().unwrap_or_default();
    let found = ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name);
    let number = found.and_then(|port| port.port);
    number.map(|number| u16::try_from(number).map_err(|_| format!("{number} is no port"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(slices: &[Value], port: Option<&Value>) -> Result<Vec<ServiceEndpoint>, String> {
        let slices: Vec<EndpointSlice> =
            slices.iter().map(|slice| serde_json::from_value(slice.clone()).unwrap()).collect();
        let port: Option<ServicePort> = port.map(|port| serde_json::from_value(port.clone()).unwrap());
        read_endpoints(&slices, port.as_ref(), 8000)
    }

    #[test]
    fn every_address_of_every_slice_counts_with_the_port_of_its_own_slice() {
        let pod = |name: &str| json!({ "kind": "Pod", "name": name, "uid": name });
        let slices = [
            json!({ "metadata": { "name": "a" }, "addressType": "IPv4",
                "ports": [{ "name": "http", "port": 8080 }, { "name": "other", "port": 1 }],
                "endpoints": [
                    { "addresses": ["10.0.0.1"], "conditions": { "ready": true }, "targetRef": pod("one") },
                    { "addresses": ["10.0.0.2"], "conditions": { "ready": false }, "targetRef": pod("two") },
                    { "addresses": ["10.0.0.3"], "targetRef": { "kind": "Node", "name": "n", "uid": "n" } },
                ] }),
            json!({ "metadata": { "name": "b" }, "addressType": "IPv6", "ports": [],
                "endpoints": [{ "addresses": ["fd00::4"] }] }),
        ];
        let found = read(&slices, Some(&json!({ "name": "http", "port": 80 }))).unwrap();
        let short: Vec<_> = found
            .iter()
            .map(|one| (one.address.to_string(), one.port, one.is_ready, one.pod.is_some()))
            .collect();
        let expected = [
            ("10.0.0.1", Some(8080), true, true),
            ("10.0.0.2", Some(8080), false, true),
            ("10.0.0.3", Some(8080), true, false),
            ("fd00::4", None, true, false),
        ];
        assert_eq!(short, expected.map(|(address, port, ready, pod)| (address.to_owned(), port, ready, pod)));
    }

    #[test]
    fn a_port_without_a_name_is_that_of_a_service_with_one_port_and_none_at_all_is_the_usual_one() {
        let slice = json!({ "metadata": { "name": "a" }, "addressType": "IPv4", "ports": [{ "name": "", "port": 9 }],
            "endpoints": [{ "addresses": ["10.0.0.1"] }] });
        let ports = |port| read(std::slice::from_ref(&slice), port).unwrap()[0].port;
        assert_eq!((ports(Some(&json!({ "port": 80 }))), ports(None)), (Some(9), Some(8000)));
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_over() {
        let slice = |address: &str, port: i64| {
            json!({ "metadata": { "name": "a" }, "addressType": "FQDN", "ports": [{ "port": port }],
                "endpoints": [{ "addresses": [address] }] })
        };
        let port = json!({ "port": 80 });
        assert!(read(&[slice("evil.example", 80)], Some(&port)).unwrap_err().contains("no IP address"));
        assert!(read(&[slice("10.0.0.1", 70_000)], Some(&port)).unwrap_err().contains("70000"));
    }

    #[test]
    fn a_pod_is_named_once_for_all_its_addresses_and_by_no_more_than_a_name() {
        let slice = |uid: &str| {
            json!({ "metadata": { "name": "a" }, "addressType": "IPv4", "ports": [{ "name": "", "port": 9 }],
                "endpoints": [{ "addresses": ["10.0.0.1", "10.0.0.2"],
                    "targetRef": { "kind": "Pod", "name": "one", "uid": uid } }] })
        };
        let found = read(&[slice("u")], Some(&json!({ "port": 80 }))).unwrap();
        let pods: Vec<_> = found.iter().map(|one| one.pod.as_ref().unwrap()).collect();
        assert!(Arc::ptr_eq(pods[0], pods[1]));
        let long = read(&[slice(&"u".repeat(NAME_BYTES + 1))], Some(&json!({ "port": 80 }))).unwrap_err();
        assert!(long.contains("more than 253 bytes"), "{long}");
    }
}
