//! Services and Ingresses of a workload: which Pods a Service selects, and which host names belong to the workload.
//! The operator and the command line share this code, so that both accept the same card endpoints (rule 51).

use super::host_suffix::HostSuffixes;
use crate::limits::INGRESS_HOSTS;
use countersign_core::text::Quoted;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressRule};
use std::collections::{BTreeMap, BTreeSet};

/// DNS zone of Services.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Port for cards of a Service that declares none.
const DEFAULT_PORT: u16 = 8000;
/// Name of the Service port that serves the card over SPIFFE mTLS.
const TLS_PORT: &str = "agent-tls";

/// Service that selects the Pods of a workload, with the port that serves the card.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentService {
    /// Port that serves the card.
    pub port: u16,
    /// Declaration of the card port in the Service; `None` for a headless Service without ports.
    pub service_port: Option<ServicePort>,
    /// True if the first IP family of the Service is IPv6.
    pub is_v6: bool,
    /// Label selector of the Service, never empty.
    pub selector: BTreeMap<String, String>,
    /// True if the card port speaks SPIFFE mTLS.
    pub is_tls: bool,
    /// Fully qualified DNS name of the Service.
    pub host: String,
    /// All DNS names of the Service inside the cluster.
    pub hosts: BTreeSet<String>,
}

impl AgentService {
    /// Base URL of the card at the fully qualified name and `port`.
    pub fn url(&self, port: u16) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}:{port}", self.host)
    }
}

/// Service of the workload whose Pod template has `template_labels`; the error says why the Service does not lead
/// to that workload.
///
/// With `verified_fetch`, a port named `agent-tls` is used alone, without fallback to plain HTTP: a fallback would
/// let whoever blocks TLS downgrade the fetch.
pub fn read_service(
    service: &Service,
    namespace: &str,
    name: &str,
    template_labels: &BTreeMap<String, String>,
    verified_fetch: bool,
) -> Result<AgentService, String> {
    let shown = Quoted(name);
    leads_to(service, template_labels)?;
    let spec = service.spec.as_ref().ok_or_else(|| format!("the Service {shown} has no spec"))?;
    let ports = spec.ports.as_deref().unwrap_or_default();
    let tls = ports.iter().find(|port| verified_fetch && port.name.as_deref() == Some(TLS_PORT));
    let service_port = tls.or(ports.first());
    let port = match service_port {
        Some(port) => {
            u16::try_from(port.port).map_err(|_| format!("the Service {shown} has no valid port"))?
        }
        None => DEFAULT_PORT,
    };
    Ok(AgentService {
        port,
        service_port: service_port.cloned(),
        is_v6: spec.ip_families.as_ref().and_then(|all| all.first()).is_some_and(|first| first == "IPv6"),
        selector: spec.selector.clone().unwrap_or_default(),
        is_tls: tls.is_some(),
        host: full_name(name, namespace),
        hosts: service_names(name, namespace),
    })
}

/// Ok if every label that a Service selects by is one of the workload's template; the error says why it may lead
/// elsewhere.
fn leads_to(service: &Service, template_labels: &BTreeMap<String, String>) -> Result<(), String> {
    let shown = Quoted(service.metadata.name.as_deref().unwrap_or_default());
    let spec = service.spec.as_ref().ok_or_else(|| format!("the Service {shown} has no spec"))?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(format!("the Service {shown} is a name outside the cluster (ExternalName)"));
    }
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    let Some(selector) = selector else {
        return Err(format!("the Service {shown} has no selector, so anybody may stand behind it"));
    };
    match selector.iter().find(|(key, value)| template_labels.get(*key) != Some(value)) {
        None => Ok(()),
        Some((key, value)) => {
            let pair = format!("{key}={value}");
            Err(format!(
                "the Service {shown} selects {}, which the workload's Pods do not have",
                Quoted(&pair)
            ))
        }
    }
}

/// Host names that belong to a workload (rule 51).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// DNS names of the workload's Services inside the cluster.
    pub cluster: BTreeSet<String>,
    /// Ingress hosts below an allowed domain whose paths all lead to Services of the workload.
    pub ingress: BTreeSet<String>,
}

