//! What the operator observes of the cluster: one store per kind, cut down to what is needed, and the queue.
//! Watches write here and ask for turns; reconciling reads here and never asks the API server for what is known.

mod card;
mod cluster;
mod dispatch;
mod endpoint;
mod health;
mod pod;
mod policy;
mod store;
mod watch;
mod watches;
mod workload;

pub(crate) use card::Card;
use cluster::api_server;
pub(crate) use endpoint::{Endpoint, SERVICE_LABEL, SliceVersions, read_endpoints};
use health::Health;
pub(crate) use pod::{Controller, ControllerKind, Pod, controller, selector_text, selects};
pub(crate) use policy::Policy;
pub(crate) use store::{Place, Store};
pub(crate) use watches::{Broken, follow_everything};
pub(crate) use workload::{Kind, Workload};

use super::key::{Key, WorkloadKey};
use countersign_controller::queue::{Queue, Urgency};
use countersign_controller::turns::Turns;
use countersign_io::clock::instant;
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
pub(crate) struct World {
    /// AgentCards.
    pub(crate) cards: Store<Card>,
    /// Deployments that are labelled as agents.
    pub(crate) deployments: Store<Workload>,
    /// `StatefulSet`s that are labelled as agents.
    pub(crate) stateful_sets: Store<Workload>,
    /// Pods that are labelled as agents.
    pub(crate) pods: Store<Pod>,
    /// UIDs of Pods that carry a mark without being labelled as agents.
    pub(crate) strays: Store<String>,
    /// `ReplicaSet`s of agents: UID of the `ReplicaSet`, and who controls it.
    pub(crate) replica_sets: Store<(String, Option<Controller>)>,
    /// Services of the whole cluster, by their resource version alone.
    pub(crate) services: Store<String>,
    /// Services that were read, by the resource version at which they were.
    pub(crate) read_services: Store<(String, Arc<Service>)>,
    /// The slices of endpoints of all Services, by the name of the Service and their resource version alone.
    pub(crate) slices: Store<(String, String)>,
    /// Who was found behind a Service, by the versions of the slices that said so.
    pub(crate) read_endpoints: Store<(SliceVersions, Arc<Vec<Endpoint>>)>,
    /// NetworkPolicies that we manage.
    pub(crate) policies: Store<Policy>,
    /// Namespaces that have a mode of their own.
    pub(crate) namespaces: Store<Mode>,
    /// The slices that say where the API server answers: addresses and ports of each.
    pub(crate) api_servers: Store<Vec<(String, Vec<u16>)>>,
    last_api_server: RwLock<Option<ApiServer>>,
    /// Which of the watches that fill these stores keep failing.
    pub(crate) health: Health,
    /// Turns that wait for nobody but the API server.
    pub(crate) work: Turns<Key>,
    /// Turns that wait for agents.
    pub(crate) looks: Turns<Key>,
}

impl World {
    /// Nothing observed yet; so many turns of each kind at once, and the shortest time between two looks at one card.
    pub(crate) fn new(slots: NonZeroUsize, period: Duration) -> Self {
        // With one slot, whoever holds it holds all.
        let looks = Queue::of_long_turns(slots.get().max(2), period, BURST);
        Self {
            cards: Store::default(),
            deployments: Store::default(),
            stateful_sets: Store::default(),
            pods: Store::default(),
            strays: Store::default(),
            replica_sets: Store::default(),
            services: Store::default(),
            read_services: Store::default(),
            slices: Store::default(),
            read_endpoints: Store::default(),
            policies: Store::default(),
            namespaces: Store::default(),
            api_servers: Store::default(),
            last_api_server: RwLock::default(),
            health: Health::default(),
            work: Turns::new(Queue::of_short_turns(slots.get())),
            looks: Turns::new(looks),
        }
    }

    /// The workloads of a kind.
    pub(crate) fn workloads(&self, kind: Kind) -> &Store<Workload> {
        match kind {
            Kind::Deployment => &self.deployments,
            Kind::StatefulSet => &self.stateful_sets,
        }
    }

    /// What is known of a workload.
    pub(crate) fn workload(&self, key: &WorkloadKey) -> Option<Workload> {
        self.workloads(key.kind).get(&key.place)
    }

    /// The workloads of a namespace.
    pub(crate) fn workloads_in(&self, namespace: &str) -> Vec<WorkloadKey> {
        let of = |kind| {
            self.workloads(kind).pick(namespace, |place, _| Some(WorkloadKey { kind, place: place.clone() }))
        };
        Kind::ALL.into_iter().flat_map(of).collect()
    }

