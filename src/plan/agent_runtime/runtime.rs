//! `AgentRuntime` objects, and workloads that carry the label of one.

use crate::input::Kept;
use crate::input::names::label_value;
use crate::input::workload::{WorkloadKind, WorkloadRef};
use countersign_api::ObjectRef;
use countersign_api::agent_card::TargetRef;
use countersign_api::agent_runtime::{AgentRuntimeStatus, MtlsMode, RuntimeType};
use countersign_api::keys::RUNTIME_LABEL;
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Observed `AgentRuntime`.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedRuntime {
    /// UID of the object.
    pub uid: String,
    /// Resource version that a write of status builds on.
    pub resource_version: String,
    /// Creation time by the clock of the API server.
    pub created: Timestamp,
    /// `metadata.generation`, which grows with every change of the spec.
    pub generation: i64,
    /// True if the object is being deleted.
    pub is_leaving: bool,
    /// Finalizers, which hold a deletion back until they are removed.
    pub finalizers: Vec<String>,
    /// Value of [`RUNTIME_LABEL`] on what the object enrols.
    pub label: String,
    /// What the workload is.
    pub runtime_type: RuntimeType,
    /// Workload to enrol.
    pub target: TargetRef,
    /// Mode of mTLS.
    pub mtls_mode: MtlsMode,
    /// What the spec says about the sidecar.
    pub sidecar: SidecarRequest,
    /// Status as last read.
    pub status: Kept<AgentRuntimeStatus>,
}

/// What the spec of an `AgentRuntime` says about the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidecarRequest {
    /// Audiences of tokens that the workload accepts besides its own.
    pub allowed_audiences: Vec<String>,
    /// Members of the spec that ask for what the sidecar cannot do: to leave them out would weaken it.
    pub unsupported: Vec<&'static str>,
}

/// Members of the spec of an `AgentRuntime` that are in use.
#[derive(Clone, Debug)]
pub struct RuntimeParts {
    /// What the workload is.
    pub runtime_type: RuntimeType,
    /// Workload to enrol.
    pub target: TargetRef,
    /// Mode of mTLS.
    pub mtls_mode: MtlsMode,
    /// What is said about the sidecar.
    pub sidecar: SidecarRequest,
}

impl IndexedRuntime {
    /// Observed object; `None` if its metadata is incomplete.
    pub fn of(metadata: ObjectMeta, parts: RuntimeParts, status: &AgentRuntimeStatus) -> Option<Self> {
        let RuntimeParts { runtime_type, target, mtls_mode, sidecar } = parts;
        Some(Self {
            uid: metadata.uid?,
            resource_version: metadata.resource_version?,
            created: Timestamp::from_unix(metadata.creation_timestamp?.0.as_second()),
            generation: metadata.generation.unwrap_or_default(),
            is_leaving: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            label: label_value(&metadata.name?),
            runtime_type,
            target,
            mtls_mode,
            sidecar,
            status: Kept::of(status)?,
        })
    }

    /// Workload of this namespace to enrol; `None` for kinds that cannot be.
    pub fn workload(&self, namespace: &str) -> Option<WorkloadRef> {
        let kind = WorkloadKind::parse(&self.target.api_version, &self.target.kind)?;
        Some(WorkloadRef { kind, object: ObjectRef::new(namespace, &self.target.name) })
    }

    /// True if this object comes before `other`, which enrols the same workload: the older one does, by name among equals.
    pub(super) fn precedes(&self, other: &Self) -> bool {
        (self.created, &self.label) < (other.created, &other.label)
    }
}

/// Workload object that carries [`RUNTIME_LABEL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolledBy {
    /// UID of the workload object.
    pub uid: String,
    /// Resource version of the workload object.
    pub resource_version: String,
    /// Value of the label.
    pub label: String,
}

impl EnrolledBy {
    /// Workload object by its metadata; `None` without the label.
    pub fn of(metadata: ObjectMeta) -> Option<Self> {
        Some(Self {
            uid: metadata.uid?,
            resource_version: metadata.resource_version?,
            label: metadata.labels?.remove(RUNTIME_LABEL)?,
        })
    }
}
