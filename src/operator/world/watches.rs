//! The watches themselves: which objects, with which selector, into which store.
//! Everything that is not ours is asked for by label, or without its content.

use super::cluster::{mode_of, read_slice};
use super::pod::controller;
use super::watch::follow;
use super::{Card, Kind, Pod, Policy, Workload, World};
use crate::api::agent_card::AgentCard;
use crate::api::keys::{AGENT_TYPE, MANAGED_BY, MANAGED_BY_LABEL, MODE_LABEL, PEER_MARK_LABEL, TYPE_LABEL};
use crate::operator::key::WorkloadKey;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod as ApiPod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// How many objects one answer to a list request brings: it bounds what is in memory at once.
const PAGE: u32 = 200;

/// Follows every kind until dropped. `broken` hears of each failed request, with the kind.
pub(crate) async fn follow_everything(
    client: Client,
    world: Arc<World>,
    broken: impl Fn(&'static str, &watcher::Error) + Sync,
) {
    let agents = config(&format!("{TYPE_LABEL}={AGENT_TYPE}"));
    let strays = config(&format!("{PEER_MARK_LABEL},{TYPE_LABEL}!={AGENT_TYPE}"));
    let world = &world;
    let broken = &broken;
    let to = |kind: Kind| move |place: &super::Place| WorkloadKey { kind, place: place.clone() };
    let (deployment, stateful_set) = (to(Kind::Deployment), to(Kind::StatefulSet));
    let loops: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = vec![
        Box::pin(follow(
            watcher(Api::<AgentCard>::all(client.clone()), config("")).default_backoff(),
            &world.cards,
            Card::of,
            |change| world.card_changed(&change),
            |error| broken("agentcards", error),
        )),
        Box::pin(follow(
            watcher(Api::<Deployment>::all(client.clone()), agents.clone()).default_backoff(),
            &world.deployments,
            Workload::of_deployment,
            |change| world.workload_changed(deployment(change.place), &change),
            |error| broken("deployments", error),
        )),
        Box::pin(follow(
            watcher(Api::<StatefulSet>::all(client.clone()), agents.clone()).default_backoff(),
            &world.stateful_sets,
            Workload::of_stateful_set,
            |change| world.workload_changed(stateful_set(change.place), &change),
            |error| broken("statefulsets", error),
        )),
        Box::pin(follow(
            watcher(Api::<ApiPod>::all(client.clone()), agents.clone()).default_backoff(),
            &world.pods,
            Pod::of,
            |change| world.pod_changed(&change),
            |error| broken("pods", error),
        )),
        Box::pin(follow(
            watcher(Api::<PartialObjectMeta<ApiPod>>::all(client.clone()), strays).default_backoff(),
            &world.strays,
            |object| object.metadata.uid,
            |change| world.stray_changed(&change),
            |error| broken("pods", error),
        )),
        Box::pin(follow(
            watcher(Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()), agents).default_backoff(),
            &world.replica_sets,
            |object| Some((object.metadata.uid?, controller(object.metadata.owner_references.as_deref()))),
            |change| world.replica_set_changed(&change),
            |error| broken("replicasets", error),
        )),
        Box::pin(follow(
            watcher(Api::<PartialObjectMeta<Service>>::all(client.clone()), config("")).default_backoff(),
            &world.services,
            |object| object.metadata.resource_version,
            |change| world.service_changed(change.place),
            |error| broken("services", error),
        )),
        Box::pin(follow(
            watcher(
                Api::<NetworkPolicy>::all(client.clone()),
                config(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}")),
            )
            .default_backoff(),
            &world.policies,
            |object| Some(Policy::of(&object)),
            |change| world.policy_changed(&change),
            |error| broken("networkpolicies", error),
        )),
        Box::pin(follow(
            watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), config(MODE_LABEL))
                .default_backoff(),
            &world.namespaces,
            |object| mode_of(&object.metadata.labels.unwrap_or_default()),
            |change| world.mode_changed(&change),
            |error| broken("namespaces", error),
        )),
        Box::pin(follow(
            watcher(
                Api::<EndpointSlice>::namespaced(client, "default"),
                config("kubernetes.io/service-name=kubernetes"),
            )
            .default_backoff(),
            &world.api_servers,
            |slice| Some(read_slice(slice)),
            |_| world.api_server_changed(),
            |error| broken("endpointslices", error),
        )),
    ];
    join_all(loops).await;
}

fn config(labels: &str) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE);
    if labels.is_empty() { config } else { config.labels(labels) }
}
