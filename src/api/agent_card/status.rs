//! The status of an AgentCard, in the fields that existing dashboards and scripts read.
//! Only the operator writes a status; `verdict` and `observedGeneration` are additions of Countersign.

use super::data::AgentCardData;
use super::verdict::CardVerdict;
use crate::conditions;
use crate::target_ref::TargetRef;
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found about an AgentCard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentCardStatus {
    /// Of a verified card, what its signature covers, with the `url` that was signed; of a refused one, the document as
    /// received, which proves nothing. Texts and lists are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<AgentCardData>,
    /// The latest observations of the card's state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::conditions")]
    pub conditions: Vec<Condition>,
    /// When another card than before was last received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    /// The protocol that the agent speaks, for example a2a.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The workload that the card was resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Whether the card's signature verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_signature: Option<bool>,
    /// What was found about the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_verification_details: Option<String>,
    /// The key ID of the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_key_id: Option<String>,
    /// The SPIFFE ID that signed; absent unless the signature verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_spiffe_id: Option<String>,
    /// Whether the signer is verified and bound; absent without an identity binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_identity_match: Option<bool>,
    /// SHA-256 of the card's data, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_id: Option<String>,
    /// The SPIFFE ID that the server of the card proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested_agent_spiffe_id: Option<String>,
    /// The verified SPIFFE ID that was used for the binding.
    #[serde(default, rename = "expectedSpiffeID", skip_serializing_if = "Option::is_none")]
    pub expected_spiffe_id: Option<String>,
    /// The outcome of the identity binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_status: Option<BindingStatus>,
    /// Not set: Sigstore bundles are not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigstore_bundle_verified: Option<bool>,
    /// The identity in the Sigstore certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigstore_identity: Option<String>,
    /// The index of the entry in the Rekor log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rekor_log_index: Option<String>,
    /// The repository named by the SLSA provenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slsa_repository: Option<String>,
    /// The commit named by the SLSA provenance.
    #[serde(default, rename = "slsaCommitSHA", skip_serializing_if = "Option::is_none")]
    pub slsa_commit_sha: Option<String>,
    /// The verdict with its reason, and what is remembered of the last accepted card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CardVerdict>,
    /// The generation of the object that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The outcome of the identity binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingStatus {
    /// Whether the signer belongs to the workload.
    pub bound: bool,
    /// The outcome as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The outcome as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the outcome last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_evaluation_time: Option<Time>,
}

/// Converts a point in time to the type of the Kubernetes API, clamped to the years that RFC 3339 can write.
pub fn time(at: Timestamp) -> Time {
    let (least, greatest) = (jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
    Time(jiff::Timestamp::from_second(at.as_unix().clamp(least, greatest)).unwrap_or_default())
}
