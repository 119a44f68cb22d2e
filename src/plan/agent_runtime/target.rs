//! Workload that an `AgentRuntime` enrols, as far as enrolment reads it.

use std::collections::BTreeMap;

/// Workload to enrol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// UID of the workload object.
    pub uid: String,
    /// Labels of the workload object.
    pub labels: BTreeMap<String, String>,
    /// Labels of the Pod template.
    pub template_labels: BTreeMap<String, String>,
    /// Annotations of the Pod template that enrolment writes.
    pub template_annotations: BTreeMap<String, String>,
    /// Pods that run the present template.
    pub updated_pods: i32,
    /// True if the workload is being deleted.
    pub is_leaving: bool,
}
