//! The configuration of the plugins that read calls for the session store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reads A2A calls; nothing to configure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct A2aParser {}

/// Reads MCP calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct McpParser {
    /// Paths at which MCP is spoken; `*` stays within a segment.
    pub paths: Vec<String>,
}

impl Default for McpParser {
    fn default() -> Self {
        Self { paths: vec!["/mcp".to_owned()] }
    }
}

/// Reads calls of language models.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct InferenceParser {
    /// Paths at which a model is called; `*` stays within a segment.
    pub paths: Vec<String>,
}

impl Default for InferenceParser {
    fn default() -> Self {
        Self { paths: vec!["/v1/chat/completions".to_owned(), "/v1/completions".to_owned()] }
    }
}
