//! Index of agents: one store per kind that several reconcilers read, reduced to the fields in use.
//! Watches fill the index; reconcilers subscribe to its stores, and read it before the API server.

mod by;
mod change;
mod cluster;
mod labelled;
mod watches;

pub(crate) use by::IndexKey;
pub(crate) use change::{changed_policy, is_request};
use cluster::api_server;
pub(crate) use countersign_api::ObjectRef;
pub(crate) use countersign_controller::store::Store;
pub(crate) use countersign_plan::StoredPolicy;
pub(crate) use countersign_plan::agent_card::IndexedCard;
pub(crate) use countersign_plan::agent_runtime::{EnrolledBy, IndexedRuntime};
pub(crate) use countersign_plan::input::Kept;
pub(crate) use countersign_plan::input::endpoint::{ServiceEndpoint, SliceVersions};
pub(crate) use countersign_plan::input::pod::{Controller, Pod, owner_of};
pub(crate) use countersign_plan::input::workload::{Workload, WorkloadKind, WorkloadRef};
pub(crate) use countersign_plan::mesh::MeshNamespace;
pub(crate) use labelled::Labelled;
pub(crate) use watches::{register, sandboxes};

use countersign_api::keys::Family;
use countersign_controller::health::Health;
use countersign_plan::{ApiServer, Mode};
use k8s_openapi::api::core::v1::Service;
use std::sync::{Arc, PoisonError, RwLock};

/// Index of observed objects.
#[derive(Debug)]
pub(crate) struct Index {
    /// AgentCards of all namespaces.
    pub(crate) cards: Store<IndexedCard, IndexKey>,
    /// UIDs of AgentCards of the API group of after the renaming, which a cluster may lack.
    pub(crate) renamed_cards: Store<String>,
    /// `AgentRuntime`s of the API group of after the renaming, which a cluster may lack: UID, generation, and whether the
    /// object is being deleted.
    pub(crate) renamed_runtimes: Store<(String, i64, bool)>,
    /// `AgentRuntime`s of all namespaces; the cluster may lack the kind.
    pub(crate) runtimes: Store<IndexedRuntime, IndexKey>,
    /// Deployments that an `AgentRuntime` enrols.
    pub(crate) enrolled_deployments: Store<EnrolledBy, IndexKey>,
    /// `StatefulSet`s that an `AgentRuntime` enrols.
    pub(crate) enrolled_stateful_sets: Store<EnrolledBy, IndexKey>,
    /// Sandboxes that an `AgentRuntime` enrols; the cluster may lack the kind.
    pub(crate) enrolled_sandboxes: Store<EnrolledBy, IndexKey>,
    /// Deployments with an agent label.
    pub(crate) deployments: Labelled<Workload>,
    /// `StatefulSet`s with an agent label.
    pub(crate) stateful_sets: Labelled<Workload>,
    /// Sandboxes with an agent label; the cluster may lack the kind.
    pub(crate) sandboxes: Labelled<Workload>,
    /// Pods with an agent label.
    pub(crate) pods: Labelled<Pod>,
    /// UIDs of Pods that carry a peer mark without an agent label.
    pub(crate) marked_pods: Store<String>,
    /// `ReplicaSet`s with an agent label: UID and controlling owner.
    pub(crate) replica_sets: Labelled<(String, Option<Controller>)>,
    /// Resource versions of all Services.
    pub(crate) services: Store<String>,
    /// Services read so far, each with the resource version of the read.
    pub(crate) read_services: Store<(String, Kept<Service>)>,
    /// `EndpointSlice`s of all Services: Service name and resource version.
    pub(crate) slices: Store<(String, String), IndexKey>,
    /// Endpoints read so far by Service, with the resource versions of the `EndpointSlice`s read.
    pub(crate) read_endpoints: Store<(SliceVersions, Arc<Vec<ServiceEndpoint>>)>,
    /// NetworkPolicies that the operator manages.
    pub(crate) policies: Store<StoredPolicy, IndexKey>,
    /// Enforcement modes of namespaces with a mode label.
    pub(crate) namespaces: Store<Mode>,
    /// UIDs of namespaces that are enrolled as a whole.
    pub(crate) enrolled: Store<String>,
    /// UIDs of namespaces in whose Pods sidecars are injected.
    pub(crate) injected: Labelled<String>,
    /// What decides about the mesh of each namespace; empty unless the operator labels namespaces.
    pub(crate) mesh_namespaces: Store<MeshNamespace>,
    /// Addresses and ports of the API server, by `EndpointSlice`.
    pub(crate) api_servers: Store<Vec<(String, Vec<u16>)>>,
    last_api_server: RwLock<Option<ApiServer>>,
    /// Outages of watches.
    pub(crate) health: Health,
}

