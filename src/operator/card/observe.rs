//! Observation of an AgentCard: workload, Service, replicas and the host names of the workload.
//! Addresses come from the API server alone; no name is resolved, so that DNS cannot redirect a fetch (rule 2).

use super::pages::{Unread, each_object};
use super::replicas::find_replicas;
use super::unusable::Unusable;
use crate::context::Context;
use crate::index::WorkloadRef;
use crate::index::{IndexedCard, ObjectRef, Workload, WorkloadKind, sandboxes};
use crate::limits::PAGE_OBJECTS;
use crate::reduced::{
    self, ReducedDeployment, ReducedIngress, ReducedSandbox, ReducedService, ReducedStatefulSet,
};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_plan::agent_card::card_evaluation::ReplicaEvaluation;
use countersign_plan::agent_card::replica::Replicas;
use countersign_plan::agent_card::settles::Settles;
use countersign_plan::input::Kept;
use countersign_plan::input::enrolment::other_type;
use countersign_plan::input::service::{AgentService, HostsOfIngresses, HostsOfServices, read_service};
use countersign_plan::input::standing::{Standing, protocol_problem};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::timeout;

/// Workload whose card can be fetched.
#[derive(Clone, Debug)]
pub(crate) struct ReachableAgent {
    /// Reference to the workload.
    pub(crate) key: WorkloadRef,
    /// Observed workload object.
    pub(crate) workload: Workload,
    /// Service that selects the Pods of the workload.
    pub(crate) service: AgentService,
    /// Replicas behind the Service, all Pods of the workload.
    pub(crate) replicas: Replicas,
}

/// Workload that an AgentCard targets, ready or not.
pub(crate) async fn find_workload(
    context: &Context,
    object: &ObjectRef,
    card: &IndexedCard,
) -> Result<(WorkloadRef, Workload), Refusal> {
    let missing = |found: String| Refusal::new(Reason::WorkloadNotFound, found);
    let Some(target) = card.target() else {
        return Err(missing(
            "spec.targetRef is required: specify the workload backing this agent".to_owned(),
        ));
    };
    let shown = format!("{} {} in {}", Quoted(&target.kind), Quoted(&target.name), Quoted(&object.namespace));
    let Some(key) = card.workload(&object.namespace) else {
        let found = format!("{shown} of {} is of no kind that is watched", Quoted(&target.api_version));
        return Err(missing(found));
    };
    match context.index.workload(&key) {
        Some(workload) if workload.is_leaving => Err(missing(format!("{shown} is being deleted"))),
        Some(workload) if workload.is_agent() => Ok((key, workload)),
        // The index holds labelled workloads alone, so that absence there does not mean absence in the cluster.
        None if context.index.workloads(key.kind).is_absent() => {
            let found = format!(
                "there is no {shown}: the cluster does not have the kind {} ({}); install its definition",
                key.kind.as_str(),
                key.kind.api_version()
            );
            Err(missing(found))
        }
        None => match find_unwatched(context, &key).await {
            None => Err(missing(format!("there is no {shown}"))),
            Some((labels, workload)) => Err(not_agent(&shown, &labels, workload.standing())),
        },
        // The index does not keep the labels of what has stopped being an agent.
        Some(workload) => Err(not_agent(&shown, &Labels::new(), workload.standing())),
    }
}

/// Labels by key.
type Labels = BTreeMap<String, String>;

/// Refuses a workload that is no agent, with the label that was meant to make it one, or that its Pods have alone.
fn not_agent(shown: &str, labels: &Labels, standing: Standing) -> Refusal {
    let instead = match (other_type(labels), standing.notice()) {
        (Some((family, value)), _) => format!(": its label {} is {}", family.type_label(), Quoted(value)),
        (None, Some(notice)) => format!(": {notice}"),
        (None, None) => String::new(),
    };
    Refusal::new(Reason::NotAgentWorkload, format!("{shown} is not labelled as an agent{instead}"))
}

/// Workload that no watch follows, with its labels; `None` if the API server does not have it, or on an error, since the card
/// is refused either way.
async fn find_unwatched(context: &Context, key: &WorkloadRef) -> Option<(Labels, Workload)> {
    let ObjectRef { namespace, name } = &key.object;
    let client = context.client.clone();
    let found = match key.kind {
        WorkloadKind::Deployment => {
            let api = Api::<ReducedDeployment>::namespaced(client, namespace);
            api.get_opt(name)
                .await
                .map(|found| found.map(|one| (labels_of(one.meta()), reduced::deployment(one))))
        }
        WorkloadKind::StatefulSet => {
            let api = Api::<ReducedStatefulSet>::namespaced(client, namespace);
            api.get_opt(name)
                .await
                .map(|found| found.map(|one| (labels_of(one.meta()), reduced::stateful_set(one))))
        }
        WorkloadKind::Sandbox => {
            for version in sandboxes() {
                let api = Api::<ReducedSandbox>::namespaced_with(client.clone(), namespace, &version);
                if let Ok(Some(found)) = api.get_opt(name).await {
                    return Some((labels_of(found.meta()), reduced::sandbox(found)));
                }
            }
            Ok(None)
        }
    };
    found.ok().flatten().and_then(|(labels, workload)| Some((labels, workload?)))
}

