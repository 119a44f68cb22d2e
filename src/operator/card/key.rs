//! Keys of one AgentCard.

use crate::index::ObjectRef;
use countersign_controller::key::{Key, Reconciler};

/// Evaluation of one AgentCard. The turn may wait for each replica of the agent; it writes nothing, and status has a
/// key of its own, so that a slow agent delays no status.
pub(crate) static EVALUATION: Reconciler =
    Reconciler { name: "agentcard", controller: "agentcard", waits: true };
/// Status of one AgentCard.
pub(crate) static STATUS: Reconciler =
    Reconciler { name: "status of agentcard", controller: "agentcard", waits: false };

/// Key for the evaluation of an AgentCard.
pub(crate) const fn evaluation(object: ObjectRef) -> Key {
    Key { reconciler: &EVALUATION, object }
}

/// Key for the status of an AgentCard.
pub(crate) const fn status(object: ObjectRef) -> Key {
    Key { reconciler: &STATUS, object }
}