impl Index {
    /// Empty index.
    pub(crate) fn new() -> Self {
        Self {
            cards: Store::indexed(by::of_card),
            renamed_cards: Store::default(),
            renamed_runtimes: Store::default(),
            runtimes: Store::indexed(by::of_runtime),
            enrolled_deployments: Store::indexed(by::of_enrolled),
            enrolled_stateful_sets: Store::indexed(by::of_enrolled),
            enrolled_sandboxes: Store::indexed(by::of_enrolled),
            deployments: Labelled::indexed(by::of_workload),
            stateful_sets: Labelled::indexed(by::of_workload),
            sandboxes: Labelled::indexed(by::of_workload),
            pods: Labelled::indexed(by::of_pod),
            marked_pods: Store::default(),
            replica_sets: Labelled::indexed(by::of_replica_set),
            services: Store::default(),
            read_services: Store::default(),
            slices: Store::indexed(by::of_slice),
            read_endpoints: Store::default(),
            policies: Store::indexed(by::of_policy),
            namespaces: Store::default(),
            enrolled: Store::default(),
            injected: Labelled::indexed(|_| Vec::new()),
            mesh_namespaces: Store::default(),
            api_servers: Store::default(),
            last_api_server: RwLock::default(),
            health: Health::default(),
        }
    }

    /// Workloads of a kind.
    pub(crate) const fn workloads(&self, kind: WorkloadKind) -> &Labelled<Workload> {
        match kind {
            WorkloadKind::Deployment => &self.deployments,
            WorkloadKind::StatefulSet => &self.stateful_sets,
            WorkloadKind::Sandbox => &self.sandboxes,
        }
    }

    /// Workloads of a kind that an `AgentRuntime` enrols.
    pub(crate) const fn enrolled_by(&self, kind: WorkloadKind) -> &Store<EnrolledBy, IndexKey> {
        match kind {
            WorkloadKind::Deployment => &self.enrolled_deployments,
            WorkloadKind::StatefulSet => &self.enrolled_stateful_sets,
            WorkloadKind::Sandbox => &self.enrolled_sandboxes,
        }
    }

