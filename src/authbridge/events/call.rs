//! Call that a request makes, as events tell it: an operation of A2A, a method of MCP, or a question to a language model.

use super::a2a::Operation;
use serde_json::{Map, Value, json};

/// Binding of A2A, as AgentCards name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// JSON-RPC 2.0.
    JsonRpc,
    /// Methods and paths of HTTP with bodies in JSON.
    HttpJson,
    /// gRPC.
    Grpc,
}

impl Binding {
    const fn text(self) -> &'static str {
        match self {
            Self::JsonRpc => "JSONRPC",
            Self::HttpJson => "HTTP+JSON",
            Self::Grpc => "GRPC",
        }
    }
}

/// Call that a parser recognized in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A2A.
    A2a {
        /// Method as the request names it, or the name of the operation where a path does.
        method: String,
        /// Operation; `None` for a method that is not one of A2A.
        operation: Option<&'static Operation>,
        /// Binding of the request.
        binding: Binding,
        /// `contextId` to which the call belongs.
        context: Option<String>,
        /// Task to which the call belongs.
        task: Option<String>,
    },
    /// MCP.
    Mcp {
        /// JSON-RPC method, or a synthetic one for a request without a body.
        method: String,
        /// Name of the tool or prompt, or URI of the resource.
        name: Option<String>,
    },
    /// A language model.
    Inference {
        /// Requested model.
        model: Option<String>,
        /// Number of messages in the request.
        messages: usize,
        /// Number of tools that the request offers to the model.
        tools: usize,
    },
}

/// Methods of MCP with an effect, in contrast to those that only list.
const MCP_ACTIONS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

impl Call {
    /// Name of the member of an event that holds the call and its answer.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::A2a { .. } => "a2a",
            Self::Mcp { .. } => "mcp",
            Self::Inference { .. } => "inference",
        }
    }

    /// A2A context of the call, which names its session.
    pub(super) fn context(&self) -> Option<&str> {
        match self {
            Self::A2a { context, .. } => context.as_deref(),
            _ => None,
        }
    }

    /// Length of its texts, in bytes.
    pub(super) fn weight(&self) -> usize {
        let texts = match self {
            Self::A2a { method, context, task, .. } => [Some(method), context.as_ref(), task.as_ref()],
            Self::Mcp { method, name } => [Some(method), name.as_ref(), None],
            Self::Inference { model, .. } => [model.as_ref(), None, None],
        };
        texts.into_iter().flatten().fold(0, |sum: usize, text| sum.saturating_add(text.len()))
    }

    /// Members of the call in JSON.
    pub(super) fn json(&self) -> Map<String, Value> {
        let members = match self {
            Self::A2a { method, operation, binding, context, task } => {
                let (name, acts) = operation.map_or((None, false), |one| (Some(one.name), one.acts));
                json!({
                    "method": method, "operation": name, "binding": binding.text(), "contextId": context,
                    "taskId": task, "action": acts,
                })
            }
            Self::Mcp { method, name } => {
                json!({ "method": method, "name": name, "action": MCP_ACTIONS.contains(&method.as_str()) })
            }
            Self::Inference { model, messages, tools } => {
                json!({ "model": model, "messages": messages, "tools": tools, "action": true })
            }
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}
