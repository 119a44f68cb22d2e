//! Isolates every Pod of the workload and allows nothing.
//! It knows neither card nor verdict, so nothing that happens to them can remove it.

use super::{ENROLLED, Rules, policy};
use crate::input::enrolled::EnrolledWorkload;
use crate::input::names::Role;
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// The default-deny of the workload.
///
/// It has no owner: garbage collection would remove it with its owner, while Pods of a deleted workload still
/// end in their own time. The operator removes it when no Pod is left.
pub(crate) fn plan_baseline(workload: &EnrolledWorkload) -> NetworkPolicy {
    policy(workload, Role::Baseline, workload.selector().clone(), Rules::default(), ENROLLED)
}