    /// Names of the lists that enrolment requires and that are not read yet. Sandboxes are not among them, as in
    /// [`Index::unread`]: one that is given up is found once they are listed.
    pub(crate) fn unread_for_enrolment(&self) -> Vec<&'static str> {
        let lists = [
            ("agentruntimes", self.runtimes.is_synced()),
            ("enrolled deployments", self.enrolled_deployments.is_synced()),
            ("enrolled statefulsets", self.enrolled_stateful_sets.is_synced()),
            ("injected namespaces", self.injected.is_synced()),
        ];
        lists.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind).collect()
    }

    /// Observed workload, if it carries an agent label.
    pub(crate) fn workload(&self, key: &WorkloadRef) -> Option<Workload> {
        self.workloads(key.kind).get(&key.object)
    }

    /// References to the workloads of a namespace.
    pub(crate) fn workloads_in(&self, namespace: &str) -> Vec<WorkloadRef> {
        let of = |kind| {
            self.workloads(kind)
                .pick(namespace, |object, _| Some(WorkloadRef { kind, object: object.clone() }))
        };
        WorkloadKind::ALL.into_iter().flat_map(of).collect()
    }

    /// True if a namespace has a workload or Pod with the agent label of a family, on itself or in its template.
    pub(crate) fn has_agents(&self, namespace: &str, family: Family) -> bool {
        let is_of = |workload: &Workload| workload.is_of(family);
        WorkloadKind::ALL.into_iter().any(|kind| self.workloads(kind).find(namespace, is_of).is_some())
            || self.pods.of(family).find(namespace, |_| true).is_some()
    }

    /// True if the two policies that isolate the agents of a family in a namespace are both stored.
    pub(crate) fn is_isolated(&self, namespace: &str, family: Family) -> bool {
        [family.baseline(), family.minimum()]
            .into_iter()
            .all(|name| self.policies.get(&ObjectRef::new(namespace, name)).is_some())
    }

    /// Workload of a namespace by a secondary key, [`IndexKey::Label`] or [`IndexKey::Uid`].
    pub(crate) fn workload_by(&self, namespace: &str, by: IndexKey, value: &str) -> Option<WorkloadRef> {
        WorkloadKind::ALL.into_iter().find_map(|kind| {
            let (object, _) = self.workloads(kind).with_key(namespace, by, value).into_iter().next()?;
            Some(WorkloadRef { kind, object })
        })
    }

    /// AgentCards that target a workload and are not being deleted.
    pub(crate) fn cards_of(&self, key: &WorkloadRef) -> Vec<(ObjectRef, IndexedCard)> {
        let mut cards = self.cards.with_key(&key.object.namespace, IndexKey::Target, &key.object.name);
        cards.retain(|(object, card)| {
            card.workload(&object.namespace).as_ref() == Some(key) && !card.is_leaving
        });
        cards
    }

    /// Workload that controls a Pod, by [`owner_of`].
    pub(crate) fn workload_of(&self, namespace: &str, pod: &Pod) -> Option<WorkloadRef> {
        let (kind, uid) = owner_of(pod, |set| self.controller_of_set(namespace, set))?;
        let (object, _) = self.workloads(kind).with_key(namespace, IndexKey::Uid, &uid).into_iter().next()?;
        Some(WorkloadRef { kind, object })
    }

    /// Controlling owner of the `ReplicaSet` with this UID.
    pub(crate) fn controller_of_set(&self, namespace: &str, uid: &str) -> Option<Controller> {
        let (_, (_, owner)) = self.replica_sets.with_key(namespace, IndexKey::Uid, uid).into_iter().next()?;
        owner
    }

    /// Pods that a workload controls, by [`owner_of`], ordered by name.
    pub(crate) fn pods_of(&self, key: &WorkloadRef, workload: &Workload) -> Vec<(ObjectRef, Pod)> {
        let namespace = key.object.namespace.as_str();
        let controllers = match key.kind {
            WorkloadKind::StatefulSet | WorkloadKind::Sandbox => vec![workload.uid.clone()],
            WorkloadKind::Deployment => {
                let sets = self.replica_sets.with_key(namespace, IndexKey::Controller, &workload.uid);
                sets.into_iter().map(|(_, (uid, _))| uid).collect()
            }
        };
        let pods =
            controllers.iter().flat_map(|uid| self.pods.with_key(namespace, IndexKey::Controller, uid));
        let wanted = (key.kind, workload.uid.clone());
        let is_own =
            |pod: &Pod| owner_of(pod, |set| self.controller_of_set(namespace, set)).as_ref() == Some(&wanted);
        let mut pods: Vec<(ObjectRef, Pod)> = pods.filter(|(_, pod)| is_own(pod)).collect();
        pods.sort_by(|(a, _), (b, _)| a.cmp(b));
        pods
    }

    /// Resource versions of the `EndpointSlice`s of a Service.
    pub(crate) fn slice_versions(&self, service: &ObjectRef) -> SliceVersions {
        let slices = self.slices.with_key(&service.namespace, IndexKey::Service, &service.name);
        slices.into_iter().map(|(slice, (_, version))| (slice.name.to_string(), version)).collect()
    }

    /// Endpoints of the API server. While its slices are invalid, the last valid endpoints count.
    pub(crate) fn api_server(&self) -> Option<ApiServer> {
        let mut last = self.last_api_server.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = api_server(&self.api_servers) {
            *last = Some(found);
        }
        last.clone()
    }

    /// Enforcement mode of a namespace, if its label sets one.
    pub(crate) fn mode(&self, namespace: &str) -> Option<Mode> {
        self.namespaces.get(&ObjectRef::cluster_scoped(namespace))
    }

    /// True once every required list is read.
    pub(crate) fn is_synced(&self) -> bool {
        self.unread().is_empty()
    }

    /// True if the workloads of a kind are known: their list is read, or the cluster lacks the kind.
    pub(crate) fn is_listed(&self, kind: WorkloadKind) -> bool {
        self.workloads(kind).is_synced() || (kind == WorkloadKind::Sandbox && self.sandboxes.is_absent())
    }

    /// Names of the lists that are not read yet and that every turn needs. Sandboxes are not among them: their definition
    /// is somebody else's, and the agents of other kinds must not wait while it or its conversion is broken.
    pub(crate) fn unread(&self) -> Vec<&'static str> {
        let lists = [
            ("agentcards", self.cards.is_synced()),
            ("deployments", self.deployments.is_synced()),
            ("statefulsets", self.stateful_sets.is_synced()),
            ("pods", self.pods.is_synced()),
            ("replicasets", self.replica_sets.is_synced()),
            ("services", self.services.is_synced()),
            ("endpointslices of agents", self.slices.is_synced()),
            ("networkpolicies", self.policies.is_synced()),
            ("namespaces", self.namespaces.is_synced()),
            ("enrolled namespaces", self.enrolled.is_synced()),
            ("endpointslices", self.api_servers.is_synced()),
        ];
        lists.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind).collect()
    }

    /// Names of the lists that isolation requires and that are not read yet; evaluation requires more.
    pub(crate) fn unread_for_isolation(&self) -> Vec<&'static str> {
        let needed =
            ["deployments", "statefulsets", "pods", "networkpolicies", "namespaces", "enrolled namespaces"];
        let mut unread = self.unread();
        unread.retain(|kind| needed.contains(kind));
        unread
    }
}
