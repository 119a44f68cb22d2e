//! The kind AgentCard of `agent.kagenti.dev/v1alpha1`, compatible with existing manifests and readers of status.
//! Every field that Countersign adds is optional. The schema in `crds/` is generated from these types.

mod condition;
mod convert;
mod data;
mod definition;
mod memory;
mod replace;
mod schema;
mod spec;
mod status;
mod verdict;

pub use crate::target_ref::TargetRef;
pub use condition::{ConditionReason, ConditionType};
pub use convert::{card_data, signed_card_data};
pub use data::{
    AgentCapabilities, AgentCardData, AgentExtension, AgentProvider, AgentSkill, CardSignature,
    CardSignatureHeader, SkillParameter,
};
pub use definition::definition;
pub use memory::MemoryError;
pub use spec::{
    AgentCard, AgentCardSpec, BindingScope, IdentityBinding, SYNC_PERIOD_DEFAULT, SigstoreVerification,
};
pub use status::{AgentCardStatus, BindingStatus, time};
pub use verdict::{CardVerdict, Outcome};
