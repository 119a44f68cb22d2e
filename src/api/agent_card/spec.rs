//! The spec of an AgentCard: the workload behind the card, and the identities that may sign it.
//! Existing manifests apply unchanged, so no field is stricter than in the existing schema.

use super::schema;
use super::status::AgentCardStatus;
use crate::duration::parse_duration;
use crate::target_ref::TargetRef;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// Time between two fetches of a card without a readable `syncPeriod`.
pub const SYNC_PERIOD_DEFAULT: Duration = Duration::from_secs(30);

/// What is asked for about an AgentCard.
#[expect(clippy::duplicated_attributes, reason = "each column has a type and a path of its own")]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "agent.kagenti.dev",
    version = "v1alpha1",
    kind = "AgentCard",
    plural = "agentcards",
    singular = "agentcard",
    namespaced,
    status = "AgentCardStatus",
    derive = "PartialEq",
    shortname = "agentcards",
    shortname = "cards",
    category = "countersign",
    doc = "AgentCard is the card of an agent workload: what it says about itself, and whether that was verified.",
    printcolumn(name = "Protocol", type_ = "string", json_path = ".status.protocol"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.targetRef.kind"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.targetRef.name"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.card.name"),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Verified')].status"
    ),
    printcolumn(name = "Sigstore", type_ = "boolean", json_path = ".status.sigstoreBundleVerified"),
    printcolumn(name = "Bound", type_ = "string", json_path = ".status.bindingStatus.bound"),
    printcolumn(
        name = "Synced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Synced')].status"
    ),
    printcolumn(name = "LastSync", type_ = "date", json_path = ".status.lastSyncTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "AttestedAgent",
        type_ = "string",
        json_path = ".status.attestedAgentSpiffeId",
        priority = 1
    ),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.verdict.reason"),
    printcolumn(
        name = "Enforced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Enforced')].status"
    ),
    printcolumn(name = "SPIFFE-ID", type_ = "string", json_path = ".status.signatureSpiffeId", priority = 1)
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct AgentCardSpec {
    /// How often the card is fetched, as a Go duration; what cannot be read counts as 30s.
    #[serde(default = "default_sync_period")]
    pub sync_period: String,
    /// The workload that backs this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Which identities may sign this card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_binding: Option<IdentityBinding>,
    /// Accepted for manifests of the existing operator and not read: Sigstore bundles are not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigstore_verification: Option<SigstoreVerification>,
    /// Keeps the operator from fetching this card; the last one counts as long as it can still be proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// Identities that may sign a card, within what the operator is configured to accept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityBinding {
    /// The trust domain of the signer, if it is not the operator's; the operator has to allow it for the namespace
    /// (`--allow-trust-domain`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9]([a-zA-Z0-9\-\.]*[a-zA-Z0-9])?$"))]
    pub trust_domain: Option<String>,
    /// Accepted for manifests of the existing operator and not read: the binding always counts.
    #[serde(default)]
    pub strict: bool,
    /// If given, the SPIFFE ID that follows from the workload must be among these.
    #[serde(default, rename = "allowedSpiffeIDs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::spiffe_ids")]
    pub allowed_spiffe_ids: Vec<String>,
    /// `workload` asks for the workload's own identity where the operator asks for less; nothing widens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<BindingScope>,
}

/// How closely a signer is tied to the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BindingScope {
    /// The signer has the workload's own identity.
    Workload,
    /// Anybody in the trust domain may sign, if the operator is configured so; for compatibility only.
    TrustDomain,
}

/// Overrides of the operator's Sigstore settings for one card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigstoreVerification {
    /// The name that the signing certificate must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_identity: Option<String>,
    /// The OIDC issuer that the signing certificate must name.
    #[serde(default, rename = "certificateOIDCIssuer", skip_serializing_if = "Option::is_none")]
    pub certificate_oidc_issuer: Option<String>,
}

impl AgentCardSpec {
    /// Time between two fetches of the card. The error says why [`SYNC_PERIOD_DEFAULT`] applies instead.
    pub fn sync_period(&self) -> Result<Duration, &'static str> {
        match parse_duration(&self.sync_period)? {
            Duration::ZERO => Err("is zero; give a duration such as 30s"),
            period => Ok(period),
        }
    }
}

impl Default for AgentCardSpec {
    fn default() -> Self {
        Self {
            sync_period: default_sync_period(),
            target_ref: None,
            identity_binding: None,
            sigstore_verification: None,
            paused: None,
        }
    }
}

fn default_sync_period() -> String {
    "30s".to_owned()
}

/// Reads an absent `spec` as the default: the schema allows such an object, and one must not end the watch of all.
impl<'de> Deserialize<'de> for AgentCardSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Present(#[serde(with = "AgentCardSpec")] AgentCardSpec);
        Ok(Option::<Present>::deserialize(deserializer)?.map_or_else(Self::default, |present| present.0))
    }
}

impl Serialize for AgentCardSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}
