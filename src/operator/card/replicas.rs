//! Reads of the replicas behind a Service, for the evaluation of its endpoints (rule 51).
//! The index serves first; the API server is read where the index cannot prove an endpoint.

use super::pages::{Unread, each_object};
use crate::context::Context;
use crate::index::{ObjectRef, Pod, ServiceEndpoint, Workload, WorkloadKind, WorkloadRef};
use crate::limits::{ENDPOINTS, PAGE_METADATA, PAGE_OBJECTS, PAGE_SLICES};
use crate::reduced::{self, ReducedMetadata, ReducedPod};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_plan::agent_card::card_evaluation::ReplicaEvaluation;
use countersign_plan::agent_card::endpoints::{EndpointTerms, KnownPods, UnusableAgent, evaluate_endpoints};
use countersign_plan::agent_card::replica::Replicas;
use countersign_plan::input::endpoint::{SERVICE_LABEL, read_endpoints};
use countersign_plan::input::pod::{controller, selector_text};
use countersign_plan::input::service::AgentService;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Resource};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::timeout;

/// Replicas behind the Service of a workload, found within the fetch timeout.
pub(crate) async fn find_replicas(
    context: &Context,
    key: &WorkloadRef,
    workload: &Workload,
    service: &AgentService,
    last: &[ReplicaEvaluation],
) -> Result<Replicas, UnusableAgent> {
    let (limit, terms) =
        (context.limits().total, EndpointTerms { key, workload, is_v6: service.is_v6, last });
    let found = timeout(limit, find(context, service, terms)).await;
    found.unwrap_or_else(|_| {
        let found = format!("the API server did not say within {limit:?} who stands behind the Service");
        Err(UnusableAgent { refusal: Refusal::new(Reason::FetchFailed, found), may_settle: true })
    })
}

async fn find(
    context: &Context,
    service: &AgentService,
    terms: EndpointTerms<'_>,
) -> Result<Replicas, UnusableAgent> {
    let EndpointTerms { key, workload, .. } = terms;
    // An API server that does not answer says nothing about the agent, so the last evaluation may hold on.
    let unread = |refusal| UnusableAgent { refusal, may_settle: true };
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
        return Err(UnusableAgent { refusal, may_settle: true });
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
    let api: Api<EndpointSlice> = Api::namespaced(context.client.clone(), namespace);
    let mut endpoints = Ok(Vec::new());
    let read = each_object(context, &api, (&selector, PAGE_SLICES), |slice| {
        let Ok(all) = &mut endpoints else { return };
        match read_endpoints(&[slice], service.service_port.as_ref(), service.port) {
            Ok(more) if all.len().saturating_add(more.len()) > ENDPOINTS => {
                endpoints = Err(format!("there are more than the {ENDPOINTS} addresses that are read"));
            }
            Ok(more) => all.extend(more),
            Err(problem) => endpoints = Err(problem),
        }
    });
    read.await.map_err(|unread| unreadable("EndpointSlices", &unread))?;
    let mut endpoints = endpoints.map_err(|problem| {
        let found = format!("the slice of endpoints {} cannot be used", Quoted(&problem));
        Refusal::new(Reason::ServiceEndpointNotOwned, found)
    })?;
    endpoints.shrink_to_fit();
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
        let (name, _) = endpoint.pod.as_deref()?;
        Some((name.clone(), index.pods.get(&ObjectRef::new(namespace, name))?))
    });
    let own = index.pods_of(key, workload).into_iter().map(|(object, pod)| (object.name.to_string(), pod));
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
    let selector = selector.join(",");
    let mut known = KnownPods::default();
    let api: Api<ReducedPod> = Api::namespaced(context.client.clone(), namespace);
    let pods = each_object(context, &api, (&selector, PAGE_OBJECTS), |pod| {
        if let (Some(name), Some(pod)) = (pod.meta().name.clone(), reduced::pod(pod)) {
            known.pods.insert(name, pod);
        }
    });
    pods.await.map_err(|unread| unreadable("Pods", &unread))?;
    if key.kind != WorkloadKind::Deployment {
        return Ok(known);
    }
    let selector = selector_text(&workload.selector.read());
    let api: Api<ReducedMetadata<ReplicaSet>> = Api::namespaced(context.client.clone(), namespace);
    let sets = each_object(context, &api, (&selector, PAGE_METADATA), |set| {
        if let Some(uid) = set.metadata.kept.uid {
            known.sets.insert(uid, controller(set.metadata.kept.owner_references.as_deref()));
        }
    });
    sets.await.map_err(|unread| unreadable("ReplicaSets", &unread))?;
    Ok(known)
}

fn unreadable(kinds: &str, unread: &Unread) -> Refusal {
    Refusal::new(Reason::FetchFailed, format!("the {kinds} behind the Service {}", unread.problem))
}
