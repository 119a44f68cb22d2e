//! Plugins that read calls, and what they read of a request: where its head says enough the head, else the body. A body that
//! two readers could understand differently, for example with duplicate members, is not interpreted, so that an event never
//! shows another call than the agent sees.

use super::a2a::{GrpcVersion, Operation, Update};
use super::call::{Binding, Call};
use super::media_type::Form;
use super::member::{Ambiguous, Found, member, object, parse, text};
use super::text::bounded;
use crate::glob::Glob;
use crate::limits::CALL;
use countersign_core::json::{Array, Object, Value as Json};
use countersign_core::text::Quoted;
use hyper::Method;
use std::sync::Arc;

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

/// Protocol of a request and of its answer, as the request's head tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A2A by JSON-RPC; the body names the operation.
    A2aRpc,
    /// A2A by HTTP+JSON.
    A2aHttp(&'static Operation),
    /// A2A by gRPC.
    A2aGrpc(GrpcVersion, &'static Operation),
    /// MCP by streamable HTTP.
    Mcp,
    /// A language model.
    Inference,
}

/// `id` of a JSON-RPC message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RpcId {
    /// A text.
    Text(String),
    /// A number, which may be written in several ways.
    Number(f64),
}

/// Call of a request, and what its answer must repeat.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// Shared by the events of request and answer.
    pub(super) call: Arc<Call>,
    pub(super) id: Option<RpcId>,
}

impl Asked {
    fn new(call: Call, id: Option<RpcId>) -> Self {
        Self { call: Arc::new(call), id }
    }
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
    /// Protocol of a request with this head; `None` if it is not for this parser. Nothing of the answer is read then.
    pub(super) fn protocol(&self, method: &Method, path: &str, form: Option<Form>) -> Option<Protocol> {
        match self {
            Self::A2a if form == Some(Form::Grpc) => {
                GrpcVersion::of_path(path).map(|(version, operation)| Protocol::A2aGrpc(version, operation))
            }
            Self::A2a => match Operation::at(method, path) {
                Some(operation) => Some(Protocol::A2aHttp(operation)),
                None => (method == Method::POST && form == Some(Form::Json)).then_some(Protocol::A2aRpc),
            },
            Self::Mcp(paths) => is_at(paths, path).then_some(Protocol::Mcp),
            Self::Inference(paths) => is_at(paths, path).then_some(Protocol::Inference),
        }
    }
}

fn is_at(paths: &[Glob], path: &str) -> bool {
    paths.iter().any(|glob| glob.matches(path))
}

impl Protocol {
    /// True if bodies of requests in this form are read.
    pub(super) fn reads(self, form: Form) -> bool {
        form == if matches!(self, Self::A2aGrpc(..)) { Form::Grpc } else { Form::Json }
    }

    /// True if bodies of answers in this form are read.
    pub(super) fn answers_in(self, form: Form) -> bool {
        match self {
            Self::A2aGrpc(..) => form == Form::Grpc,
            Self::A2aRpc | Self::A2aHttp(_) | Self::Mcp | Self::Inference => form != Form::Grpc,
        }
    }

    /// The call of a request whose body is not read or empty; `None` where only a body can tell.
    pub(super) fn call_of_head(self, method: &str) -> Option<Asked> {
        let call = match self {
            Self::A2aHttp(operation) => {
                a2a(operation.name, Some(operation), Binding::HttpJson, Update::default())
            }
            Self::A2aGrpc(_, operation) => {
                a2a(operation.name, Some(operation), Binding::Grpc, Update::default())
            }
            Self::Mcp if method == "GET" => Call::Mcp { method: "$transport/stream".to_owned(), name: None },
            Self::Mcp if method == "DELETE" => {
                Call::Mcp { method: "$transport/terminate".to_owned(), name: None }
            }
            Self::A2aRpc | Self::Mcp | Self::Inference => return None,
        };
        Some(Asked::new(call, None))
    }

    /// The call of a request with this body, the first message of it for gRPC; `None` if there is none to tell.
    pub(super) fn call_of_body(self, method: &str, body: Vec<u8>) -> Option<Asked> {
        if let Self::A2aGrpc(version, operation) = self {
            let named = version.request(operation, &body)?;
            return Some(Asked::new(a2a(operation.name, Some(operation), Binding::Grpc, named), None));
        }
        if body.is_empty() {
            return self.call_of_head(method);
        }
        let document = parse(body, &CALL)?;
        let body = document.root().as_object()?;
        match self {
            Self::A2aRpc => a2a_by_rpc(body).ok()?,
            Self::A2aHttp(operation) => {
                let named = Update::of_request(body).ok()?;
                Some(Asked::new(a2a(operation.name, Some(operation), Binding::HttpJson, named), None))
            }
            Self::Mcp => mcp(body).ok()?,
            Self::Inference => Some(Asked::new(inference(body).ok()?, None)),
            Self::A2aGrpc(..) => None,
        }
    }
}

fn a2a(method: &str, operation: Option<&'static Operation>, binding: Binding, named: Update) -> Call {
    Call::A2a { method: method.to_owned(), operation, binding, context: named.context, task: named.task }
}

fn a2a_by_rpc(body: Object<'_>) -> Found<Asked> {
    let Some(method) = text(body, &["method"])? else { return Ok(None) };
    let named = object(body, &["params"])?.map(Update::of_request).transpose()?.unwrap_or_default();
    let call = a2a(&method, Operation::named(&method), Binding::JsonRpc, named);
    Ok(Some(Asked::new(call, rpc_id(body)?)))
}

