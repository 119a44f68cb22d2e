//! Enrolment of workloads by `AgentRuntime`: labels and annotations that the operator owns on a workload, and the status
//! that says where that stands (ADR 0024).

mod card;
pub mod config_hash;
mod enrolment;
mod fields;
mod runtime;
mod sandbox;
pub mod sidecar;
pub mod skills;
pub mod status;
mod target;
pub mod turn;
pub mod twin;

pub use card::{ShownCard, lacks_content};
pub use runtime::{EnrolledBy, IndexedRuntime, RuntimeParts, SidecarRequest};
pub use sandbox::{ReleaseStep, plan_release, plan_replaced};
pub use target::{PodRef, SandboxPod, Target};
