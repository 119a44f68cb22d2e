//! The spec of an `AgentRuntime`: the workload to enrol, and what its sidecar does.
//! Existing manifests apply unchanged, so no field is stricter than in the existing schema.

use super::status::AgentRuntimeStatus;
use crate::target_ref::TargetRef;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked for about a workload.
#[expect(clippy::duplicated_attributes, reason = "each column has a type and a path of its own")]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "agent.kagenti.dev",
    version = "v1alpha1",
    kind = "AgentRuntime",
    plural = "agentruntimes",
    singular = "agentruntime",
    namespaced,
    status = "AgentRuntimeStatus",
    derive = "PartialEq",
    shortname = "art",
    shortname = "agentrt",
    category = "countersign",
    doc = "AgentRuntime enrols a workload as an agent or a tool, without a change to the workload's manifest.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRef.name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Verified')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AgentRuntimeSpec {
    /// What the workload is.
    #[serde(rename = "type")]
    pub runtime_type: RuntimeType,
    /// The workload to enrol.
    pub target_ref: TargetRef,
    /// The identity of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How the sidecar takes part in the workload's traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_bridge_mode: Option<AuthBridgeMode>,
    /// Whether the workload's peers prove who they are by mTLS.
    #[serde(default)]
    pub mtls_mode: MtlsMode,
    /// Whether the sidecar reads the workload's TLS requests to others.
    #[serde(default)]
    pub tls_bridge_mode: TlsBridgeMode,
    /// Whether requests that go around the proxy settings are redirected to the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_enforcement: Option<EgressEnforcement>,
    /// What the workload may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<RuntimeAuth>,
    /// Which plugins of the sidecar run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_preset: Option<PluginPreset>,
    /// Single plugins of the sidecar, as NAME:enforce, NAME:observe or NAME:off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// What the sidecar does with a request when a plugin fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<String>,
}

/// What a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeType {
    /// An AI agent, which serves a card.
    Agent,
    /// A tool that agents call.
    Tool,
}

impl RuntimeType {
    /// The value of the type label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Tool => "tool",
        }
    }
}

/// Identity of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The SPIFFE identity of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<SpiffeIdentity>,
    /// Audiences of tokens that the workload accepts besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_audiences: Vec<String>,
}

/// SPIFFE identity of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpiffeIdentity {
    /// The trust domain of the workload, if it is not the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9]([a-zA-Z0-9\-\.]*[a-zA-Z0-9])?$"))]
    pub trust_domain: Option<String>,
}

/// How the sidecar takes part in a workload's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthBridgeMode {
    /// The sidecar is a reverse and a forward proxy.
    ProxySidecar,
    /// The sidecar decides for an Envoy beside it.
    EnvoySidecar,
    /// The proxies with the plugins for tokens alone.
    Lite,
    /// No sidecar in the Pod.
    Waypoint,
}

/// Whether peers prove who they are by mTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MtlsMode {
    /// No mTLS.
    Disabled,
    /// mTLS where the peer speaks it.
    #[default]
    Permissive,
    /// Nothing but mTLS.
    Strict,
}

impl MtlsMode {
    /// The value of the annotation in the Pod template.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Permissive => "permissive",
            Self::Strict => "strict",
        }
    }
}

/// Whether the sidecar reads TLS requests to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsBridgeMode {
    /// TLS is passed through.
    #[default]
    Disabled,
    /// TLS is read with a certificate authority that the workload trusts.
    Enabled,
}

/// Whether requests around the proxy settings are redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EgressEnforcement {
    /// They are redirected to the sidecar.
    EnforceRedirect,
    /// They leave as they are.
    None,
}

/// What a workload may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeAuth {
    /// Destinations with the audiences of the tokens that they take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<OutboundAccess>,
}

/// A destination with the audiences of the tokens that it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboundAccess {
    /// What is called.
    pub destination: OutboundDestination,
    /// Audiences that a token for it is exchanged for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
}

/// What is called, by host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboundDestination {
    /// One host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// All hosts that a regular expression matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_regex: Option<String>,
}

/// Which plugins of the sidecar run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PluginPreset {
    /// Those for tokens.
    AuthOnly,
    /// Those for intent-based access control.
    IbacOnly,
    /// All.
    Full,
}
