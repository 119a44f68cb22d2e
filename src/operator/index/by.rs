//! Secondary keys of the index, so that no turn reads a whole namespace.

use super::{Controller, EnrolledBy, IndexedCard, IndexedRuntime, Pod, StoredPolicy, Workload};

/// Sort of a secondary key; a kind uses some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IndexKey {
    /// UID of the controlling owner of a Pod or `ReplicaSet`.
    Controller,
    /// Label value that names the workload of a policy, or the `AgentRuntime` of a workload.
    Label,
    /// Name of the Service of an `EndpointSlice`.
    Service,
    /// Name of the workload that an AgentCard or `AgentRuntime` targets.
    Target,
    /// UID of a workload or `ReplicaSet`.
    Uid,
}

pub(super) fn of_card(card: &IndexedCard) -> Vec<(IndexKey, String)> {
    card.target().map(|target| (IndexKey::Target, target.name.clone())).into_iter().collect()
}

pub(super) fn of_runtime(runtime: &IndexedRuntime) -> Vec<(IndexKey, String)> {
    vec![(IndexKey::Label, runtime.label.clone()), (IndexKey::Target, runtime.target.name.clone())]
}

pub(super) fn of_enrolled(workload: &EnrolledBy) -> Vec<(IndexKey, String)> {
    vec![(IndexKey::Label, workload.label.clone())]
}

pub(super) fn of_workload(workload: &Workload) -> Vec<(IndexKey, String)> {
    vec![(IndexKey::Label, workload.label.clone()), (IndexKey::Uid, workload.uid.clone())]
}

pub(super) fn of_pod(pod: &Pod) -> Vec<(IndexKey, String)> {
    pod.controller.iter().map(|controller| (IndexKey::Controller, controller.uid.clone())).collect()
}

pub(super) fn of_replica_set((uid, controller): &(String, Option<Controller>)) -> Vec<(IndexKey, String)> {
    let controller = controller.iter().map(|controller| (IndexKey::Controller, controller.uid.clone()));
    [(IndexKey::Uid, uid.clone())].into_iter().chain(controller).collect()
}

pub(super) fn of_slice((service, _): &(String, String)) -> Vec<(IndexKey, String)> {
    vec![(IndexKey::Service, service.clone())]
}

pub(super) fn of_policy(policy: &StoredPolicy) -> Vec<(IndexKey, String)> {
    policy.workload.iter().map(|label| (IndexKey::Label, label.clone())).collect()
}
