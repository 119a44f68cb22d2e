//! Identity from the SPIFFE Workload API.

use super::snapshot::Material;
use super::store::WorkloadIdentity;
use countersign_io::workload_api::{WorkloadContext, follow_context};
use std::time::Duration;

/// Longest time until the SPIRE agent answers.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Follows the Workload API until dropped; `told` receives each new state that was accepted.
pub(crate) async fn follow_workload_api(
    socket: &str,
    identity: &WorkloadIdentity,
    mut told: impl FnMut(&Material),
) {
    follow_context(socket, ANSWER, |update| match update {
        Ok(WorkloadContext { svid, bundles }) => {
            let material = Material { svid, bundles };
            if identity.update(Ok(&material)) {
                told(&material);
            }
        }
        Err(error) => {
            identity.update(Err(error.to_string()));
        }
    })
    .await;
}
