//! The kind `AgentRuntime` of `agent.kagenti.dev/v1alpha1`: which workload to enrol, and how.
//! Compatible with existing manifests and readers of status; every field that Countersign adds is optional.

mod condition;
mod definition;
mod spec;
mod status;

pub use condition::{RuntimeCondition, RuntimeReason};
pub use definition::definition;
pub use spec::{
    AgentRuntime, AgentRuntimeSpec, AuthBridgeMode, EgressEnforcement, Identity, MtlsMode, OutboundAccess,
    OutboundDestination, PluginPreset, RuntimeAuth, RuntimeType, SpiffeIdentity, TlsBridgeMode,
};
pub use status::{AgentRuntimeStatus, CardStatus, TransportSecurity};
