//! Registration of one kind of reconciliations.

use super::context::Context;
use super::index::ObjectRef;
use countersign_controller::failure::Failure;
use countersign_controller::key::Kind;
use countersign_controller::next::Next;
use countersign_controller::workers::Kinds;
use std::future::Future;
use std::sync::Arc;

/// Registers a kind that acts on agents: its turns wait for all lists that verdicts need, and skip namespaces that the
/// configuration excludes.
pub(crate) fn register_agents<F>(
    kinds: &mut Kinds,
    kind: &'static Kind,
    context: &Arc<Context>,
    reconcile: fn(Arc<Context>, ObjectRef) -> F,
) where
    F: Future<Output = Result<Next, Failure>> + Send + 'static,
{
    let (known, context) = (Arc::clone(&context.index), Arc::clone(context));
    kinds.register(
        kind,
        move || known.unread(),
        move |object| {
            let context = Arc::clone(&context);
            async move {
                // A namespace object is cluster-scoped: its name is the namespace.
                let namespace = if object.namespace.is_empty() { &object.name } else { &object.namespace };
                if context.watches(namespace) { reconcile(context, object).await } else { Ok(Next::Never) }
            }
        },
    );
}
