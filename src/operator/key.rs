//! Keys of the operator's reconciliations.
//! All writes to the objects of one workload run under one key, so that two writers never race.

use super::index::{ObjectRef, WorkloadKind, WorkloadRef};
use countersign_controller::key::{Key, Kind};

/// Isolation of all agents of a namespace.
pub(crate) const NAMESPACE: Kind = kind("namespace", "networkpolicy");
/// AgentCard, policies and peer marks of one Deployment.
pub(crate) const DEPLOYMENT: Kind = kind(WorkloadKind::Deployment.as_str(), "agentcardsync");
/// AgentCard, policies and peer marks of one `StatefulSet`.
pub(crate) const STATEFUL_SET: Kind = kind(WorkloadKind::StatefulSet.as_str(), "agentcardsync");
/// Evaluation of one AgentCard. The turn may wait for each replica of the agent; it writes nothing, and status has a
/// key of its own, so that a slow agent delays no status.
pub(crate) const CARD: Kind = Kind { waits: true, ..kind("agentcard", "agentcard") };
/// Status of one AgentCard.
pub(crate) const STATUS: Kind = kind("status of agentcard", "agentcard");
/// Pod with a peer mark that no workload justifies.
pub(crate) const POD: Kind = kind("pod", "peermark");
/// Managed policy whose workload is unknown.
pub(crate) const ORPHAN: Kind = kind("networkpolicy", "networkpolicy");

const fn kind(name: &'static str, controller: &'static str) -> Kind {
    Kind { name, controller, waits: false }
}

/// Key for the isolation of a namespace.
pub(crate) fn namespace(name: impl Into<String>) -> Key {
    Key { kind: &NAMESPACE, object: ObjectRef::cluster_scoped(name) }
}

/// Key for the objects of a workload.
pub(crate) fn workload(workload: WorkloadRef) -> Key {
    let kind = match workload.kind {
        WorkloadKind::Deployment => &DEPLOYMENT,
        WorkloadKind::StatefulSet => &STATEFUL_SET,
    };
    Key { kind, object: workload.object }
}

/// Key for the evaluation of an AgentCard.
pub(crate) const fn card(object: ObjectRef) -> Key {
    Key { kind: &CARD, object }
}

/// Key for the status of an AgentCard.
pub(crate) const fn status(object: ObjectRef) -> Key {
    Key { kind: &STATUS, object }
}

/// Key for a Pod whose peer mark no workload justifies.
pub(crate) const fn pod(object: ObjectRef) -> Key {
    Key { kind: &POD, object }
}

/// Key for a managed policy whose workload is unknown.
pub(crate) const fn orphan(object: ObjectRef) -> Key {
    Key { kind: &ORPHAN, object }
}
