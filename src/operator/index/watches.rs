//! Watches of the index: kind, selector and store of each.
//! Objects of others are watched by label or by metadata alone, to bound rights and memory.

use super::cluster::read_slice;
use super::{EnrolledBy, Index, IndexKey, Store};
use crate::reduced::{
    self, ReducedCard, ReducedDeployment, ReducedMetadata, ReducedPod, ReducedPolicy, ReducedRuntime,
    ReducedSandbox, ReducedStatefulSet,
};
use countersign_api::keys::{
    ENROLLED, ENROLLED_LABEL, Family, MANAGED_BY, MANAGED_BY_LABEL, MODE_LABEL, PEER_MARK_LABEL,
    RUNTIME_LABEL,
};
use countersign_controller::registry::{Registry, Watched};
use countersign_plan::Mode;
use countersign_plan::input::endpoint::SERVICE_LABEL;
use countersign_plan::input::pod::controller;
use countersign_plan::input::sandbox::{SANDBOX_GROUP, SANDBOX_KIND, SANDBOX_PLURAL, SANDBOX_VERSIONS};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod as ApiPod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;

/// Selection of one store of the index.
type StoreOf<V> = fn(&Index) -> &Store<V, IndexKey>;

/// Registers the watches of the index.
pub(crate) fn register(registry: &mut Registry, client: &Client, index: &Arc<Index>) {
    let cards = Watched::all("agentcards", Api::<ReducedCard>::all(client.clone()));
    registry.watch(cards, index, |index| &index.cards, reduced::card);
    register_enrolment(registry, client, index);
    register_injection(registry, client, index);
    register_agents(registry, client, index);
    register_surroundings(registry, client, index);
}

/// Registers the watches of `AgentRuntime`s and of what they enrol.
fn register_enrolment(registry: &mut Registry, client: &Client, index: &Arc<Index>) {
    let runtimes = Watched::all("agentruntimes", Api::<ReducedRuntime>::all(client.clone()));
    registry.watch(
        Watched { is_optional: true, ..runtimes },
        index,
        |index| &index.runtimes,
        reduced::runtime,
    );
    registry.watch(
        Watched::metadata(
            "enrolled deployments",
            Api::<ReducedMetadata<Deployment>>::all(client.clone()),
            RUNTIME_LABEL,
        ),
        index,
        |index| &index.enrolled_deployments,
        |object| EnrolledBy::of(object.metadata.kept),
    );
    registry.watch(
        Watched::metadata(
            "enrolled statefulsets",
            Api::<ReducedMetadata<StatefulSet>>::all(client.clone()),
            RUNTIME_LABEL,
        ),
        index,
        |index| &index.enrolled_stateful_sets,
        |object| EnrolledBy::of(object.metadata.kept),
    );
    let [first, second] =
        sandboxes().map(|of| Api::<ReducedMetadata<DynamicObject>>::all_with(client.clone(), &of));
    let watched = Watched::metadata("enrolled sandboxes", first, RUNTIME_LABEL);
    registry.watch(
        Watched { is_optional: true, versions: vec![second], ..watched },
        index,
        |index| &index.enrolled_sandboxes,
        |object| EnrolledBy::of(object.metadata.kept),
    );
}

/// Registers the watches of namespaces that ask for sidecars.
fn register_injection(registry: &mut Registry, client: &Client, index: &Arc<Index>) {
    agents(
        registry,
        index,
        |family| {
            let selector = format!("{}=true", family.namespace_label());
            Watched::metadata(
                "injected namespaces",
                Api::<ReducedMetadata<Namespace>>::all(client.clone()),
                selector,
            )
        },
        [|index| index.injected.of(Family::Kagenti), |index| index.injected.of(Family::Rossoctl)],
        |object| object.metadata.kept.uid,
    );
}

