//! Changes that matter: an object that was written as it was before enqueues nothing.

use super::{IndexedCard, StoredPolicy};
use countersign_controller::store::Change;

/// True if an AgentCard appeared, went, or differs so that it has to be evaluated again.
pub(crate) fn is_request(change: &Change<'_, IndexedCard>) -> bool {
    match (change.before, change.after) {
        (Some(before), Some(after)) => before.differs_in_request(after),
        _ => true,
    }
}

/// Policy that appeared, went, or differs in what the operator writes.
pub(crate) fn changed_policy<'a>(change: &Change<'a, StoredPolicy>) -> Option<&'a StoredPolicy> {
    let differs = change.before.map(|policy| policy.digest) != change.after.map(|policy| policy.digest);
    change.after.or(change.before).filter(|_| differs)
}