impl Hosts {
    /// Host names of the workload with these template labels, from all Services and Ingresses of its namespace.
    pub fn of<'a>(
        namespace: &str,
        template_labels: &BTreeMap<String, String>,
        services: impl IntoIterator<Item = &'a Service>,
        ingresses: impl IntoIterator<Item = &'a Ingress>,
        suffixes: &HostSuffixes,
    ) -> Self {
        let mut of_services = HostsOfServices::new(namespace, template_labels);
        services.into_iter().for_each(|service| of_services.add(service));
        let mut of_ingresses = HostsOfIngresses::new(&of_services, suffixes);
        ingresses.into_iter().for_each(|ingress| of_ingresses.add(ingress));
        Self { ingress: of_ingresses.finish(), cluster: of_services.hosts() }
    }
}

/// Host names of a workload while its Services are read, one after the other.
#[derive(Clone, Debug)]
pub struct HostsOfServices {
    namespace: String,
    template_labels: BTreeMap<String, String>,
    services: BTreeSet<String>,
}

impl HostsOfServices {
    /// No Service yet.
    pub fn new(namespace: &str, template_labels: &BTreeMap<String, String>) -> Self {
        let (namespace, template_labels) = (namespace.to_owned(), template_labels.clone());
        Self { namespace, template_labels, services: BTreeSet::new() }
    }

    /// Adds a Service of the namespace.
    pub fn add(&mut self, service: &Service) {
        if leads_to(service, &self.template_labels).is_ok() {
            self.services.extend(service.metadata.name.clone());
        }
    }

    /// DNS names of the Services that lead to the workload, once every Service was added.
    pub fn hosts(&self) -> BTreeSet<String> {
        self.services.iter().flat_map(|name| service_names(name, &self.namespace)).collect()
    }
}

/// Host names of a workload while its Ingresses are read, one after the other.
#[derive(Debug)]
pub struct HostsOfIngresses<'a> {
    of_services: &'a HostsOfServices,
    suffixes: &'a HostSuffixes,
    leads_here: BTreeMap<String, bool>,
}

impl<'a> HostsOfIngresses<'a> {
    /// No Ingress yet, once every Service was added.
    pub const fn new(of_services: &'a HostsOfServices, suffixes: &'a HostSuffixes) -> Self {
        Self { of_services, suffixes, leads_here: BTreeMap::new() }
    }

    /// Adds an Ingress of the namespace. Hosts beyond `INGRESS_HOSTS` belong to nobody.
    pub fn add(&mut self, ingress: &Ingress) {
        for (host, leads) in hosts_of(ingress, &self.of_services.services) {
            // Another Ingress may send a path of the same host elsewhere.
            if let Some(all) = self.leads_here.get_mut(&host) {
                *all &= leads;
            } else if self.leads_here.len() < INGRESS_HOSTS
                && self.suffixes.allow(&self.of_services.namespace, &host)
            {
                self.leads_here.insert(host, leads);
            }
        }
    }

    /// Host names that lead to the workload alone, once every Ingress was added.
    pub fn finish(self) -> BTreeSet<String> {
        self.leads_here.into_iter().filter_map(|(host, leads)| leads.then_some(host)).collect()
    }
}

/// Hosts of an Ingress in lower case, each with whether all paths of the rule lead to one of `services`. A shared host
/// would let another workload's path count as an endpoint (rule 51); wildcards and the empty host are left out.
fn hosts_of(ingress: &Ingress, services: &BTreeSet<String>) -> Vec<(String, bool)> {
    let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_deref()).unwrap_or_default();
    let leads_here = |path: &HTTPIngressPath| {
        path.backend.service.as_ref().is_some_and(|backend| services.contains(backend.name.as_str()))
    };
    let of = |rule: &IngressRule| {
        let host = rule.host.as_deref().filter(|host| !host.is_empty() && !host.contains('*'))?;
        let paths = rule.http.as_ref().map(|http| http.paths.as_slice()).unwrap_or_default();
        Some((host.to_lowercase(), !paths.is_empty() && paths.iter().all(leads_here)))
    };
    rules.iter().filter_map(of).collect()
}

