//! By what objects are found besides their names, so that no turn reads a whole namespace.

use super::{Card, Controller, Pod, StoredPolicy, Workload};

/// Sorts of secondary keys. Not every kind has each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// UID of the controlling owner.
    Controller,
    /// The label value that names the workload.
    Label,
    /// Name of the Service.
    Service,
    /// Name of the target.
    Target,
    /// UID of the object itself.
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
