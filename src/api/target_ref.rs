//! Reference to the workload behind an object of an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The workload that an object is about, in the namespace of that object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// The API version of the workload, for example apps/v1.
    #[schemars(length(min = 1))]
    pub api_version: String,
    /// The kind of the workload, for example Deployment.
    #[schemars(length(min = 1))]
    pub kind: String,
    /// The name of the workload.
    #[schemars(length(min = 1))]
    pub name: String,
}
