//! AgentCards, without the content of the card: what was asked for, and what the status says.
//! Our own status writes are put here as they are answered, so that their echo changes nothing.

use crate::input::CardRef;
use crate::input::identity::Binding;
use crate::input::workload::{WorkloadKind, WorkloadRef};
use countersign_api::ObjectRef;
use countersign_api::agent_card::{AgentCard, AgentCardSpec, AgentCardStatus, BindingScope, TargetRef};
use countersign_api::keys::{MANAGED_BY, MANAGED_BY_APP_LABEL};
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::Arc;

/// What is known of an AgentCard.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Its name and UID, for the planner.
    pub reference: CardRef,
    /// Its UID.
    pub uid: String,
    /// The version that a write builds on.
    pub resource_version: String,
    /// When it came to be, by the clock of the API server.
    pub created: Timestamp,
    /// Changes with its spec.
    pub generation: i64,
    /// True if it is being deleted.
    pub is_leaving: bool,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// True if it was made for a workload, not by somebody.
    pub is_automatic: bool,
    /// What was asked for.
    pub spec: Arc<AgentCardSpec>,
    /// What is written in status, without `card`.
    pub status: Arc<AgentCardStatus>,
    /// Whether status has a `card`.
    pub has_content: bool,
}

impl Card {
    /// Reads an AgentCard.
    pub fn of(object: AgentCard) -> Option<Self> {
        let metadata = object.metadata;
        let mut status = object.status.unwrap_or_default();
        let has_content = status.card.take().is_some();
        let manager = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_APP_LABEL));
        let uid = metadata.uid?;
        Some(Self {
            // The API server stores no other names and UIDs than those that this accepts.
            reference: CardRef::new(&metadata.name?, Some(&uid)).ok()?,
            uid,
            resource_version: metadata.resource_version?,
            created: Timestamp::from_unix(metadata.creation_timestamp?.0.as_second()),
            generation: metadata.generation.unwrap_or_default(),
            is_leaving: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            is_automatic: manager.is_some_and(|manager| manager == MANAGED_BY),
            spec: Arc::new(object.spec),
            status: Arc::new(status),
            has_content,
        })
    }

    /// This card after a write of its status: `metadata` is what the API server answered.
    pub fn with_status(
        &self,
        metadata: ObjectMeta,
        status: AgentCardStatus,
        has_content: bool,
    ) -> Option<Self> {
        Some(Self {
            resource_version: metadata.resource_version?,
            is_leaving: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            status: Arc::new(status),
            has_content,
            ..self.clone()
        })
    }

    /// The workload that it points at.
    pub fn target(&self) -> Option<&TargetRef> {
        self.spec.target_ref.as_ref()
    }

    /// The workload that an AgentCard of this namespace points at, if it is of a kind that is watched.
    pub fn workload(&self, namespace: &str) -> Option<WorkloadRef> {
        let target = self.target()?;
        let kind = WorkloadKind::parse(&target.api_version, &target.kind)?;
        Some(WorkloadRef { kind, object: ObjectRef::new(namespace, &target.name) })
    }

    /// What it asks of its signer.
    pub fn binding(&self) -> Binding<'_> {
        let asked = self.spec.identity_binding.as_ref();
        Binding {
            trust_domain: asked.and_then(|asked| asked.trust_domain.as_deref()),
            allowed: asked.map(|asked| asked.allowed_spiffe_ids.as_slice()).unwrap_or_default(),
            is_narrowed: asked.and_then(|asked| asked.scope) == Some(BindingScope::Workload),
        }
    }

    /// True if the two differ in what somebody else decides: then the card has to be looked at again.
    pub fn differs_in_request(&self, other: &Self) -> bool {
        let asked = |card: &Self| (card.uid.clone(), card.generation, card.is_leaving, card.spec.clone());
        asked(self) != asked(other) || self.status != other.status || self.has_content != other.has_content
    }
}