fn labels_of(metadata: &ObjectMeta) -> Labels {
    metadata.labels.clone().unwrap_or_default()
}

/// Service and replicas from which the card of a workload can be fetched.
pub(crate) async fn find_reachable(
    context: &Context,
    key: WorkloadRef,
    workload: Workload,
    last: &[ReplicaEvaluation],
) -> Result<ReachableAgent, Unusable> {
    let service = find_service(context, &key, &workload).await?;
    let replicas = find_replicas(context, &key, &workload, &service, last).await?;
    Ok(ReachableAgent { key, workload, service, replicas })
}

/// Service of the workload's name, if it selects the workload's Pods alone (rule 51).
async fn find_service(
    context: &Context,
    key: &WorkloadRef,
    workload: &Workload,
) -> Result<AgentService, Unusable> {
    if !workload.is_ready {
        let found = format!("{} {} is not ready", key.kind.as_str(), Quoted(&key.object.name));
        return Err(Refusal::new(Reason::WorkloadNotReady, found).into());
    }
    if let Some(found) = protocol_problem(workload.family, workload.protocol.as_deref()) {
        return Err(Refusal::new(Reason::ProtocolMissing, found).into());
    }
    let ObjectRef { namespace, name } = &key.object;
    let none = |found: String| Refusal::new(Reason::ServiceNotFound, found);
    let limit = context.limits().total;
    let failed = |unread: Unread| Unusable::unread(&format!("the Service {}", Quoted(name)), &unread);
    let service = match timeout(limit, get_service(context, &key.object)).await {
        Ok(Ok(Some(service))) => service,
        Ok(Ok(None)) => {
            return Err(none(format!("there is no Service {} in {}", Quoted(name), Quoted(namespace))).into());
        }
        Ok(Err(error)) => return Err(failed(Unread::failed(&error))),
        Err(_) => {
            let problem = format!("was not read within {limit:?}");
            return Err(failed(Unread { problem, settles: Some(Settles::Later) }));
        }
    };
    let service = read_service(
        &service,
        namespace,
        name,
        &workload.template_labels.read(),
        context.config.verified_fetch,
    );
    Ok(service.map_err(none)?)
}

/// Service object, read again only when the watch has reported another resource version.
async fn get_service(context: &Context, object: &ObjectRef) -> Result<Option<Service>, kube::Error> {
    let Some(version) = context.index.services.get(object) else { return Ok(None) };
    if let Some((read, service)) = context.index.read_services.get(object)
        && read == version
    {
        return Ok(Some(service.read()));
    }
    let api: Api<ReducedService> = Api::namespaced(context.client.clone(), &object.namespace);
    let Some(service) = api.get_opt(&object.name).await? else { return Ok(None) };
    let service = reduced::service(service);
    if let Some(kept) = Kept::of(&service) {
        context.index.read_services.insert(object.clone(), (version, kept));
    }
    Ok(Some(service))
}

/// All Services that select the workload's Pods alone.
pub(crate) async fn other_services(
    context: &Context,
    key: &WorkloadRef,
    workload: &Workload,
) -> Result<HostsOfServices, Unread> {
    let namespace = key.object.namespace.as_str();
    let mut hosts = HostsOfServices::new(namespace, &workload.template_labels.read());
    let services: Api<ReducedService> = Api::namespaced(context.client.clone(), namespace);
    each_object(context, &services, ("", PAGE_OBJECTS), |service| hosts.add(&reduced::service(service)))
        .await?;
    Ok(hosts)
}

/// Hosts of the Ingresses that lead to these Services alone. Nothing is read if no Ingress of the namespace may name a host.
pub(crate) async fn ingress_hosts(
    context: &Context,
    namespace: &str,
    services: &HostsOfServices,
) -> Result<BTreeSet<String>, Unread> {
    let suffixes = &context.config.ingress_hosts;
    if !suffixes.are_for(namespace) {
        return Ok(BTreeSet::new());
    }
    let mut hosts = HostsOfIngresses::new(services, suffixes);
    let ingresses: Api<ReducedIngress> = Api::namespaced(context.client.clone(), namespace);
    each_object(context, &ingresses, ("", PAGE_OBJECTS), |ingress| hosts.add(&reduced::ingress(ingress)))
        .await?;
    Ok(hosts.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_api::keys::Family;

    #[test]
    fn what_was_found_instead_of_the_label_of_agents_is_named() {
        let labels = |value: &str| Labels::from([("kagenti.io/type".to_owned(), value.to_owned())]);
        let none = Standing::Unconcerned;
        for (labels, standing, told) in [
            (
                labels("Agent"),
                none,
                "\"x\" is not labelled as an agent: its label kagenti.io/type is \"Agent\"",
            ),
            (Labels::new(), none, "\"x\" is not labelled as an agent"),
            (
                Labels::new(),
                Standing::TemplateAlone(Family::Rossoctl),
                "\"x\" is not labelled as an agent: the label rossoctl.io/type: agent is in the Pod template alone, so \
                 the Pods are isolated and never verified: add it to metadata.labels of the workload too, with \
                 protocol.rossoctl.io/a2a: \"\"",
            ),
        ] {
            assert_eq!(not_agent("\"x\"", &labels, standing).message(), told);
        }
    }
}
