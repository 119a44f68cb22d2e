//! What the operator observes of the cluster: one store per kind, cut down to what is needed, and the queue.
//! Watches write here and ask for turns; reconciling reads here and never asks the API server for what is known.

mod by;
mod cluster;
mod dispatch;
mod watches;

pub(crate) use by::By;
use cluster::api_server;
pub(crate) use countersign_api::ObjectRef;
pub(crate) use countersign_controller::store::Store;
pub(crate) use countersign_plan::StoredPolicy;
pub(crate) use countersign_plan::agent_card::Card;
pub(crate) use countersign_plan::input::endpoint::{Endpoint, SliceVersions};
pub(crate) use countersign_plan::input::pod::{Controller, Pod, owner_of};
pub(crate) use countersign_plan::input::workload::{Workload, WorkloadKind, WorkloadRef};
pub(crate) use watches::follow_everything;

use countersign_controller::health::Health;
use countersign_controller::key::Key;
use countersign_controller::queue::Urgency;
use countersign_controller::relist::Relist;
use countersign_controller::turns::Work;
use countersign_plan::{ApiServer, Mode};
use k8s_openapi::api::core::v1::Service;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How many times a card may be looked at soon after another, after a rest: a new agent brings its workload, its
/// Service and its Pods one after the other.
const BURST: u32 = 5;

/// Everything observed.
#[derive(Debug)]
pub(crate) struct Index {
    /// AgentCards.
    pub(crate) cards: Store<Card, By>,
    /// Makes the watch of AgentCards start over: their status is the memory of accepted cards (rule 55), and whoever
    /// begins to evaluate must not miss what the leader before remembered last.
    pub(crate) relist_cards: Relist,
    /// Deployments that are labelled as agents.
    pub(crate) deployments: Store<Workload, By>,
    /// `StatefulSet`s that are labelled as agents.
    pub(crate) stateful_sets: Store<Workload, By>,
    /// Pods that are labelled as agents.
    pub(crate) pods: Store<Pod, By>,
    /// UIDs of Pods that carry a mark without being labelled as agents.
    pub(crate) strays: Store<String>,
    /// `ReplicaSet`s of agents: UID of the `ReplicaSet`, and who controls it.
    pub(crate) replica_sets: Store<(String, Option<Controller>), By>,
    /// Services of the whole cluster, by their resource version alone.
    pub(crate) services: Store<String>,
    /// Services that were read, by the resource version at which they were.
    pub(crate) read_services: Store<(String, Arc<Service>)>,
    /// The slices of endpoints of all Services, by the name of the Service and their resource version alone.
    pub(crate) slices: Store<(String, String), By>,
    /// Who was found behind a Service, by the versions of the slices that said so.
    pub(crate) read_endpoints: Store<(SliceVersions, Arc<Vec<Endpoint>>)>,
    /// NetworkPolicies that we manage.
    pub(crate) policies: Store<StoredPolicy, By>,
    /// Namespaces that have a mode of their own.
    pub(crate) namespaces: Store<Mode>,
    /// The slices that say where the API server answers: addresses and ports of each.
    pub(crate) api_servers: Store<Vec<(String, Vec<u16>)>>,
    last_api_server: RwLock<Option<ApiServer>>,
    /// Which of the watches that fill these stores keep failing.
    pub(crate) health: Health,
    /// What waits for its turn.
    pub(crate) work: Arc<Work>,
}

impl Index {
    /// Nothing observed yet; so many turns of each kind at once, and the shortest time between two looks at one card.
    pub(crate) fn new(slots: NonZeroUsize, period: Duration) -> Self {
        Self {
            cards: Store::indexed(by::of_card),
            relist_cards: Relist::default(),
            deployments: Store::indexed(by::of_workload),
            stateful_sets: Store::indexed(by::of_workload),
            pods: Store::indexed(by::of_pod),
            strays: Store::default(),
            replica_sets: Store::indexed(by::of_replica_set),
            services: Store::default(),
            read_services: Store::default(),
            slices: Store::indexed(by::of_slice),
            read_endpoints: Store::default(),
            policies: Store::indexed(by::of_policy),
            namespaces: Store::default(),
            api_servers: Store::default(),
            last_api_server: RwLock::default(),
            health: Health::default(),
            work: Arc::new(Work::new(slots, period, BURST)),
        }
    }

    /// The workloads of a kind.
    pub(crate) fn workloads(&self, kind: WorkloadKind) -> &Store<Workload, By> {
        match kind {
            WorkloadKind::Deployment => &self.deployments,
            WorkloadKind::StatefulSet => &self.stateful_sets,
        }
    }

    /// What is known of a workload.
    pub(crate) fn workload(&self, key: &WorkloadRef) -> Option<Workload> {
        self.workloads(key.kind).get(&key.object)
    }

    /// The workloads of a namespace.
    pub(crate) fn workloads_in(&self, namespace: &str) -> Vec<WorkloadRef> {
        let of = |kind| {
            self.workloads(kind)
                .pick(namespace, |object, _| Some(WorkloadRef { kind, object: object.clone() }))
        };
        WorkloadKind::ALL.into_iter().flat_map(of).collect()
    }

