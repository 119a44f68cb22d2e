//! Calls in request bodies: A2A, MCP, or a language model. A body that two readers could understand differently, for
//! example with duplicate members, is not interpreted, so that an event never shows another call than the agent sees.

use super::text::bounded;
use crate::glob::Glob;
use countersign_core::json::{Array, Document, JsonLimits, Numbers, Object, Value as Json};
use countersign_core::text::Quoted;
use serde_json::{Value, json};

/// Call that a parser recognized in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A2A.
    A2a {
        /// JSON-RPC method.
        method: String,
        /// `contextId` to which the call belongs.
        context: Option<String>,
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

/// Plugin that reads calls.
#[derive(Clone, Debug)]
pub(crate) enum Parser {
    /// `a2a-parser`
    A2a,
    /// `mcp-parser`, at these paths.
    Mcp(Vec<Glob>),
    /// `inference-parser`, at these paths.
    Inference(Vec<Glob>),
}

/// Parses the paths of a parser. The error is a sentence.
pub(crate) fn parse_paths(paths: &[String]) -> Result<Vec<Glob>, String> {
    let mut globs = Vec::with_capacity(paths.len());
    for path in paths {
        let glob =
            Glob::parse(path, b'/').map_err(|problem| format!("the pattern {} {problem}", Quoted(path)))?;
        globs.push(glob);
    }
    Ok(globs)
}

impl Parser {
    /// True if the parser reads requests for `path`.
    pub(crate) fn reads(&self, path: &str) -> bool {
        match self {
            Self::A2a => true,
            Self::Mcp(paths) | Self::Inference(paths) => paths.iter().any(|glob| glob.matches(path)),
        }
    }

    /// Parses the body of a request; `None` if it is not a call of this protocol.
    pub(crate) fn parse(&self, method: &str, body: &[u8]) -> Option<Call> {
        if body.is_empty() {
            let synthetic = match (self, method) {
                (Self::Mcp(_), "GET") => "$transport/stream",
                (Self::Mcp(_), "DELETE") => "$transport/terminate",
                _ => return None,
            };
            return Some(Call::Mcp { method: synthetic.to_owned(), name: None });
        }
        let document = Document::parse(body.to_vec(), &JsonLimits::CARD, Numbers::Binary64).ok()?;
        let body = document.root().as_object()?;
        match self {
            Self::A2a => a2a(body),
            Self::Mcp(_) => mcp(body),
            Self::Inference(_) => Some(inference(body)),
        }
    }
}

fn text(object: Object<'_>, name: &str) -> Option<String> {
    object.get(name).and_then(Json::as_str).map(bounded)
}

fn a2a(body: Object<'_>) -> Option<Call> {
    let method = text(body, "method")?;
    let params = body.get("params").and_then(Json::as_object);
    let message = params.and_then(|params| params.get("message")).and_then(Json::as_object);
    let context = params
        .and_then(|params| text(params, "contextId").or_else(|| text(params, "sessionId")))
        .or_else(|| message.and_then(|message| text(message, "contextId")));
    Some(Call::A2a { method, context })
}

fn mcp(body: Object<'_>) -> Option<Call> {
    let method = text(body, "method")?;
    let params = body.get("params").and_then(Json::as_object);
    let name = params.and_then(|params| text(params, "name").or_else(|| text(params, "uri")));
    Some(Call::Mcp { method, name })
}

fn inference(body: Object<'_>) -> Call {
    let count = |name: &str| body.get(name).and_then(Json::as_array).map_or(0, Array::len);
    Call::Inference { model: text(body, "model"), messages: count("messages"), tools: count("tools") }
}

/// Methods with an effect, in contrast to those that only list or read state: A2A 0.3 and 1.0, and MCP.
const ACTIONS: [&str; 7] = [
    "message/send",
    "message/stream",
    "SendMessage",
    "SendStreamingMessage",
    "tools/call",
    "prompts/get",
    "resources/read",
];

impl Call {
    /// Name of the member of an event that holds the call.
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

    pub(super) fn weight(&self) -> usize {
        let (first, second) = match self {
            Self::A2a { method, context } => (Some(method), context.as_ref()),
            Self::Mcp { method, name } => (Some(method), name.as_ref()),
            Self::Inference { model, .. } => (None, model.as_ref()),
        };
        first.into_iter().chain(second).fold(0, |sum: usize, text| sum.saturating_add(text.len()))
    }

    pub(super) fn json(&self) -> Value {
        let is_action = |method: &str| ACTIONS.contains(&method);
        match self {
            Self::A2a { method, context } => {
                json!({ "method": method, "contextId": context, "action": is_action(method) })
            }
            Self::Mcp { method, name } => {
                json!({ "method": method, "name": name, "action": is_action(method) })
            }
            Self::Inference { model, messages, tools } => {
                json!({ "model": model, "messages": messages, "tools": tools, "action": true })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_by_their_exact_names() {
        let a2a =
            Parser::A2a.parse("POST", br#"{"method":"SendMessage","params":{"message":{"contextId":"c1"}}}"#);
        assert_eq!(a2a, Some(Call::A2a { method: "SendMessage".into(), context: Some("c1".into()) }));
        let mcp = Parser::Mcp(vec![]);
        let call = mcp.parse("POST", br#"{"method":"tools/call","params":{"name":"delete"}}"#);
        assert_eq!(call, Some(Call::Mcp { method: "tools/call".into(), name: Some("delete".into()) }));
        assert_eq!(mcp.parse("DELETE", b"").unwrap().json()["method"], "$transport/terminate");
        let model = Parser::Inference(vec![]).parse("POST", br#"{"model":"m","messages":[{},{}]}"#);
        assert_eq!(model, Some(Call::Inference { model: Some("m".into()), messages: 2, tools: 0 }));
    }

    #[test]
    fn a_body_that_readers_read_differently_is_no_call() {
        let mcp = Parser::Mcp(vec![]);
        for body in [
            &br#"{"method":"ping","method":"tools/call"}"#[..],
            br#"[{"method":"tools/call"}]"#,
            br#"{"METHOD":"tools/call"}"#,
            b"{",
        ] {
            assert_eq!(mcp.parse("POST", body), None);
        }
    }
}
