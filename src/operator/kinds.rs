//! Registration of all kinds of reconciliations.

use super::context::Context;
use super::{card, namespace, workload};
use countersign_controller::workers::Kinds;
use std::sync::Arc;

/// All kinds with their reconcilers.
pub(crate) fn all(context: &Arc<Context>) -> Kinds {
    let mut kinds = Kinds::default();
    namespace::register(&mut kinds, context);
    workload::register(&mut kinds, context);
    card::register(&mut kinds, context);
    kinds
}
