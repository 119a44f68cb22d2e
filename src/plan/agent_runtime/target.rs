//! Workload that an `AgentRuntime` enrols, as far as enrolment reads it.

use super::config_hash::Data;
use super::fields::OWN_ANNOTATIONS;
use countersign_api::ObjectRef;
use countersign_api::keys::{
    CONFIG_HASH_ANNOTATION, CREDENTIALS_ANNOTATION, Family, MTLS_MODE_ANNOTATION, SIDECAR_ANNOTATION,
    SIDECAR_CONFIG_ANNOTATION, SIDECAR_SPIFFE_ANNOTATION,
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
    /// Pods that run the present template, as the status of the workload says.
    pub updated_pods: i32,
    /// True if the workload is being deleted.
    pub is_leaving: bool,
    /// Resource version that was read.
    pub resource_version: String,
    /// API version in which the workload was read, if it is not the first of its kind.
    pub api_version: Option<String>,
    /// Pod of a Sandbox; `None` for workloads whose controllers replace Pods themselves.
    pub pod: Option<SandboxPod>,
    /// UID in the annotation [`countersign_api::keys::REPLACED_POD_ANNOTATION`].
    pub replaced_pod: Option<String>,
    /// UID in the annotation [`countersign_api::keys::RELEASED_POD_ANNOTATION`].
    pub released_pod: Option<String>,
    /// Annotations that name skills, by family in the order of [`countersign_api::keys::Family::ALL`].
    pub skills: [Option<String>; 2],
}

impl Target {
    /// Pods that run the present template. The status of a Sandbox does not say it.
    pub(super) fn configured_pods(&self) -> i32 {
        let Some(found) = &self.pod else { return self.updated_pods };
        let is_enrolled = self.template_annotations.contains_key(CONFIG_HASH_ANNOTATION);
        let is_old = found.is_leaving || self.replaced_pod.as_ref() == Some(&found.pod.uid);
        let runs = is_enrolled && !is_old && found.runs(&self.template_labels, &self.template_annotations);
        i32::from(runs)
    }

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

/// Pod that a Sandbox controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxPod {
    /// The Pod.
    pub pod: PodRef,
    /// True if the Pod is being deleted.
    pub is_leaving: bool,
    /// Labels of the Pod.
    pub labels: Data,
    /// Annotations of the Pod that enrolment writes into the template.
    pub annotations: Data,
}

/// One Pod, and no other that gets its name later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Namespace and name.
    pub object: ObjectRef,
    /// UID.
    pub uid: String,
}

impl SandboxPod {
    /// True if the Pod has what a template with these labels and annotations of enrolment gives to one.
    pub(super) fn runs(&self, labels: &Data, annotations: &Data) -> bool {
        let key = Family::Kagenti.type_label();
        self.labels.get(key) == labels.get(key)
            && OWN_ANNOTATIONS.into_iter().all(|key| self.annotations.get(key) == annotations.get(key))
    }
}
