//! Workload that an `AgentRuntime` enrols, as far as enrolment reads it.

use countersign_api::keys::{
    CREDENTIALS_ANNOTATION, MTLS_MODE_ANNOTATION, SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION,
    SIDECAR_SPIFFE_ANNOTATION,
};
use std::collections::BTreeMap;

/// Annotations of a Pod template that say how its sidecar is.
const SIDECAR: [&str; 4] =
    [SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION, SIDECAR_SPIFFE_ANNOTATION, MTLS_MODE_ANNOTATION];

/// Workload to enrol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// UID of the workload object.
    pub uid: String,
    /// Labels of the workload object.
    pub labels: BTreeMap<String, String>,
    /// Labels of the Pod template.
    pub template_labels: BTreeMap<String, String>,
    /// Annotations of the Pod template that enrolment writes or reads.
    pub template_annotations: BTreeMap<String, String>,
    /// Service account of the Pods.
    pub service_account: String,
    /// Pods that run the present template.
    pub updated_pods: i32,
    /// True if the workload is being deleted.
    pub is_leaving: bool,
}

impl Target {
    /// True if new Pods get a sidecar.
    pub fn has_sidecar(&self) -> bool {
        self.template_annotations.contains_key(SIDECAR_ANNOTATION)
    }

    /// True if the sidecar of new Pods needs SPIRE's socket.
    pub fn needs_spire(&self) -> bool {
        self.has_sidecar() && self.template_annotations.contains_key(SIDECAR_SPIFFE_ANNOTATION)
    }

    /// True if the template names a Secret with the client ID and secret of the workload at Keycloak.
    pub fn has_credentials(&self) -> bool {
        self.template_annotations.get(CREDENTIALS_ANNOTATION).is_some_and(|name| !name.is_empty())
    }

    /// Annotations about the sidecar as they stand.
    pub(super) fn sidecar_annotations(&self) -> BTreeMap<String, String> {
        if !self.has_sidecar() {
            return BTreeMap::new();
        }
        let found = self.template_annotations.iter().filter(|(key, _)| SIDECAR.contains(&key.as_str()));
        found.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}
