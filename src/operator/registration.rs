//! Registration of a reconciler of agents.

use super::context::Context;
use super::index::{Index, ObjectRef};
use countersign_controller::failure::Failure;
use countersign_controller::key::Reconciler;
use countersign_controller::next::Next;
use countersign_controller::registry::{AlreadyRegistered, Registry};
use std::future::Future;
use std::sync::Arc;

/// Registers a reconciler that acts on agents: its turns wait for the lists that `unread` names, those of the index and
/// the kind's own, and skip namespaces that the configuration excludes.
pub(crate) fn register_agents<F>(
    registry: &mut Registry,
    reconciler: &'static Reconciler,
    context: &Arc<Context>,
    unread: impl Fn(&Index) -> Vec<&'static str> + Send + Sync + 'static,
    reconcile: fn(Arc<Context>, ObjectRef) -> F,
) -> Result<(), AlreadyRegistered>
where
    F: Future<Output = Result<Next, Failure>> + Send + 'static,
{
    let (index, context) = (Arc::clone(&context.index), Arc::clone(context));
    registry.reconcile(
        reconciler,
        move || unread(&index),
        move |object| {
            let context = Arc::clone(&context);
            async move {
                // A namespace object is cluster-scoped: its name is the namespace.
                let namespace = if object.namespace.is_empty() { &object.name } else { &object.namespace };
                if context.watches(namespace) { reconcile(context, object).await } else { Ok(Next::Never) }
            }
        },
    )
}