fn mcp(body: Object<'_>) -> Found<Asked> {
    let Some(method) = text(body, &["method"])? else { return Ok(None) };
    let params = object(body, &["params"])?;
    let inside = |name| params.map(|params| text(params, &[name])).transpose();
    let name = match inside("name")?.flatten() {
        None => inside("uri")?.flatten(),
        name => name,
    };
    Ok(Some(Asked::new(Call::Mcp { method, name }, rpc_id(body)?)))
}

/// The `id` of a JSON-RPC message; `None` if it has none, or null.
pub(super) fn rpc_id(message: Object<'_>) -> Found<RpcId> {
    let id = member(message, &["id"])?;
    let text = id.and_then(Json::as_str).map(|text| RpcId::Text(bounded(text)));
    Ok(text.or_else(|| id.and_then(Json::as_f64).map(RpcId::Number)))
}

fn inference(body: Object<'_>) -> Result<Call, Ambiguous> {
    let count = |name| Ok(member(body, &[name])?.and_then(Json::as_array).map_or(0, Array::len));
    Ok(Call::Inference {
        model: text(body, &["model"])?,
        messages: count("messages")?,
        tools: count("tools")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(protocol: Protocol, body: &str) -> Option<Call> {
        protocol.call_of_body("POST", body.as_bytes().to_vec()).map(|asked| Call::clone(&asked.call))
    }

    fn operation(name: &str) -> &'static Operation {
        Operation::named(name).unwrap()
    }

    #[test]
    fn the_head_tells_which_bodies_are_read() {
        let (post, get) = (Method::POST, Method::GET);
        let (json, grpc) = (Some(Form::Json), Some(Form::Grpc));
        let send = operation("SendMessage");
        for (method, path, form, expected) in [
            (&post, "/", json, Some(Protocol::A2aRpc)),
            (&post, "/", None, None),
            (&get, "/", json, None),
            (&get, "/.well-known/agent-card.json", None, None),
            (&post, "/v1/message:send", json, Some(Protocol::A2aHttp(send))),
            (&get, "/tasks/t", None, Some(Protocol::A2aHttp(operation("GetTask")))),
            (
                &post,
                "/lf.a2a.v1.A2AService/SendMessage",
                grpc,
                Some(Protocol::A2aGrpc(GrpcVersion::V1, send)),
            ),
            (&post, "/a2a.v1.A2AService/SendMessage", grpc, Some(Protocol::A2aGrpc(GrpcVersion::V03, send))),
            (&post, "/other.Service/SendMessage", grpc, None),
        ] {
            assert_eq!(Parser::A2a.protocol(method, path, form), expected, "{method} {path}");
        }
        let mcp = Parser::Mcp(parse_paths(&["/mcp".to_owned()]).unwrap());
        assert_eq!(mcp.protocol(&get, "/mcp", None), Some(Protocol::Mcp));
        assert_eq!(mcp.protocol(&post, "/other", json), None);
        assert!(Protocol::Mcp.reads(Form::Json) && !Protocol::Mcp.reads(Form::Grpc));
    }

    #[test]
    fn calls_are_read_by_their_exact_names() {
        let body = r#"{"id":7,"method":"SendMessage","params":{"message":{"contextId":"c1"}}}"#;
        let asked = Protocol::A2aRpc.call_of_body("POST", body.into()).unwrap();
        let send = Some(operation("SendMessage"));
        let named = Update { context: Some("c1".into()), ..Update::default() };
        assert_eq!(*asked.call, a2a("SendMessage", send, Binding::JsonRpc, named));
        assert_eq!(asked.id, Some(RpcId::Number(7.0)));
        let unknown = called(Protocol::A2aRpc, r#"{"method":"message/sent"}"#).unwrap();
        assert_eq!(unknown, a2a("message/sent", None, Binding::JsonRpc, Update::default()));
        assert_eq!(unknown.json()["action"], false);
        let http = Protocol::A2aHttp(operation("SendMessage"));
        let call = called(http, r#"{"message":{"contextId":"c2","taskId":"t"}}"#).unwrap().json();
        assert_eq!(
            (&call["contextId"], &call["taskId"], &call["action"]),
            (&"c2".into(), &"t".into(), &true.into())
        );
        let get = Protocol::A2aHttp(operation("GetTask"));
        assert_eq!(get.call_of_body("GET", vec![]).unwrap().call.json()["method"], "GetTask");
        let call = called(Protocol::Mcp, r#"{"method":"tools/call","params":{"name":"delete"}}"#);
        assert_eq!(call, Some(Call::Mcp { method: "tools/call".into(), name: Some("delete".into()) }));
        let ended = Protocol::Mcp.call_of_body("DELETE", vec![]).unwrap();
        assert_eq!(ended.call.json()["method"], "$transport/terminate");
        let model = called(Protocol::Inference, r#"{"model":"m","messages":[{},{}]}"#);
        assert_eq!(model, Some(Call::Inference { model: Some("m".into()), messages: 2, tools: 0 }));
    }

    #[test]
    fn a_body_that_readers_read_differently_is_no_call() {
        for body in [
            r#"{"method":"ping","method":"tools/call"}"#,
            r#"{"method":"ping","METHOD":"tools/call"}"#,
            r#"[{"method":"tools/call"}]"#,
            r#"{"METHOD":"tools/call"}"#,
            "{",
        ] {
            assert_eq!(called(Protocol::Mcp, body), None, "{body}");
            assert_eq!(called(Protocol::A2aRpc, body), None, "{body}");
        }
        assert_eq!(
            called(Protocol::Mcp, r#"{"method":"tools/call","params":{"name":"a","Name":"b"}}"#),
            None
        );
        let contexts = r#"{"method":"SendMessage","params":{"message":{"contextId":"a","context_id":"b"}}}"#;
        assert_eq!(called(Protocol::A2aRpc, contexts), None);
        let deep = format!(r#"{{"method":"a","params":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
        assert_eq!(called(Protocol::A2aRpc, &deep), None);
    }
}
