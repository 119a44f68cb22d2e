//! Keys of one workload. All writes to its objects run under one key, so that two writers never race.

use crate::index::{ObjectRef, WorkloadKind, WorkloadRef};
use countersign_controller::key::{Key, Reconciler};

/// AgentCard, policies and peer marks of one Deployment.
pub(crate) static DEPLOYMENT: Reconciler = workload_of(WorkloadKind::Deployment);
/// AgentCard, policies and peer marks of one `StatefulSet`.
pub(crate) static STATEFUL_SET: Reconciler = workload_of(WorkloadKind::StatefulSet);
/// AgentCard, policies and peer marks of one Sandbox.
pub(crate) static SANDBOX: Reconciler = workload_of(WorkloadKind::Sandbox);
/// Pod with a peer mark that no workload justifies.
pub(crate) static POD: Reconciler = Reconciler { name: "pod", controller: "peermark", waits: false };

const fn workload_of(kind: WorkloadKind) -> Reconciler {
    Reconciler { name: kind.as_str(), controller: "agentcardsync", waits: false }
}

/// Key for the objects of a workload.
pub(crate) fn workload(workload: WorkloadRef) -> Key {
    let reconciler = match workload.kind {
        WorkloadKind::Deployment => &DEPLOYMENT,
        WorkloadKind::StatefulSet => &STATEFUL_SET,
        WorkloadKind::Sandbox => &SANDBOX,
    };
    Key { reconciler, object: workload.object }
}

/// Key for a Pod whose peer mark no workload justifies.
pub(crate) const fn pod(object: ObjectRef) -> Key {
    Key { reconciler: &POD, object }
}
