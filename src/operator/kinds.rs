//! Registration of all kinds of reconciliations.

use super::context::Context;
use super::index::ObjectRef;
use super::{card, namespace, workload};
use countersign_controller::failure::Failure;
use countersign_controller::key::Kind;
use countersign_controller::next::Next;
use countersign_controller::workers::Kinds;
use std::future::Future;
use std::sync::Arc;

/// All kinds with their reconcilers.
pub(crate) fn all(context: &Arc<Context>) -> Kinds {
    let mut kinds = Kinds::default();
    namespace::register(&mut kinds, context);
    workload::register(&mut kinds, context);
    card::register(&mut kinds, context);
    kinds
}

/// Registers a kind that acts on agents: its turns wait for all lists that verdicts need, and skip namespaces that the
/// configuration excludes.
pub(crate) fn register<F>(
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
