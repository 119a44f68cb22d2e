//! The status of an `AgentRuntime`, in the fields that existing dashboards and scripts read.

use crate::agent_card::AgentCardData;
use crate::conditions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found about a workload and done to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentRuntimeStatus {
    /// The generation of the object that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many Pods of the workload run with this configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_pods: Option<i32>,
    /// The card of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardStatus>,
    /// Skills that the workload's annotation names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked_skills: Vec<String>,
    /// The latest observations of the workload's configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::conditions")]
    pub conditions: Vec<Condition>,
}

/// The card of an agent, with what was found about its signature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CardStatus {
    /// The contents of the card.
    #[serde(flatten)]
    pub data: AgentCardData,
    /// When another card than before was last received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_card_fetch_time: Option<Time>,
    /// SHA-256 of the card's data, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_hash: Option<String>,
    /// The protocol that the agent speaks, for example a2a.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// How the card was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_security: Option<TransportSecurity>,
    /// Whether the card's signature verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_signature: Option<bool>,
    /// The key ID of the signature.
    #[serde(default, rename = "signatureKeyID", skip_serializing_if = "Option::is_none")]
    pub signature_key_id: Option<String>,
    /// What was found about the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_verification_details: Option<String>,
    /// The SPIFFE ID that the server of the card proved.
    #[serde(default, rename = "attestedAgentSpiffeID", skip_serializing_if = "Option::is_none")]
    pub attested_agent_spiffe_id: Option<String>,
}

/// How a card was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransportSecurity {
    /// Over mTLS.
    Mtls,
    /// Over HTTP without TLS.
    Http,
}
