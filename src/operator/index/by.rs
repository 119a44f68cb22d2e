//! Secondary keys of the index, so that no turn reads a whole namespace.

use super::{Card, Controller, Pod, StoredPolicy, Workload};

/// Sort of a secondary key; a kind uses some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// UID of the controlling owner of a Pod or `ReplicaSet`.
    Controller,
    /// Label value that names the workload of a policy.
    Label,
    /// Name of the Service of an `EndpointSlice`.
    Service,
    /// Name of the workload that an AgentCard targets.
    Target,
    /// UID of a workload or `ReplicaSet`.
    Uid,
}

pub(super) fn of_card(card: &Card) -> Vec<(By, String)> {
    card.target().map(|target| (By::Target, target.name.clone())).into_iter().collect()
}

pub(super) fn of_workload(workload: &Workload) -> Vec<(By, String)> {
    vec![(By::Label, workload.label.clone()), (By::Uid, workload.uid.clone())]
}

pub(super) fn of_pod(pod: &Pod) -> Vec<(By, String)> {
    pod.controller.iter().map(|controller| (By::Controller, controller.uid.clone())).collect()
}

pub(super) fn of_replica_set((uid, controller): &(String, Option<Controller>)) -> Vec<(By, String)> {
    let controller = controller.iter().map(|controller| (By::Controller, controller.uid.clone()));
    [(By::Uid, uid.clone())].into_iter().chain(controller).collect()
}

pub(super) fn of_slice((service, _): &(String, String)) -> Vec<(By, String)> {
    vec![(By::Service, service.clone())]
}

pub(super) fn of_policy(policy: &StoredPolicy) -> Vec<(By, String)> {
    policy.workload.iter().map(|label| (By::Label, label.clone())).collect()
}
