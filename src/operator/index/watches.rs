//! Watches of the index: kind, selector and store of each.
//! Objects of others are watched by label or by metadata alone, to bound rights and memory.

use super::cluster::{mode_of, read_slice};
use super::{Card, Index, Pod, StoredPolicy, Workload, WorkloadKind};
use countersign_api::agent_card::AgentCard;
use countersign_api::keys::{
    AGENT_TYPE, MANAGED_BY, MANAGED_BY_LABEL, MODE_LABEL, PEER_MARK_LABEL, TYPE_LABEL,
};
use countersign_controller::relist::Relist;
use countersign_controller::watches::{Broken, Watches, labelled};
use countersign_plan::input::endpoint::SERVICE_LABEL;
use countersign_plan::input::pod::controller;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod as ApiPod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Starts the watches of all kinds, each in a task of its own, and returns the signals for fresh lists.
pub(crate) fn follow_everything(
    tasks: &mut JoinSet<()>,
    client: &Client,
    index: &Arc<Index>,
    broken: &Broken,
) -> Vec<Arc<Relist>> {
    let mut watches = Watches::new(tasks, index, broken);
    let agents = labelled(&format!("{TYPE_LABEL}={AGENT_TYPE}"));
    let strays = labelled(&format!("{PEER_MARK_LABEL},{TYPE_LABEL}!={AGENT_TYPE}"));
    watches.follow(
        "agentcards",
        Api::<AgentCard>::all(client.clone()),
        labelled(""),
        |index| &index.cards,
        Card::of,
        Index::card_changed,
    );
    watches.follow(
        "deployments",
        Api::<Deployment>::all(client.clone()),
        agents.clone(),
        |index| &index.deployments,
        Workload::of_deployment,
        |index, change| index.workload_changed(WorkloadKind::Deployment, change),
    );
    watches.follow(
        "statefulsets",
        Api::<StatefulSet>::all(client.clone()),
        agents.clone(),
        |index| &index.stateful_sets,
        Workload::of_stateful_set,
        |index, change| index.workload_changed(WorkloadKind::StatefulSet, change),
    );
    watches.follow(
        "pods",
        Api::<ApiPod>::all(client.clone()),
        agents.clone(),
        |index| &index.pods,
        Pod::of,
        Index::pod_changed,
    );
    watches.follow(
        "pods",
        Api::<PartialObjectMeta<ApiPod>>::all(client.clone()),
        strays,
        |index| &index.strays,
        |object| object.metadata.uid,
        Index::stray_changed,
    );
    watches.follow(
        "replicasets",
        Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()),
        agents,
        |index| &index.replica_sets,
        |object| Some((object.metadata.uid?, controller(object.metadata.owner_references.as_deref()))),
        Index::replica_set_changed,
    );
    watches.follow(
        "services",
        Api::<PartialObjectMeta<Service>>::all(client.clone()),
        labelled(""),
        |index| &index.services,
        |object| object.metadata.resource_version,
        |index, change| index.service_changed(change.object),
    );
    watches.follow(
        "networkpolicies",
        Api::<NetworkPolicy>::all(client.clone()),
        labelled(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}")),
        |index| &index.policies,
        |object| Some(StoredPolicy::of(&object)),
        Index::policy_changed,
    );
    watches.follow(
        "namespaces",
        Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
        labelled(MODE_LABEL),
        |index| &index.namespaces,
        |object| mode_of(&object.metadata.labels.unwrap_or_default()),
        Index::mode_changed,
    );
    watches.follow(
        "endpointslices",
        Api::<PartialObjectMeta<EndpointSlice>>::all(client.clone()),
        labelled(SERVICE_LABEL),
        |index| &index.slices,
        |object| Some((object.metadata.labels?.remove(SERVICE_LABEL)?, object.metadata.resource_version?)),
        Index::slice_changed,
    );
    watches.follow(
        "endpointslices",
        Api::<EndpointSlice>::namespaced(client.clone(), "default"),
        labelled("kubernetes.io/service-name=kubernetes"),
        |index| &index.api_servers,
        |slice| Some(read_slice(slice)),
        |index, _| index.api_server_changed(),
    );
    watches.relists()
}
