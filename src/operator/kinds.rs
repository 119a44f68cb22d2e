//! All kinds of the operator. A new kind is a folder with a `register`, and a line here.

use super::context::Context;
use super::{card, index, mesh, namespace, renamed_card, renamed_runtime, runtime, scc, workload};
use countersign_controller::registry::{AlreadyRegistered, Registry};
use std::sync::Arc;

/// Registers watches and reconcilers of all kinds.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    index::register(registry, &context.watching, &context.index);
    namespace::register(registry, context)?;
    workload::register(registry, context)?;
    card::register(registry, context)?;
    runtime::register(registry, context)?;
    renamed_card::register(registry, context)?;
    renamed_runtime::register(registry, context)?;
    mesh::register(registry, context)?;
    scc::register(registry, context)?;
    Ok(())
}
