//! Keys of one `AgentRuntime`, by the label value that it puts on what it enrols: the key outlives the object.

use crate::index::ObjectRef;
use countersign_controller::key::{Key, Reconciler};

/// Enrolment of the workloads of one `AgentRuntime`.
pub(super) static RUNTIME: Reconciler =
    Reconciler { name: "agentruntime", controller: "agentruntime", waits: false };

/// Key for the enrolments under a label value in a namespace.
pub(super) fn enrolments(namespace: &str, label: &str) -> Key {
    Key { reconciler: &RUNTIME, object: ObjectRef::new(namespace, label) }
}
