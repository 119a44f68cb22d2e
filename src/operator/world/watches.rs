//! The watches themselves: which objects, with which selector, into which store.
//! Everything that is not ours is asked for by label, or without its content.

use super::cluster::{mode_of, read_slice};
use super::endpoint::SERVICE_LABEL;
use super::pod::controller;
use super::{Card, Kind, Pod, Policy, Workload, World};
use countersign_api::agent_card::AgentCard;
use countersign_api::keys::{
    AGENT_TYPE, MANAGED_BY, MANAGED_BY_LABEL, MODE_LABEL, PEER_MARK_LABEL, TYPE_LABEL,
};
use countersign_controller::watches::{Broken, Watches, labelled};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod as ApiPod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Starts to follow every kind, each in a task of its own: what one watch brings wakes none of the others.
pub(crate) fn follow_everything(
    tasks: &mut JoinSet<()>,
    client: &Client,
    world: &Arc<World>,
    broken: &Broken,
) {
    let mut watches = Watches::new(tasks, world, broken);
    let agents = labelled(&format!("{TYPE_LABEL}={AGENT_TYPE}"));
    let strays = labelled(&format!("{PEER_MARK_LABEL},{TYPE_LABEL}!={AGENT_TYPE}"));
    watches.follow(
        "agentcards",
        Api::<AgentCard>::all(client.clone()),
        labelled(""),
        |world| &world.cards,
        Card::of,
        World::card_changed,
    );
    watches.follow(
        "deployments",
        Api::<Deployment>::all(client.clone()),
        agents.clone(),
        |world| &world.deployments,
        Workload::of_deployment,
        |world, change| world.workload_changed(Kind::Deployment, change),
    );
    watches.follow(
        "statefulsets",
        Api::<StatefulSet>::all(client.clone()),
        agents.clone(),
        |world| &world.stateful_sets,
        Workload::of_stateful_set,
        |world, change| world.workload_changed(Kind::StatefulSet, change),
    );
    watches.follow(
        "pods",
        Api::<ApiPod>::all(client.clone()),
        agents.clone(),
        |world| &world.pods,
        Pod::of,
        World::pod_changed,
    );
    watches.follow(
        "pods",
        Api::<PartialObjectMeta<ApiPod>>::all(client.clone()),
        strays,
        |world| &world.strays,
        |object| object.metadata.uid,
        World::stray_changed,
    );
    watches.follow(
        "replicasets",
        Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()),
        agents,
        |world| &world.replica_sets,
        |object| Some((object.metadata.uid?, controller(object.metadata.owner_references.as_deref()))),
        World::replica_set_changed,
    );
    watches.follow(
        "services",
        Api::<PartialObjectMeta<Service>>::all(client.clone()),
        labelled(""),
        |world| &world.services,
        |object| object.metadata.resource_version,
        |world, change| world.service_changed(change.object),
    );
    watches.follow(
        "networkpolicies",
        Api::<NetworkPolicy>::all(client.clone()),
        labelled(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}")),
        |world| &world.policies,
        |object| Some(Policy::of(&object)),
        World::policy_changed,
    );
    watches.follow(
        "namespaces",
        Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
        labelled(MODE_LABEL),
        |world| &world.namespaces,
        |object| mode_of(&object.metadata.labels.unwrap_or_default()),
        World::mode_changed,
    );
    watches.follow(
        "endpointslices",
        Api::<PartialObjectMeta<EndpointSlice>>::all(client.clone()),
        labelled(SERVICE_LABEL),
        |world| &world.slices,
        |object| Some((object.metadata.labels?.remove(SERVICE_LABEL)?, object.metadata.resource_version?)),
        World::slice_changed,
    );
    watches.follow(
        "endpointslices",
        Api::<EndpointSlice>::namespaced(client.clone(), "default"),
        labelled("kubernetes.io/service-name=kubernetes"),
        |world| &world.api_servers,
        |slice| Some(read_slice(slice)),
        |world, _| world.api_server_changed(),
    );
}
