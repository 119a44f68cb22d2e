//! Cluster-wide input: endpoints of the API server. No tenant controls them: they come from slices of
//! `default/kubernetes`.

use countersign_controller::store::Store;
use countersign_plan::ApiServer;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Addresses and ports of one `EndpointSlice`.
pub(super) fn read_slice(slice: EndpointSlice) -> Vec<(String, Vec<u16>)> {
    let ports: Vec<u16> = slice
        .ports
        .unwrap_or_default()
        .iter()
        .filter_map(|port| port.port.and_then(|number| u16::try_from(number).ok()))
        .collect();
    slice
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().map(|address| (address.clone(), ports.clone())))
        .collect()
}

/// Endpoints of the API server from all slices; `None` without any, or if one is invalid.
pub(crate) fn api_server(slices: &Store<Vec<(String, Vec<u16>)>>) -> Option<ApiServer> {
    let all: Vec<(String, Vec<u16>)> = slices.pick("default", |_, slice| Some(slice.clone())).concat();
    ApiServer::parse(all.iter().map(|(address, ports)| (address.as_str(), ports.as_slice()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_api::ObjectRef;

    #[test]
    fn every_address_of_the_api_server_counts_and_a_bad_one_spoils_all() {
        let slice = |address: &str| -> EndpointSlice {
            serde_json::from_value(serde_json::json!({
                "addressType": "IPv4", "endpoints": [{ "addresses": [address] }],
                "ports": [{ "name": "https", "port": 6443, "protocol": "TCP" }],
            }))
            .unwrap()
        };
        let store = Store::default();
        assert_eq!(api_server(&store), None);
        store.insert(ObjectRef::new("default", "one"), read_slice(slice("10.0.0.1")));
        store.insert(ObjectRef::new("default", "two"), read_slice(slice("10.0.0.2")));
        let both = ApiServer::parse([("10.0.0.1", &[6443][..]), ("10.0.0.2", &[6443])]).unwrap();
        assert_eq!(api_server(&store), Some(both));
        store.insert(ObjectRef::new("default", "two"), read_slice(slice("127.0.0.1")));
        assert_eq!(api_server(&store), None);
    }
}