/// DNS names of a Service inside the cluster, from the short to the fully qualified one.
pub fn service_names(name: &str, namespace: &str) -> BTreeSet<String> {
    [
        name.to_owned(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        full_name(name, namespace),
    ]
    .into()
}

fn full_name(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels() -> BTreeMap<String, String> {
        [("app", "weather"), ("tier", "x")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn read(spec: &serde_json::Value) -> Result<AgentService, String> {
        let object = json!({ "metadata": { "name": "weather" }, "spec": spec });
        let service = serde_json::from_value(object).map_err(|error| error.to_string())?;
        read_service(&service, "team", "weather", &labels(), true)
    }

    #[test]
    fn a_port_named_agent_tls_is_the_only_way_unless_verified_fetch_is_off() {
        let spec = json!({ "selector": { "app": "weather" }, "clusterIP": "10.0.0.9",
            "ports": [{ "name": "http", "port": 80 }, { "name": "agent-tls", "port": 8443 }] });
        let found = read(&spec).unwrap();
        assert_eq!(found.url(found.port), "https://weather.team.svc.cluster.local:8443");
        let service =
            serde_json::from_value(json!({ "metadata": { "name": "weather" }, "spec": spec })).unwrap();
        let plain = read_service(&service, "team", "weather", &labels(), false).unwrap();
        assert_eq!(plain.url(plain.port), "http://weather.team.svc.cluster.local:80");
    }

    #[test]
    fn a_service_that_leads_elsewhere_is_no_way_to_the_workload() {
        let ports = json!([{ "port": 80 }]);
        let good = json!({ "selector": { "app": "weather" }, "clusterIP": "10.0.0.9", "ports": ports });
        assert_eq!(read(&good).unwrap().port, 80);
        // Cards are fetched from Pod addresses, so a headless Service will do.
        assert!(read(&json!({ "selector": { "app": "weather" }, "clusterIP": "None" })).is_ok());
        for (bad, says) in [
            (json!({ "type": "ExternalName", "externalName": "evil.example" }), "ExternalName"),
            (json!({ "clusterIP": "10.0.0.9", "ports": ports }), "no selector"),
            (json!({ "selector": { "app": "other" }, "clusterIP": "10.0.0.9" }), "do not have"),
            (
                json!({ "selector": { "app": "weather" }, "clusterIP": "10.0.0.9", "ports": [{ "port": 0x10000 }] }),
                "port",
            ),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_host_of_an_ingress_counts_if_every_path_leads_to_the_workload() {
        let service = |name: &str, selector: &serde_json::Value, kind: &str| -> Service {
            let object =
                json!({ "metadata": { "name": name }, "spec": { "type": kind, "selector": selector } });
            serde_json::from_value(object).unwrap()
        };
        let own = json!({ "app": "weather" });
        let services = [
            service("weather", &own, "ClusterIP"),
            service("maps", &json!({ "app": "maps" }), "ClusterIP"),
            service("outside", &own, "ExternalName"),
            service("anybody", &json!({}), "ClusterIP"),
        ];
        let path = |name: &str| json!({ "pathType": "Prefix", "backend": { "service": { "name": name } } });
        let rule =
            |host: &str, paths: &[serde_json::Value]| json!({ "host": host, "http": { "paths": paths } });
        let ingress: Ingress = serde_json::from_value(json!({ "spec": { "rules": [
            rule("Weather.example", &[path("weather")]),
            rule("shared.example", &[path("weather"), path("maps")]),
            rule("*.example", &[path("weather")]),
            rule("none.example", &[]),
            rule("", &[path("weather")]),
            rule("bank.test", &[path("weather")]),
        ] } }))
        .unwrap();
        let suffixes: HostSuffixes = [HostSuffixes::parse("team:example").unwrap()].into_iter().collect();
        let hosts = Hosts::of("team", &labels(), &services, [&ingress], &suffixes);
        assert_eq!(hosts.ingress, BTreeSet::from(["weather.example".to_owned()]));
        assert_eq!(hosts.cluster, service_names("weather", "team"));
        let other: Ingress = serde_json::from_value(json!({ "spec": { "rules": [
            rule("weather.example", &[path("maps")]),
        ] } }))
        .unwrap();
        let shared = Hosts::of("team", &labels(), &services, [&ingress, &other], &suffixes);
        let elsewhere = Hosts::of("other", &labels(), &services, [&ingress], &suffixes);
        assert!(elsewhere.ingress.is_empty(), "the domain is another namespace's");
        assert!(shared.ingress.is_empty(), "another Ingress sends the host elsewhere as well");
        let none = Hosts::of("team", &labels(), &services, [&ingress], &HostSuffixes::default());
        assert!(none.ingress.is_empty(), "nobody said which domains lead here");
    }
}