/// Registers the watches of objects with the label of agents: workloads, their Pods and `ReplicaSet`s.
fn register_agents(registry: &mut Registry, client: &Client, index: &Arc<Index>) {
    agents(
        registry,
        index,
        |family| {
            Watched::labelled("deployments", Api::<ReducedDeployment>::all(client.clone()), family.selector())
        },
        [|index| index.deployments.of(Family::Kagenti), |index| index.deployments.of(Family::Rossoctl)],
        reduced::deployment,
    );
    agents(
        registry,
        index,
        |family| {
            Watched::labelled(
                "statefulsets",
                Api::<ReducedStatefulSet>::all(client.clone()),
                family.selector(),
            )
        },
        [|index| index.stateful_sets.of(Family::Kagenti), |index| index.stateful_sets.of(Family::Rossoctl)],
        reduced::stateful_set,
    );
    agents(
        registry,
        index,
        |family| {
            let [first, second] = sandboxes().map(|of| Api::<ReducedSandbox>::all_with(client.clone(), &of));
            let watched = Watched::labelled("sandboxes", first, family.selector());
            Watched { is_optional: true, versions: vec![second], ..watched }
        },
        [|index| index.sandboxes.of(Family::Kagenti), |index| index.sandboxes.of(Family::Rossoctl)],
        |object| Some(reduced::sandbox(object)),
    );
    agents(
        registry,
        index,
        |family| Watched::labelled("pods", Api::<ReducedPod>::all(client.clone()), family.selector()),
        [|index| index.pods.of(Family::Kagenti), |index| index.pods.of(Family::Rossoctl)],
        reduced::pod,
    );
    let no_agent = Family::ALL.map(Family::others_selector).join(",");
    registry.watch(
        Watched::metadata(
            "pods",
            Api::<ReducedMetadata<ApiPod>>::all(client.clone()),
            format!("{PEER_MARK_LABEL},{no_agent}"),
        ),
        index,
        |index| &index.marked_pods,
        |object| object.metadata.kept.uid,
    );
    agents(
        registry,
        index,
        |family| {
            let api = Api::<ReducedMetadata<ReplicaSet>>::all(client.clone());
            Watched::metadata("replicasets", api, family.selector())
        },
        [|index| index.replica_sets.of(Family::Kagenti), |index| index.replica_sets.of(Family::Rossoctl)],
        |object| {
            Some((object.metadata.kept.uid?, controller(object.metadata.kept.owner_references.as_deref())))
        },
    );
}

/// Registers the watches of what agents depend on: Services, endpoints, policies, namespaces and the API server.
fn register_surroundings(registry: &mut Registry, client: &Client, index: &Arc<Index>) {
    // Subscribed before any reconciler, so that none of them reads a Service or endpoints of before the change.
    index.services.subscribe(index, |index, change| {
        index.read_services.remove(change.object);
        index.read_endpoints.remove(change.object);
    });
    registry.watch(
        Watched::metadata("services", Api::<ReducedMetadata<Service>>::all(client.clone()), ""),
        index,
        |index| &index.services,
        |object| object.metadata.kept.resource_version,
    );
    registry.watch(
        Watched::labelled(
            "networkpolicies",
            Api::<ReducedPolicy>::all(client.clone()),
            format!("{MANAGED_BY_LABEL}={MANAGED_BY}"),
        ),
        index,
        |index| &index.policies,
        |object| Some(reduced::policy(object)),
    );
    registry.watch(
        Watched::metadata("namespaces", Api::<ReducedMetadata<Namespace>>::all(client.clone()), MODE_LABEL),
        index,
        |index| &index.namespaces,
        |object| Mode::of_labels(&object.metadata.kept.labels.unwrap_or_default()),
    );
    registry.watch(
        Watched::metadata(
            "namespaces",
            Api::<ReducedMetadata<Namespace>>::all(client.clone()),
            format!("{ENROLLED_LABEL}={ENROLLED}"),
        ),
        index,
        |index| &index.enrolled,
        |object| object.metadata.kept.uid,
    );
    registry.watch(
        Watched::metadata(
            "endpointslices",
            Api::<ReducedMetadata<EndpointSlice>>::all(client.clone()),
            SERVICE_LABEL,
        ),
        index,
        |index| &index.slices,
        |object| {
            Some((
                object.metadata.kept.labels?.remove(SERVICE_LABEL)?,
                object.metadata.kept.resource_version?,
            ))
        },
    );
    registry.watch(
        Watched::labelled(
            "endpointslices",
            Api::<EndpointSlice>::namespaced(client.clone(), "default"),
            "kubernetes.io/service-name=kubernetes",
        ),
        index,
        |index| &index.api_servers,
        |slice| Some(read_slice(slice)),
    );
}

/// API resources of Sandboxes, one for each version.
pub(crate) fn sandboxes() -> [ApiResource; 2] {
    SANDBOX_VERSIONS.map(|version| ApiResource {
        group: SANDBOX_GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{SANDBOX_GROUP}/{version}"),
        kind: SANDBOX_KIND.to_owned(),
        plural: SANDBOX_PLURAL.to_owned(),
    })
}

/// Registers the watches of agents of one kind, one for each family, in the order of [`Family::ALL`].
fn agents<K, V>(
    registry: &mut Registry,
    index: &Arc<Index>,
    watched: impl Fn(Family) -> Watched<K>,
    stores: [StoreOf<V>; 2],
    read: fn(K) -> Option<V>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    V: Clone + PartialEq + Send + Sync + 'static,
{
    for (family, store) in Family::ALL.into_iter().zip(stores) {
        registry.watch(watched(family), index, store, read);
    }
}
