//! AgentCard objects without the content of the card: spec, and status as last read or written.
//! The operator stores its own status writes when the API server answers, so that their watch event is no change.

use crate::input::identity::Binding;
use crate::input::workload::{WorkloadKind, WorkloadRef};
use crate::input::{CardRef, Kept};
use countersign_api::ObjectRef;
use countersign_api::agent_card::{AgentCard, AgentCardSpec, AgentCardStatus, BindingScope, TargetRef};
use countersign_api::keys::{MANAGED_BY, MANAGED_BY_APP_LABEL};
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::Arc;

/// Observed AgentCard.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedCard {
    /// Name and UID, as owner and label of planned policies.
    pub reference: CardRef,
    /// UID of the AgentCard object.
    pub uid: String,
    /// Resource version that a write builds on; a conflict means that another write came first.
    pub resource_version: String,
    /// Creation time by the clock of the API server.
    pub created: Timestamp,
    /// `metadata.generation`, which grows with every change of the spec.
    pub generation: i64,
    /// True if the AgentCard is being deleted.
    pub is_leaving: bool,
    /// Finalizers, which hold a deletion back until they are removed.
    pub finalizers: Vec<String>,
    /// True if the operator created the AgentCard, by the managed-by label.
    pub is_automatic: bool,
    /// Desired state, shared because cards are cloned often.
    pub spec: Arc<AgentCardSpec>,
    /// Status without its member `card`, which can be large.
    pub status: Kept<AgentCardStatus>,
    /// True if status has the member `card`.
    pub has_content: bool,
}

impl IndexedCard {
    /// Observed AgentCard from a Kubernetes object; `None` if metadata is incomplete.
    pub fn of(object: AgentCard) -> Option<Self> {
        let metadata = object.metadata;
        let mut status = object.status.unwrap_or_default();
        let has_content = status.card.take().is_some();
        let manager = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_APP_LABEL));
        let uid = metadata.uid?;
        Some(Self {
            // The API server stores only names and UIDs that this check accepts.
            reference: CardRef::new(&metadata.name?, Some(&uid)).ok()?,
            uid,
            resource_version: metadata.resource_version?,
            created: Timestamp::from_unix(metadata.creation_timestamp?.0.as_second()),
            generation: metadata.generation.unwrap_or_default(),
            is_leaving: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            is_automatic: manager.is_some_and(|manager| manager == MANAGED_BY),
            spec: Arc::new(object.spec),
            status: Kept::of(&status)?,
            has_content,
        })
    }

    /// AgentCard after a status write; `metadata` is the answer of the API server.
    pub fn with_status(
        &self,
        metadata: ObjectMeta,
        status: &AgentCardStatus,
        has_content: bool,
    ) -> Option<Self> {
        Some(Self {
            resource_version: metadata.resource_version?,
            is_leaving: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            status: Kept::of(status)?,
            has_content,
            ..self.clone()
        })
    }

    /// True if status has the content of this digest, as text.
    pub fn shows(&self, card_id: Option<&str>) -> bool {
        self.has_content && self.status.read().card_id.as_deref() == card_id
    }

    /// Reference to the workload, `spec.targetRef`.
    pub fn target(&self) -> Option<&TargetRef> {
        self.spec.target_ref.as_ref()
    }

    /// Workload that an AgentCard of this namespace targets; `None` for kinds that are not watched.
    pub fn workload(&self, namespace: &str) -> Option<WorkloadRef> {
        let target = self.target()?;
        let kind = WorkloadKind::parse(&target.api_version, &target.kind)?;
        Some(WorkloadRef { kind, object: ObjectRef::new(namespace, &target.name) })
    }

    /// Signer constraints, from `spec.identityBinding`.
    pub fn binding(&self) -> Binding<'_> {
        let asked = self.spec.identity_binding.as_ref();
        Binding {
            trust_domain: asked.and_then(|asked| asked.trust_domain.as_deref()),
            allowed: asked.map(|asked| asked.allowed_spiffe_ids.as_slice()).unwrap_or_default(),
            is_narrowed: asked.and_then(|asked| asked.scope) == Some(BindingScope::Workload),
        }
    }

    /// True if spec, deletion or status differ, so that the card has to be evaluated again.
    pub fn differs_in_request(&self, other: &Self) -> bool {
        let asked = |card: &Self| (card.uid.clone(), card.generation, card.is_leaving, card.spec.clone());
        asked(self) != asked(other) || self.status != other.status || self.has_content != other.has_content
    }
}
