//! Where the card of an AgentCard is to be found: its workload, its Service, and the names that belong to it.
//! Addresses come from the API server alone; no name is ever resolved.

use super::merge::ReplicaEvaluation;
use super::replicas::{Replicas, Unusable, find_replicas};
use crate::context::Context;
use crate::index::{Card, Index, Kind, ObjectRef, Workload};
use crate::key::WorkloadKey;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::ListParams;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The zone of Services.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// The port of a Service that names none.
const DEFAULT_PORT: u16 = 8000;
/// The port of a Service over which the card is fetched by SPIFFE mTLS.
const TLS_PORT: &str = "agent-tls";
/// The protocol whose cards can be read.
const A2A: &str = "a2a";

/// A workload whose card can be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Reachable {
    /// Which workload it is.
    pub(crate) key: WorkloadKey,
    /// What is known of it.
    pub(crate) workload: Workload,
    /// The Service that leads to it.
    pub(crate) service: AgentService,
    /// Who stands behind it.
    pub(crate) replicas: Replicas,
}

/// A Service as a way to a workload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentService {
    /// The port of the card.
    pub(crate) port: u16,
    /// That port as the Service has it; a headless one need not have any.
    pub(crate) service_port: Option<ServicePort>,
    /// Whether its first address family is IPv6.
    pub(crate) is_v6: bool,
    /// The labels of the Pods that it selects.
    pub(crate) selector: BTreeMap<String, String>,
    /// Whether that port speaks SPIFFE mTLS.
    pub(crate) is_tls: bool,
    /// The full name of the Service.
    pub(crate) host: String,
    /// All its names inside the cluster.
    pub(crate) hosts: BTreeSet<String>,
}

impl AgentService {
    /// The address of the card on this port.
    pub(crate) fn url(&self, port: u16) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}:{port}", self.host)
    }
}

/// Finds the workload of a card, ready or not.
pub(crate) async fn find_workload(
    context: &Context,
    object: &ObjectRef,
    card: &Card,
) -> Result<(WorkloadKey, Workload), Refusal> {
    let missing = |found: String| Refusal::new(Reason::WorkloadNotFound, found);
    let Some(target) = card.target() else {
        return Err(missing(
            "spec.targetRef is required: specify the workload backing this agent".to_owned(),
        ));
    };
    let shown = format!("{} {} in {}", Quoted(&target.kind), Quoted(&target.name), Quoted(&object.namespace));
    let Some(key) = Index::target_of(object, card) else {
        let found = format!("{shown} of {} is of no kind that is watched", Quoted(&target.api_version));
        return Err(missing(found));
    };
    match context.index.workload(&key) {
        Some(workload) if workload.is_leaving => Err(missing(format!("{shown} is being deleted"))),
        Some(workload) if workload.is_agent => Ok((key, workload)),
        // Only agents are watched: one that exists without the label looks gone from there.
        None if !exists(context, &key).await => Err(missing(format!("there is no {shown}"))),
        _ => Err(Refusal::new(Reason::NotAgentWorkload, format!("{shown} is not labelled as an agent"))),
    }
}

/// Whether the API server has this workload. An error is no: the card is refused either way.
async fn exists(context: &Context, key: &WorkloadKey) -> bool {
    let ObjectRef { namespace, name } = &key.object;
    let client = context.client.clone();
    let found = match key.kind {
        Kind::Deployment => Api::<Deployment>::namespaced(client, namespace)
            .get_metadata_opt(name)
            .await
            .map(|found| found.is_some()),
        Kind::StatefulSet => Api::<StatefulSet>::namespaced(client, namespace)
            .get_metadata_opt(name)
            .await
            .map(|found| found.is_some()),
    };
    found.unwrap_or(false)
}

/// Finds the way to the card of a workload.
pub(crate) async fn find_reachable(
    context: &Context,
    key: WorkloadKey,
    workload: Workload,
    last: &[ReplicaEvaluation],
) -> Result<Reachable, Unusable> {
    let service = find_service(context, &key, &workload).await?;
    let replicas = find_replicas(context, &key, &workload, &service, last).await?;
    Ok(Reachable { key, workload, service, replicas })
}

/// Finds the Service that leads to a workload.
async fn find_service(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
) -> Result<AgentService, Refusal> {
    if !workload.is_ready {
        let found = format!("{} {} is not ready", key.kind.as_str(), Quoted(&key.object.name));
        return Err(Refusal::new(Reason::WorkloadNotReady, found));
    }
    match workload.protocol.as_deref() {
        Some(A2A) => {}
        Some(other) => {
            let found = format!("unsupported protocol: {}", Quoted(other));
            return Err(Refusal::new(Reason::ProtocolMissing, found));
        }
        None => {
            let found = "Workload does not have a protocol.kagenti.io/<name> label";
            return Err(Refusal::new(Reason::ProtocolMissing, found));
        }
    }
    let ObjectRef { namespace, name } = &key.object;
    let none = |found: String| Refusal::new(Reason::ServiceNotFound, found);
    let service = match read_service(context, &key.object).await {
        Ok(Some(service)) => service,
        Ok(None) => {
            return Err(none(format!("there is no Service {} in {}", Quoted(name), Quoted(namespace))));
        }
        Err(error) => {
            let found =
                format!("the Service {} could not be read: {}", Quoted(name), Quoted(&error.to_string()));
            return Err(Refusal::new(Reason::FetchFailed, found));
        }
    };
    way(&service, namespace, name, workload, context.config.verified_fetch).map_err(none)
}

