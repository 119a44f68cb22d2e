//! Reads of the replicas behind a Service, for the evaluation of its endpoints (rule 51).
//! The index serves first; the API server is read where the index cannot prove an endpoint.

use crate::context::Context;
use crate::index::{ObjectRef, Pod, ServiceEndpoint, Workload, WorkloadKind, WorkloadRef};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_plan::agent_card::card_evaluation::ReplicaEvaluation;
use countersign_plan::agent_card::endpoints::{
    EndpointTerms, KnownPods, UnusableEndpoints, evaluate_endpoints,
};
use countersign_plan::agent_card::replica::Replicas;
use countersign_plan::input::endpoint::{SERVICE_LABEL, read_endpoints};
use countersign_plan::input::pod::{controller, selector_text};
use countersign_plan::input::service::AgentService;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::time::timeout;

/// Page size of lists, in objects: a Pod may have a megabyte, and memory is bounded.
const PAGE: u32 = 10;
/// Maximum number of pages read; Pods beyond them are unknown, and refuse the card.
const PAGES: usize = 100;

/// Replicas behind the Service of a workload, found within the fetch timeout.
pub(crate) async fn find_replicas(
    context: &Context,
    key: &WorkloadRef,
    workload: &Workload,
    service: &AgentService,
    last: &[ReplicaEvaluation],
) -> Result<Replicas, UnusableEndpoints> {
    let (limit, terms) =
        (context.limits().total, EndpointTerms { key, workload, is_v6: service.is_v6, last });
    let found = timeout(limit, find(context, service, terms)).await;
    found.unwrap_or_else(|_| {
        let found = format!("the API server did not say within {limit:?} who stands behind the Service");
        Err(UnusableEndpoints { refusal: Refusal::new(Reason::FetchFailed, found), may_settle: true })
    })
}

async fn find(
    context: &Context,
    service: &AgentService,
    terms: EndpointTerms<'_>,
) -> Result<Replicas, UnusableEndpoints> {
    let EndpointTerms { key, workload, .. } = terms;
    // An API server that does not answer says nothing about the agent, so the last evaluation may hold on.
    let unread = |refusal| UnusableEndpoints { refusal, may_settle: true };
    let endpoints = endpoints(context, key, service).await.map_err(unread)?;
    let watched = watched(context, key, workload, &endpoints);
    let replicas = match evaluate_endpoints(&terms, &endpoints, &watched) {
        // The index lacks Pods without the agent label, and may lag behind others: only a fresh read refuses.
        Err(_) => {
            let read = read(context, key, workload, service).await.map_err(unread)?;
            evaluate_endpoints(&terms, &endpoints, &read)?
        }
        Ok(replicas) => replicas,
    };
    if replicas.ready.is_empty() {
        // The workload is ready, so `EndpointSlice`s lag behind; no Pod receives traffic meanwhile.
        let found = format!("no Pod behind the Service {} is ready", Quoted(&key.object.name));
        let refusal = Refusal::new(Reason::WorkloadNotReady, found);
        return Err(UnusableEndpoints { refusal, may_settle: true });
    }
    Ok(replicas)
}

/// Endpoints of the Service, read again only when an `EndpointSlice` has changed.
async fn endpoints(
    context: &Context,
    key: &WorkloadRef,
    service: &AgentService,
) -> Result<Arc<Vec<ServiceEndpoint>>, Refusal> {
    let versions = context.index.slice_versions(&key.object);
    if let Some((read, endpoints)) = context.index.read_endpoints.get(&key.object)
        && read == versions
    {
        return Ok(endpoints);
    }
    let ObjectRef { namespace, name } = &key.object;
    let selector = format!("{SERVICE_LABEL}={name}");
    let slices = list::<EndpointSlice>(context, namespace, &selector).await?;
    let endpoints = read_endpoints(&slices, service.service_port.as_ref(), service.port);
    let endpoints = endpoints.map_err(|problem| {
        let found = format!("the slice of endpoints {} cannot be used", Quoted(&problem));
        Refusal::new(Reason::ServiceEndpointNotOwned, found)
    })?;
    let endpoints = Arc::new(endpoints);
    context.index.read_endpoints.insert(key.object.clone(), (versions, Arc::clone(&endpoints)));
    Ok(endpoints)
}

/// Pods in the index that the workload controls or that the endpoints name, with the owners of their `ReplicaSet`s.
fn watched(
    context: &Context,
    key: &WorkloadRef,
    workload: &Workload,
    endpoints: &[ServiceEndpoint],
) -> KnownPods {
    let (index, namespace) = (&context.index, &key.object.namespace);
    let behind = endpoints.iter().filter_map(|endpoint| {
        let (name, _) = endpoint.pod.as_ref()?;
        Some((name.clone(), index.pods.get(&ObjectRef::new(namespace, name))?))
    });
    let own = index.pods_of(key, workload).into_iter().map(|(object, pod)| (object.name, pod));
    let pods: BTreeMap<String, Pod> = own.chain(behind).collect();
    let controllers = pods.values().filter_map(|pod| pod.controller.as_ref());
    let sets =
        controllers.map(|set| (set.uid.clone(), index.controller_of_set(namespace, &set.uid))).collect();
    KnownPods { pods, sets }
}

/// Pods that the Service selects, with or without the agent label, read from the API server.
async fn read(
    context: &Context,
    key: &WorkloadRef,
    workload: &Workload,
    service: &AgentService,
) -> Result<KnownPods, Refusal> {
    let namespace = &key.object.namespace;
    let selector: Vec<String> =
        service.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut known = KnownPods::default();
    for pod in list::<ApiPod>(context, namespace, &selector.join(",")).await? {
        if let (Some(name), Some(pod)) = (pod.metadata.name.clone(), Pod::of(pod)) {
            known.pods.insert(name, pod);
        }
    }
    if key.kind != WorkloadKind::Deployment {
        return Ok(known);
    }
    for set in list::<ReplicaSet>(context, namespace, &selector_text(&workload.selector)).await? {
        if let Some(uid) = set.metadata.uid {
            known.sets.insert(uid, controller(set.metadata.owner_references.as_deref()));
        }
    }
    Ok(known)
}

/// Objects that match a selector, at most [`PAGE`] times [`PAGES`].
async fn list<K>(context: &Context, namespace: &str, selector: &str) -> Result<Vec<K>, Refusal>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let mut all = Vec::new();
    let mut page = ListParams::default().labels(selector).limit(PAGE);
    for _ in 0..PAGES {
        let list = api.list(&page).await.map_err(|error| {
            let kind = K::kind(&K::DynamicType::default()).into_owned();
            let problem = error.to_string();
            let found = format!("the {kind}s behind the Service could not be read: {}", Quoted(&problem));
            Refusal::new(Reason::FetchFailed, found)
        })?;
        all.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    Ok(all)
}
