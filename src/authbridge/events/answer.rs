//! Answer to a call, as events tell it: how a task went, whether a tool failed, how many tokens a model used.
//! Texts of the conversation are not kept.

use serde_json::{Map, Value, json};

/// What the messages of an answer told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A2A.
    A2a(TaskAnswer),
    /// MCP.
    Mcp(ToolAnswer),
    /// A language model.
    Inference(ModelAnswer),
}

/// Answer of an A2A agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskAnswer {
    /// First `contextId` that it names.
    pub(super) context: Option<String>,
    /// First task that it names.
    pub(super) task: Option<String>,
    /// First state of the task, as the agent wrote it.
    pub(super) first: Option<String>,
    /// Last state of the task.
    pub(super) last: Option<String>,
    /// Code of an error of JSON-RPC, HTTP+JSON or gRPC.
    pub(super) error: Option<i64>,
    /// Messages of a stream.
    pub(super) updates: Option<u64>,
}

/// Answer of an MCP server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ToolAnswer {
    /// Code of a JSON-RPC error.
    pub(super) error: Option<i64>,
    /// `isError` of the result of a tool.
    pub(super) failed: Option<bool>,
    /// Number of content items of the result.
    pub(super) content: Option<usize>,
    /// Messages of a stream: the answer, and what the server said or asked before.
    pub(super) messages: Option<u64>,
}

/// Answer of a language model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelAnswer {
    /// Model that answered.
    pub(super) model: Option<String>,
    /// Tokens of the request, of the answer, and of both.
    pub(super) prompt: Option<u64>,
    pub(super) completion: Option<u64>,
    pub(super) total: Option<u64>,
    /// Why the answer ends.
    pub(super) finish: Option<String>,
    /// Parts of a stream.
    pub(super) chunks: Option<u64>,
}

impl Answer {
    /// Name of the member of an event that holds the call and its answer.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::A2a(_) => "a2a",
            Self::Mcp(_) => "mcp",
            Self::Inference(_) => "inference",
        }
    }

    /// Length of its texts, in bytes.
    pub(super) fn weight(&self) -> usize {
        let texts = match self {
            Self::A2a(TaskAnswer { context, task, first, last, .. }) => [context, task, first, last],
            Self::Mcp(_) => [&None; 4],
            Self::Inference(ModelAnswer { model, finish, .. }) => [model, finish, &None, &None],
        };
        texts.into_iter().flatten().fold(0, |sum: usize, text| sum.saturating_add(text.len()))
    }

    /// Adds what the answer told to the members of the call.
    pub(super) fn write(&self, members: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Value| {
            if !value.is_null() {
                members.insert(name.to_owned(), value);
            }
        };
        let error = |code: &Option<i64>| code.map_or(Value::Null, |code| json!({ "code": code }));
        match self {
            Self::A2a(TaskAnswer { context, task, first, last, error: code, updates }) => {
                set("contextId", json!(context));
                set("taskId", json!(task));
                set("firstStatus", json!(first));
                set("finalStatus", json!(last));
                set("updates", json!(updates));
                set("error", error(code));
            }
            Self::Mcp(ToolAnswer { error: code, failed, content, messages }) => {
                set("isError", json!(failed));
                set("content", json!(content));
                set("messages", json!(messages));
                set("error", error(code));
            }
            Self::Inference(ModelAnswer { model, prompt, completion, total, finish, chunks }) => {
                set("model", json!(model));
                set("promptTokens", json!(prompt));
                set("completionTokens", json!(completion));
                set("totalTokens", json!(total));
                set("finishReason", json!(finish));
                set("chunks", json!(chunks));
            }
        }
    }
}