    /// The first workload of a namespace that `wanted` accepts.
    pub(crate) fn find_workload(
        &self,
        namespace: &str,
        mut wanted: impl FnMut(&Workload) -> bool,
    ) -> Option<WorkloadKey> {
        Kind::ALL.into_iter().find_map(|kind| {
            let place = self.workloads(kind).find(namespace, &mut wanted)?;
            Some(WorkloadKey { kind, place })
        })
    }

    /// The AgentCards that point at a workload and are not being deleted.
    pub(crate) fn cards_of(&self, key: &WorkloadKey) -> Vec<(Place, Card)> {
        self.cards.pick(&key.place.0, |place, card| {
            let points_here = card.target().is_some_and(|target| {
                target.name == key.place.1 && Kind::parse(&target.api_version, &target.kind) == Some(key.kind)
            });
            (points_here && !card.is_leaving).then(|| (place.clone(), card.clone()))
        })
    }

    /// The workload that a card points at, if it is of a kind that is watched.
    pub(crate) fn target_of(place: &Place, card: &Card) -> Option<WorkloadKey> {
        let target = card.target()?;
        let kind = Kind::parse(&target.api_version, &target.kind)?;
        Some(WorkloadKey { kind, place: (place.0.clone(), target.name.clone()) })
    }

    /// The workload that controls a Pod: a `StatefulSet` itself, a Deployment only by a `ReplicaSet` of its own.
    pub(crate) fn workload_of(&self, namespace: &str, pod: &Pod) -> Option<WorkloadKey> {
        let controller = pod.controller.as_ref()?;
        let (kind, uid) = match controller.kind {
            ControllerKind::StatefulSet => (Kind::StatefulSet, controller.uid.clone()),
            ControllerKind::ReplicaSet => {
                let sets = self
                    .replica_sets
                    .pick(namespace, |_, (uid, owner)| (*uid == controller.uid).then(|| owner.clone()));
                let owner = sets.into_iter().next()??;
                (owner.kind == ControllerKind::Deployment).then_some((Kind::Deployment, owner.uid))?
            }
            ControllerKind::Deployment | ControllerKind::Other => return None,
        };
        let place = self.workloads(kind).find(namespace, |workload| workload.uid == uid)?;
        Some(WorkloadKey { kind, place })
    }

    /// The Pods that a workload controls, as [`Self::workload_of`] says.
    pub(crate) fn pods_of(&self, key: &WorkloadKey, workload: &Workload) -> Vec<(Place, Pod)> {
        let namespace = key.place.0.as_str();
        let (kind, controllers) = match key.kind {
            Kind::StatefulSet => (ControllerKind::StatefulSet, BTreeSet::from([workload.uid.clone()])),
            Kind::Deployment => {
                let own = Controller { kind: ControllerKind::Deployment, uid: workload.uid.clone() };
                let sets = self
                    .replica_sets
                    .pick(namespace, |_, (uid, owner)| (owner.as_ref() == Some(&own)).then(|| uid.clone()));
                (ControllerKind::ReplicaSet, sets.into_iter().collect())
            }
        };
        self.pods.pick(namespace, |place, pod| {
            let controller = pod.controller.as_ref();
            let is_own =
                controller.is_some_and(|found| found.kind == kind && controllers.contains(&found.uid));
            is_own.then(|| (place.clone(), pod.clone()))
        })
    }

    /// The versions of all slices of a Service.
    pub(crate) fn slice_versions(&self, service: &Place) -> SliceVersions {
        let of_service = |place: &Place, (name, version): &(String, String)| {
            (*name == service.1).then(|| (place.1.clone(), version.clone()))
        };
        self.slices.pick(&service.0, of_service).into_iter().collect()
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
        self.namespaces.get(&(String::new(), namespace.to_owned()))
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
        let workloads = Kind::ALL.into_iter().flat_map(|kind| self.workloads(kind).places());
        workloads.chain(self.pods.places()).map(|(namespace, _)| namespace).collect()
    }

    /// Asks for a turn now.
    pub(crate) fn ask(&self, key: Key, urgency: Urgency) {
        self.turns_of(&key).ask(key, instant(), urgency);
    }

    /// Asks for a turn after a while.
    pub(crate) fn ask_in(&self, wait: Duration, key: Key, urgency: Urgency) {
        let now = instant();
        self.turns_of(&key).ask(key, now.checked_add(wait).unwrap_or(now), urgency);
    }

    const fn turns_of(&self, key: &Key) -> &Turns<Key> {
        if matches!(key, Key::Card(_)) { &self.looks } else { &self.work }
    }
}
