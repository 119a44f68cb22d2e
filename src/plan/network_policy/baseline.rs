//! Baseline policy of a workload: isolates every Pod and allows nothing.
//! Its input has neither card nor verdict, so that no change of them can remove the isolation.

use super::{ENROLLED, Rules, policy};
use crate::input::enrolled::EnrolledWorkload;
use crate::input::names::Role;
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Default-deny policy of a workload.
///
/// The policy has no owner: garbage collection would remove it while Pods of a deleted workload still run. The
/// operator removes it when no Pod is left.
pub(crate) fn plan_baseline(workload: &EnrolledWorkload) -> NetworkPolicy {
    policy(workload, Role::Baseline, workload.selector().clone(), Rules::default(), ENROLLED)
}
