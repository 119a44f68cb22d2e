//! Right of the Pods of one workload to use OpenShift's security context constraint for the sidecar.

use crate::constraint::{Binding, key};
use crate::context::Context;
use crate::index::ObjectRef;
use countersign_controller::queue::Urgency;

/// Notes for which service account the `AgentRuntime` with this namespace and label value needs the constraint, if it does, and
/// says what is known about that account.
pub(super) fn binding(context: &Context, object: &ObjectRef, account: Option<&str>) -> Binding {
    if !context.config.surroundings.scc_binding {
        return Binding::Stands;
    }
    let is_new = context.scc.needs.set(object.clone(), account.map(str::to_owned));
    let binding = account.map_or(Binding::Stands, |account| context.scc.binding(&object.namespace, account));
    if is_new || binding == Binding::Awaited {
        context.enqueue(key(&object.namespace), Urgency::Routine);
    }
    binding
}