/// Reads a Service as a way to `workload`, or says why it is none.
///
/// With `verified_fetch` a port named `agent-tls` is the only way: there is none back to plain HTTP.
fn way(
    service: &Service,
    namespace: &str,
    name: &str,
    workload: &Workload,
    verified_fetch: bool,
) -> Result<AgentService, String> {
    let shown = Quoted(name);
    leads_to(service, workload)?;
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
        hosts: names(name, namespace),
    })
}

/// A Service, asked for again only when the watch has seen another version of it.
async fn read_service(context: &Context, object: &ObjectRef) -> Result<Option<Arc<Service>>, kube::Error> {
    let Some(version) = context.index.services.get(object) else { return Ok(None) };
    if let Some((read, service)) = context.index.read_services.get(object)
        && read == version
    {
        return Ok(Some(service));
    }
    let api: Api<Service> = Api::namespaced(context.client.clone(), &object.namespace);
    let Some(mut service) = api.get_opt(&object.name).await? else { return Ok(None) };
    service.metadata = ObjectMeta { name: service.metadata.name, ..ObjectMeta::default() };
    let service = Arc::new(service);
    context.index.read_services.insert(object.clone(), (version, Arc::clone(&service)));
    Ok(Some(service))
}

/// The names of other Services that lead to the workload, and the hosts of the Ingresses that lead to those.
pub(crate) async fn other_hosts(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
) -> Result<(BTreeSet<String>, BTreeSet<String>), Refusal> {
    let namespace = key.object.namespace.as_str();
    let unread = |what: &str, error: &kube::Error| {
        let found =
            format!("the {what} of {} could not be read: {}", Quoted(namespace), Quoted(&error.to_string()));
        Refusal::new(Reason::EndpointNotOwned, found)
    };
    let all = ListParams::default();
    let services: Api<Service> = Api::namespaced(context.client.clone(), namespace);
    let services = services.list(&all).await.map_err(|error| unread("Services", &error))?;
    let own: BTreeSet<String> = services
        .iter()
        .filter(|service| leads_to(service, workload).is_ok())
        .filter_map(|service| service.metadata.name.clone())
        .collect();
    let ingresses: Api<Ingress> = Api::namespaced(context.client.clone(), namespace);
    let ingresses = ingresses.list(&all).await.map_err(|error| unread("Ingresses", &error))?;
    let hosts = ingresses.iter().flat_map(|ingress| hosts_to(ingress, &own)).collect();
    Ok((own.iter().flat_map(|name| names(name, namespace)).collect(), hosts))
}

/// Whether a Service leads to the Pods of a workload and to nobody else's, or why it does not.
fn leads_to(service: &Service, workload: &Workload) -> Result<(), String> {
    let shown = Quoted(service.metadata.name.as_deref().unwrap_or_default());
    let spec = service.spec.as_ref().ok_or_else(|| format!("the Service {shown} has no spec"))?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(format!("the Service {shown} is a name outside the cluster (ExternalName)"));
    }
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    let Some(selector) = selector else {
        return Err(format!("the Service {shown} has no selector, so anybody may stand behind it"));
    };
    match selector.iter().find(|(key, value)| workload.template_labels.get(*key) != Some(value)) {
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

/// The hosts under which every path leads to one of these Services.
pub(crate) fn hosts_to(ingress: &Ingress, services: &BTreeSet<String>) -> Vec<String> {
    let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_deref()).unwrap_or_default();
    let leads_here = |path: &HTTPIngressPath| {
        path.backend.service.as_ref().is_some_and(|backend| services.contains(backend.name.as_str()))
    };
    rules
        .iter()
        .filter(|rule| {
            rule.http.as_ref().is_some_and(|http| !http.paths.is_empty() && http.paths.iter().all(leads_here))
        })
        .filter_map(|rule| rule.host.as_deref().filter(|host| !host.is_empty() && !host.contains('*')))
        .map(str::to_lowercase)
        .collect()
}

/// The names of a Service inside the cluster, in lower case.
pub(crate) fn names(name: &str, namespace: &str) -> BTreeSet<String> {
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

    fn workload() -> Workload {
        Workload::of_deployment(
            serde_json::from_value(json!({
                "metadata": { "name": "weather" },
                "spec": {
                    "selector": { "matchLabels": { "app": "weather" } },
                    "template": { "metadata": { "labels": { "app": "weather", "tier": "x" } } },
                },
            }))
            .unwrap(),
        )
        .unwrap()
    }

    fn read(spec: &serde_json::Value) -> Result<AgentService, String> {
        let object = json!({ "metadata": { "name": "weather" }, "spec": spec });
        let service = serde_json::from_value(object).map_err(|error| error.to_string())?;
        way(&service, "team", "weather", &workload(), true)
    }

    #[test]
    fn a_port_named_agent_tls_is_the_only_way_unless_verified_fetch_is_off() {
        let spec = json!({ "selector": { "app": "weather" }, "clusterIP": "10.0.0.9",
            "ports": [{ "name": "http", "port": 80 }, { "name": "agent-tls", "port": 8443 }] });
        let found = read(&spec).unwrap();
        assert_eq!(found.url(found.port), "https://weather.team.svc.cluster.local:8443");
        let service =
            serde_json::from_value(json!({ "metadata": { "name": "weather" }, "spec": spec })).unwrap();
        let plain = way(&service, "team", "weather", &workload(), false).unwrap();
        assert_eq!(plain.url(plain.port), "http://weather.team.svc.cluster.local:80");
    }

    #[test]
    fn a_service_that_leads_elsewhere_is_no_way_to_the_workload() {
        let ports = json!([{ "port": 80 }]);
        let good = json!({ "selector": { "app": "weather" }, "clusterIP": "10.0.0.9", "ports": ports });
        assert_eq!(read(&good).unwrap().port, 80);
        // Cards are asked for at the Pods: the Service needs no address.
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
}
