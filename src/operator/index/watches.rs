//! Watches of the index: kind, selector and store of each.
//! Objects of others are watched by label or by metadata alone, to bound rights and memory.

use super::cluster::{mode_of, read_slice};
use super::{Index, IndexedCard, Pod, StoredPolicy, Workload};
use countersign_api::agent_card::AgentCard;
use countersign_api::keys::{
    AGENT_TYPE, ENROLLED, ENROLLED_LABEL, MANAGED_BY, MANAGED_BY_LABEL, MODE_LABEL, PEER_MARK_LABEL,
    TYPE_LABEL,
};
use countersign_controller::registry::{Registry, Watched};
use countersign_plan::input::endpoint::SERVICE_LABEL;
use countersign_plan::input::pod::controller;
use countersign_plan::input::sandbox::{SANDBOX_GROUP, SANDBOX_KIND, SANDBOX_PLURAL, SANDBOX_VERSION};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod as ApiPod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use std::sync::Arc;

/// Page size of lists of objects that are read whole, as trees of JSON, which take several times their size on the wire.
const WHOLE_PAGE: u32 = 5;

/// Registers the watches of the index.
pub(crate) fn register(registry: &mut Registry, client: &Client, index: &Arc<Index>) {
    let agents = format!("{TYPE_LABEL}={AGENT_TYPE}");
    let cards = Watched::all("agentcards", Api::<AgentCard>::all(client.clone()));
    registry.watch(cards, index, |index| &index.cards, IndexedCard::of);
    let deployments = Watched::labelled("deployments", Api::<Deployment>::all(client.clone()), &agents);
    registry.watch(deployments, index, |index| &index.deployments, Workload::of_deployment);
    let stateful_sets = Watched::labelled("statefulsets", Api::<StatefulSet>::all(client.clone()), &agents);
    registry.watch(stateful_sets, index, |index| &index.stateful_sets, Workload::of_stateful_set);
    let sandboxes =
        Watched::labelled("sandboxes", Api::<DynamicObject>::all_with(client.clone(), &sandbox()), &agents);
    registry.watch(
        Watched { is_optional: true, page: WHOLE_PAGE, ..sandboxes },
        index,
        |index| &index.sandboxes,
        |object| Some(Workload::of_sandbox(object.metadata, &object.data)),
    );
    let pods = Watched::labelled("pods", Api::<ApiPod>::all(client.clone()), &agents);
    registry.watch(pods, index, |index| &index.pods, Pod::of);
    registry.watch(
        Watched::metadata(
            "pods",
            Api::<PartialObjectMeta<ApiPod>>::all(client.clone()),
            format!("{PEER_MARK_LABEL},{TYPE_LABEL}!={AGENT_TYPE}"),
        ),
        index,
        |index| &index.marked_pods,
        |object| object.metadata.uid,
    );
    registry.watch(
        Watched::metadata("replicasets", Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()), &agents),
        index,
        |index| &index.replica_sets,
        |object| Some((object.metadata.uid?, controller(object.metadata.owner_references.as_deref()))),
    );
    // Subscribed before any reconciler, so that none of them reads a Service or endpoints of before the change.
    index.services.subscribe(index, |index, change| {
        index.read_services.remove(change.object);
        index.read_endpoints.remove(change.object);
    });
    registry.watch(
        Watched::metadata("services", Api::<PartialObjectMeta<Service>>::all(client.clone()), ""),
        index,
        |index| &index.services,
        |object| object.metadata.resource_version,
    );
    registry.watch(
        Watched::labelled(
            "networkpolicies",
            Api::<NetworkPolicy>::all(client.clone()),
            format!("{MANAGED_BY_LABEL}={MANAGED_BY}"),
        ),
        index,
        |index| &index.policies,
        |object| Some(StoredPolicy::of(&object)),
    );
    registry.watch(
        Watched::metadata("namespaces", Api::<PartialObjectMeta<Namespace>>::all(client.clone()), MODE_LABEL),
        index,
        |index| &index.namespaces,
        |object| mode_of(&object.metadata.labels.unwrap_or_default()),
    );
    registry.watch(
        Watched::metadata(
            "namespaces",
            Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
            format!("{ENROLLED_LABEL}={ENROLLED}"),
        ),
        index,
        |index| &index.enrolled,
        |object| object.metadata.uid,
    );
    registry.watch(
        Watched::metadata(
            "endpointslices",
            Api::<PartialObjectMeta<EndpointSlice>>::all(client.clone()),
            SERVICE_LABEL,
        ),
        index,
        |index| &index.slices,
        |object| Some((object.metadata.labels?.remove(SERVICE_LABEL)?, object.metadata.resource_version?)),
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

/// API resource of Sandboxes.
pub(crate) fn sandbox() -> ApiResource {
    ApiResource {
        group: SANDBOX_GROUP.to_owned(),
        version: SANDBOX_VERSION.to_owned(),
        api_version: format!("{SANDBOX_GROUP}/{SANDBOX_VERSION}"),
        kind: SANDBOX_KIND.to_owned(),
        plural: SANDBOX_PLURAL.to_owned(),
    }
}
