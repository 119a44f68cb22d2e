//! Dispatch of watched changes: enqueues the keys whose outcome depends on a changed object.
//! Irrelevant changes enqueue nothing, so that a quiet cluster causes no work.

use super::{By, Card, Controller, Index, ObjectRef, Pod, StoredPolicy, Workload, WorkloadKind};
use crate::index::WorkloadRef;
use crate::key;
use countersign_controller::queue::Urgency::{self, Closing, Routine, Urgent};
use countersign_controller::watch::Change;
use countersign_plan::Mode;

impl Index {
    /// Enqueues evaluation and status of an AgentCard, and its workload if target or existence changed.
    pub(super) fn card_changed(&self, change: &Change<'_, Card>) {
        let matters = match (change.before, change.after) {
            (Some(before), Some(after)) => before.differs_in_request(after),
            _ => true,
        };
        if !matters {
            return;
        }
        self.enqueue(key::card(change.object.clone()), Urgent);
        // The status turn needs no fetch: it releases a deleted AgentCard and restores a status that others wrote.
        self.enqueue(key::status(change.object.clone()), Urgent);
        // The set of its cards decides about a workload as much as their content.
        let targets = [change.before, change.after]
            .map(|card| card.and_then(|card| card.workload(&change.object.namespace)));
        if targets[0] != targets[1] || change.after.is_none_or(|card| card.is_leaving) {
            for target in targets.into_iter().flatten() {
                self.enqueue(key::workload(target), Closing);
            }
        }
    }

    /// Enqueues a changed workload, its AgentCards and, if it appeared or disappeared, its namespace.
    pub(super) fn workload_changed(&self, kind: WorkloadKind, change: &Change<'_, Workload>) {
        let key = WorkloadRef { kind, object: change.object.clone() };
        let namespace = key.object.namespace.clone();
        if change.before.is_none() || change.after.is_none() {
            self.enqueue(key::namespace(namespace), Closing);
        }
        for (object, _) in self.cards_of(&key) {
            self.enqueue(key::card(object), Urgent);
        }
        self.enqueue(key::workload(key), Closing);
    }

    /// Enqueues the workload of a changed Pod, or the Pod itself if marked without a workload.
    pub(super) fn pod_changed(&self, change: &Change<'_, Pod>) {
        let namespace = &change.object.namespace;
        if change.before.is_none() || change.after.is_none() {
            self.enqueue(key::namespace(namespace.clone()), Routine);
        }
        let Some(pod) = change.after else { return };
        match self.workload_of(namespace, pod) {
            Some(key) => self.enqueue(key::workload(key), Urgent),
            None if pod.mark().is_some() => self.enqueue(key::pod(change.object.clone()), Closing),
            None => {}
        }
    }

    /// Enqueues a Pod that carries a peer mark without the agent label.
    pub(super) fn stray_changed(&self, change: &Change<'_, String>) {
        if change.after.is_some() {
            self.enqueue(key::pod(change.object.clone()), Closing);
        }
    }

    /// Enqueues the workload of a `ReplicaSet`, whose Pods can now be traced to the workload.
    pub(super) fn replica_set_changed(&self, change: &Change<'_, (String, Option<Controller>)>) {
        let Some((_, Some(owner))) = change.after else { return };
        if let Some(key) = self.workload_by(&change.object.namespace, By::Uid, &owner.uid) {
            self.enqueue(key::workload(key), Urgent);
        }
    }

    /// Enqueues the AgentCards whose workload has the name of a changed Service, and drops the cached Service.
    pub(super) fn service_changed(&self, object: &ObjectRef) {
        let ObjectRef { namespace, name } = object;
        self.read_services.remove(object);
        self.read_endpoints.remove(object);
        self.enqueue_cards_behind(namespace, name);
    }

    fn enqueue_cards_behind(&self, namespace: &str, service: &str) {
        for (card, _) in self.cards.with_key(namespace, By::Target, service) {
            self.enqueue(key::card(card), Urgent);
        }
    }

    /// Enqueues the AgentCards behind the Service of a changed `EndpointSlice`, whose replicas may be others now.
    pub(super) fn slice_changed(&self, change: &Change<'_, (String, String)>) {
        for (service, _) in [change.before, change.after].into_iter().flatten() {
            self.enqueue_cards_behind(&change.object.namespace, service);
        }
    }

    /// Enqueues the workload or namespace of a changed policy, or the policy itself if its workload is unknown.
    pub(super) fn policy_changed(&self, change: &Change<'_, StoredPolicy>) {
        if change.before.map(|policy| policy.digest) == change.after.map(|policy| policy.digest) {
            return;
        }
        let namespace = &change.object.namespace;
        let Some(label) = change.after.or(change.before).and_then(|policy| policy.workload.clone()) else {
            self.enqueue(key::namespace(namespace.clone()), Closing);
            return;
        };
        match self.workload_by(namespace, By::Label, &label) {
            Some(key) => self.enqueue(key::workload(key), Closing),
            None => self.enqueue(key::orphan(change.object.clone()), Routine),
        }
    }

    /// Enqueues namespace, workloads and statuses after a change of a namespace's mode.
    pub(super) fn mode_changed(&self, change: &Change<'_, Mode>) {
        let namespace = &change.object.name;
        self.enqueue(key::namespace(namespace.clone()), Closing);
        for key in self.workloads_in(namespace) {
            self.enqueue(key::workload(key), Closing);
        }
        for object in self.cards.pick(namespace, |object, _| Some(object.clone())) {
            self.enqueue(key::status(object), Urgent);
        }
    }

    /// Enqueues all namespaces and workloads after a change of the API server's endpoints, which every minimum allows.
    pub(super) fn api_server_changed(&self) {
        self.enqueue_workloads(Urgent);
    }

    /// Enqueues every object, for a replica that begins to act: what its watches told before was not enqueued.
    pub(crate) fn enqueue_everything(&self) {
        for object in self.cards.objects() {
            self.enqueue(key::card(object.clone()), Urgent);
            self.enqueue(key::status(object), Urgent);
        }
        self.enqueue_workloads(Closing);
        for object in self.pods.objects() {
            let Some(pod) = self.pods.get(&object) else { continue };
            self.pod_changed(&Change { object: &object, before: None, after: Some(&pod) });
        }
        for object in self.strays.objects() {
            self.enqueue(key::pod(object), Closing);
        }
        for object in self.policies.objects() {
            let Some(policy) = self.policies.get(&object) else { continue };
            self.policy_changed(&Change { object: &object, before: None, after: Some(&policy) });
        }
    }

    /// Enqueues all workloads and their namespaces.
    fn enqueue_workloads(&self, urgency: Urgency) {
        for kind in WorkloadKind::ALL {
            for object in self.workloads(kind).objects() {
                self.enqueue(key::namespace(object.namespace.clone()), urgency);
                self.enqueue(key::workload(WorkloadRef { kind, object }), urgency);
            }
        }
    }
}