    /// True if there is a workload of an agent in a namespace.
    pub(crate) fn has_workload(&self, namespace: &str) -> bool {
        WorkloadKind::ALL.into_iter().any(|kind| self.workloads(kind).find(namespace, |_| true).is_some())
    }

    /// The workload that has a label, or a UID.
    pub(crate) fn workload_by(&self, namespace: &str, by: By, value: &str) -> Option<WorkloadRef> {
        WorkloadKind::ALL.into_iter().find_map(|kind| {
            let (object, _) = self.workloads(kind).with_key(namespace, by, value).into_iter().next()?;
            Some(WorkloadRef { kind, object })
        })
    }

    /// The AgentCards that point at a workload and are not being deleted.
    pub(crate) fn cards_of(&self, key: &WorkloadRef) -> Vec<(ObjectRef, Card)> {
        let mut cards = self.cards.with_key(&key.object.namespace, By::Target, &key.object.name);
        cards.retain(|(object, card)| {
            card.workload(&object.namespace).as_ref() == Some(key) && !card.is_leaving
        });
        cards
    }

    /// The workload that controls a Pod, as [`owner_of`] says.
    pub(crate) fn workload_of(&self, namespace: &str, pod: &Pod) -> Option<WorkloadRef> {
        let (kind, uid) = owner_of(pod, |set| self.controller_of_set(namespace, set))?;
        let (object, _) = self.workloads(kind).with_key(namespace, By::Uid, &uid).into_iter().next()?;
        Some(WorkloadRef { kind, object })
    }

    /// Who controls the `ReplicaSet` with this UID.
    pub(crate) fn controller_of_set(&self, namespace: &str, uid: &str) -> Option<Controller> {
        let (_, (_, owner)) = self.replica_sets.with_key(namespace, By::Uid, uid).into_iter().next()?;
        owner
    }

    /// The Pods that a workload controls, as [`owner_of`] says.
    pub(crate) fn pods_of(&self, key: &WorkloadRef, workload: &Workload) -> Vec<(ObjectRef, Pod)> {
        let namespace = key.object.namespace.as_str();
        let controllers = match key.kind {
            WorkloadKind::StatefulSet => vec![workload.uid.clone()],
            WorkloadKind::Deployment => {
                let sets = self.replica_sets.with_key(namespace, By::Controller, &workload.uid);
                sets.into_iter().map(|(_, (uid, _))| uid).collect()
            }
        };
        let pods = controllers.iter().flat_map(|uid| self.pods.with_key(namespace, By::Controller, uid));
        let wanted = (key.kind, workload.uid.clone());
        let is_own =
            |pod: &Pod| owner_of(pod, |set| self.controller_of_set(namespace, set)).as_ref() == Some(&wanted);
        let mut pods: Vec<(ObjectRef, Pod)> = pods.filter(|(_, pod)| is_own(pod)).collect();
        pods.sort_by(|(a, _), (b, _)| a.cmp(b));
        pods
    }

    /// The versions of all slices of a Service.
    pub(crate) fn slice_versions(&self, service: &ObjectRef) -> SliceVersions {
        let slices = self.slices.with_key(&service.namespace, By::Service, &service.name);
        slices.into_iter().map(|(slice, (_, version))| (slice.name, version)).collect()
    }

    /// Where the API server answers. While the slices cannot be used, the last usable ones count.
    pub(crate) fn api_server(&self) -> Option<ApiServer> {
        let mut last = self.last_api_server.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = api_server(&self.api_servers) {
            *last = Some(found);
        }
        last.clone()
    }

    /// The mode of a namespace, if it has one of its own.
    pub(crate) fn mode(&self, namespace: &str) -> Option<Mode> {
        self.namespaces.get(&ObjectRef::cluster_scoped(namespace))
    }

    /// True once every watch has read its first list.
    pub(crate) fn is_synced(&self) -> bool {
        self.unread().is_empty()
    }

    /// The kinds whose first list was not read yet.
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
            ("endpointslices", self.api_servers.is_synced()),
        ];
        lists.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind).collect()
    }

    /// True once enough is known to close agents, if not to judge them.
    pub(crate) fn can_isolate(&self) -> bool {
        let needed = ["deployments", "statefulsets", "pods", "networkpolicies", "namespaces"];
        !self.unread().iter().any(|kind| needed.contains(kind))
    }

    /// The namespaces in which there are agents.
    pub(crate) fn namespaces_of_agents(&self) -> BTreeSet<String> {
        let workloads = WorkloadKind::ALL.into_iter().flat_map(|kind| self.workloads(kind).objects());
        workloads.chain(self.pods.objects()).map(|object| object.namespace).collect()
    }

    /// Enqueues a turn that is due now.
    pub(crate) fn enqueue(&self, key: Key, urgency: Urgency) {
        self.work.enqueue(key, urgency);
    }

    /// Enqueues a turn that is due after a wait.
    pub(crate) fn enqueue_in(&self, wait: Duration, key: Key, urgency: Urgency) {
        self.work.enqueue_in(wait, key, urgency);
    }
}
