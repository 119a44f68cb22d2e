//! What can be reconciled: one key per thing that has to be brought in step.
//! Everything that touches one workload's objects runs under its one key, so two writers never race.

use super::index::{ObjectRef, WorkloadKind, WorkloadRef};
use countersign_controller::key::{Key, Kind};

/// The isolation that all agents of a namespace share.
pub(crate) const NAMESPACE: Kind = kind("namespace", "networkpolicy");
/// The objects of one Deployment: its card, policies and marks.
pub(crate) const DEPLOYMENT: Kind = kind(WorkloadKind::Deployment.as_str(), "agentcardsync");
/// The same of one `StatefulSet`.
pub(crate) const STATEFUL_SET: Kind = kind(WorkloadKind::StatefulSet.as_str(), "agentcardsync");
/// The verdict about one AgentCard. Its turn may wait for the agent, once or for each of its endpoints; it writes
/// nothing, and what it finds is said under the key of the status.
pub(crate) const CARD: Kind = Kind { waits: true, ..kind("agentcard", "agentcard") };
/// The status of one AgentCard.
pub(crate) const STATUS: Kind = kind("status of agentcard", "agentcard");
/// A Pod with a mark that no workload vouches for.
pub(crate) const POD: Kind = kind("pod", "peermark");
/// A policy of ours whose workload is not known.
pub(crate) const ORPHAN: Kind = kind("networkpolicy", "networkpolicy");

const fn kind(name: &'static str, controller: &'static str) -> Kind {
    Kind { name, controller, waits: false }
}

/// The key of a namespace.
pub(crate) fn namespace(name: impl Into<String>) -> Key {
    Key { kind: &NAMESPACE, object: ObjectRef::cluster_scoped(name) }
}

/// The key of a workload.
pub(crate) fn workload(workload: WorkloadRef) -> Key {
    let kind = match workload.kind {
        WorkloadKind::Deployment => &DEPLOYMENT,
        WorkloadKind::StatefulSet => &STATEFUL_SET,
    };
    Key { kind, object: workload.object }
}

/// The key of the verdict about a card.
pub(crate) const fn card(object: ObjectRef) -> Key {
    Key { kind: &CARD, object }
}

/// The key of the status of a card.
pub(crate) const fn status(object: ObjectRef) -> Key {
    Key { kind: &STATUS, object }
}

/// The key of a Pod.
pub(crate) const fn pod(object: ObjectRef) -> Key {
    Key { kind: &POD, object }
}

/// The key of a policy whose workload is not known.
pub(crate) const fn orphan(object: ObjectRef) -> Key {
    Key { kind: &ORPHAN, object }
}
