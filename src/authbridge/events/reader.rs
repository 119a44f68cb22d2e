//! Reader of one answer: takes its messages one by one and keeps what they told together. Many or large messages are read
//! only until a limit, and then only the last two of them, so that no stream costs more than it is worth.

use super::a2a::Update;
use super::answer::{Answer, ModelAnswer, TaskAnswer, ToolAnswer};
use super::buffer::Buffer;
use super::media_type::Form;
use super::member::{Ambiguous, Found, member, object, parse, text};
use super::parser::{Protocol, RpcId, rpc_id};
use super::split::Receive;
use crate::limits::{CALL, MESSAGE_COST, STREAM_BYTES};
use countersign_core::json::{Array, Kind, Object, Value as Json};
use hyper::HeaderMap;

/// Reader of the messages of an answer.
#[derive(Debug)]
pub(super) struct AnswerReader {
    protocol: Protocol,
    /// `id` of the request, which an answer of JSON-RPC repeats; `None` if it is not known.
    id: Option<RpcId>,
    answer: Answer,
    /// Messages so far, in a stream.
    count: Option<u64>,
    /// What the messages so far cost.
    cost: usize,
    /// The last two messages, once [`STREAM_BYTES`] are read and as long as memory is not tight.
    late: [Option<Buffer>; 2],
    /// True if a message told something.
    told: bool,
}

impl AnswerReader {
    /// A reader of an answer to a request of this protocol, in this form.
    pub(super) fn new(protocol: Protocol, form: Form) -> Self {
        let answer = match protocol {
            Protocol::A2aRpc | Protocol::A2aHttp(_) | Protocol::A2aGrpc(..) => {
                Answer::A2a(TaskAnswer::default())
            }
            Protocol::Mcp => Answer::Mcp(ToolAnswer::default()),
            Protocol::Inference => Answer::Inference(ModelAnswer::default()),
        };
        let count = (form != Form::Json).then_some(0);
        Self { protocol, id: None, answer, count, cost: 0, late: [None, None], told: false }
    }

    /// Sets the `id` of the request once it is known.
    pub(super) fn answers(&mut self, id: Option<&RpcId>) {
        if self.id.is_none() {
            self.id = id.cloned();
        }
    }

    /// Reads the status of gRPC in headers or trailers; 0 is success.
    pub(super) fn status(&mut self, headers: &HeaderMap) {
        let status = headers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse::<i64>().ok());
        if let (Protocol::A2aGrpc(..), Answer::A2a(answer), Some(code @ 1..)) =
            (self.protocol, &mut self.answer, status)
        {
            answer.error = Some(code);
            self.told = true;
        }
    }

    /// A2A context that the answer has named so far.
    pub(super) fn context(&self) -> Option<&str> {
        match &self.answer {
            Answer::A2a(answer) => answer.context.as_deref(),
            _ => None,
        }
    }

    /// What the whole answer told; `None` if it told nothing.
    pub(super) fn finish(mut self) -> Option<Answer> {
        self.read_late();
        match &mut self.answer {
            Answer::A2a(answer) => answer.updates = self.count,
            Answer::Mcp(answer) => answer.messages = self.count,
            Answer::Inference(answer) => answer.chunks = self.count,
        }
        (self.told || self.count.is_some_and(|count| count > 0)).then_some(self.answer)
    }

    fn read_late(&mut self) {
        for mut message in std::mem::take(&mut self.late).into_iter().flatten() {
            self.read(message.take());
        }
    }

    fn read(&mut self, message: Vec<u8>) {
        let read = match (self.protocol, &mut self.answer) {
            (Protocol::A2aGrpc(version, operation), Answer::A2a(answer)) => {
                version.answer(operation, &message).is_some_and(|update| answer.take(update))
            }
            (protocol, answer) => {
                let Some(document) = parse(message, &CALL) else { return };
                let Some(message) = document.root().as_object() else { return };
                let read = match (protocol, answer) {
                    (Protocol::A2aRpc, Answer::A2a(answer)) => answer.rpc(message, self.id.as_ref()),
                    (_, Answer::A2a(answer)) => answer.http(message),
                    (_, Answer::Mcp(answer)) => answer.rpc(message, self.id.as_ref()),
                    (_, Answer::Inference(answer)) => answer.chunk(message),
                };
                // What is ambiguous tells nothing.
                read.unwrap_or(false)
            }
        };
        self.told |= read;
    }
}

impl Receive for AnswerReader {
    fn message(&mut self, message: Option<&mut Buffer>) {
        // The mark of some model servers for the end of a stream is no part of the answer.
        if message.as_ref().is_some_and(|message| message.bytes() == b"[DONE]") {
            return;
        }
        self.count = self.count.map(|count| count.saturating_add(1));
        let Some(message) = message else { return };
        self.cost = self.cost.saturating_add(message.bytes().len()).saturating_add(MESSAGE_COST);
        if self.cost <= STREAM_BYTES {
            self.read(message.take());
        } else if message.is_tight() {
            // A stream may live for hours, and others need the memory now.
            self.read_late();
            self.read(message.take());
        } else {
            let [first, last] = &mut self.late;
            *first = last.replace(message.split_off());
        }
    }
}

/// Result or error of a JSON-RPC answer.
enum Outcome<'d> {
    Result(Json<'d>),
    Error(Option<i64>),
}

/// Result or error of a message, if it answers the request with this `id`. An error about a request that could not be read
/// has no `id` (JSON-RPC 2.0, section 5). Some servers write both members, and null for the one that is not meant.
fn outcome<'d>(message: Object<'d>, asked: Option<&RpcId>) -> Found<Outcome<'d>> {
    if member(message, &["method"])?.is_some() {
        return Ok(None);
    }
    let (result, error, id) = (member(message, &["result"])?, member(message, &["error"])?, rpc_id(message)?);
    let error = error.filter(|error| error.kind() != Kind::Null);
    let result = result.filter(|result| error.is_none() || result.kind() != Kind::Null);
    match (result, error.map(Json::as_object)) {
        (Some(_), Some(_)) => Err(Ambiguous),
        (None, Some(Some(error))) if id.is_none() || asked.is_none() || id.as_ref() == asked => {
            Ok(Some(Outcome::Error(integer(error, "code")?)))
        }
        (Some(result), None) if asked.is_none() || id.as_ref() == asked => Ok(Some(Outcome::Result(result))),
        _ => Ok(None),
    }
}

/// The member with this name if it is an integer.
fn integer(object: Object<'_>, name: &str) -> Found<i64> {
    Ok(member(object, &[name])?.and_then(Json::as_number_literal).and_then(|number| number.parse().ok()))
}

impl TaskAnswer {
    /// Adds what a message told; false if that is nothing.
    fn take(&mut self, update: Update) -> bool {
        let Update { context, task, state } = update;
        let told = context.is_some() || task.is_some() || state.is_some();
        self.context = self.context.take().or(context);
        self.task = self.task.take().or(task);
        if let Some(state) = state {
            self.first.get_or_insert_with(|| state.clone());
            self.last = Some(state);
        }
        told
    }

    fn rpc(&mut self, message: Object<'_>, asked: Option<&RpcId>) -> Result<bool, Ambiguous> {
        match outcome(message, asked)? {
            None => Ok(false),
            Some(Outcome::Error(code)) => {
                self.error = code;
                Ok(true)
            }
            Some(Outcome::Result(result)) => Ok(result
                .as_object()
                .map(Update::of_result)
                .transpose()?
                .is_some_and(|update| self.take(update))),
        }
    }

    /// Reads an answer of HTTP+JSON, whose errors have the code of the status (AIP-193).
    fn http(&mut self, message: Object<'_>) -> Result<bool, Ambiguous> {
        if let Some(error) = object(message, &["error"])? {
            self.error = integer(error, "code")?;
            return Ok(self.error.is_some());
        }
        Ok(self.take(Update::of_result(message)?))
    }
}

impl ToolAnswer {
    fn rpc(&mut self, message: Object<'_>, asked: Option<&RpcId>) -> Result<bool, Ambiguous> {
        match outcome(message, asked)? {
            None => return Ok(false),
            Some(Outcome::Error(code)) => self.error = code,
            Some(Outcome::Result(result)) => {
                if let Some(result) = result.as_object() {
                    let failed = member(result, &["isError"])?.and_then(Json::as_bool);
                    let content = member(result, &["content"])?.and_then(Json::as_array).map(Array::len);
                    (self.failed, self.content) = (failed, content);
                }
            }
        }
        Ok(true)
    }
}

/// Members of a part of a stream that hold model and usage: in its first event for some servers, in its last for others.
const INSIDE: [&str; 2] = ["message", "response"];

impl ModelAnswer {
    /// Reads an answer or a part of one. Counts are those of the last part that has them.
    fn chunk(&mut self, message: Object<'_>) -> Result<bool, Ambiguous> {
        let mut next = self.clone();
        let told = next.part(message)?;
        *self = next;
        Ok(told)
    }

    fn part(&mut self, message: Object<'_>) -> Result<bool, Ambiguous> {
        let mut told = self.usage(message)?;
        for name in INSIDE {
            if let Some(inside) = object(message, &[name])? {
                told |= self.usage(inside)?;
            }
        }
        let choice = member(message, &["choices"])?.and_then(Json::as_array);
        let choice = choice.and_then(|choices| choices.iter().next()).and_then(Json::as_object);
        let finish = match choice {
            Some(choice) => text(choice, &["finish_reason"])?,
            None => match object(message, &["delta"])? {
                Some(delta) => text(delta, &["stop_reason"])?,
                None => text(message, &["stop_reason"])?,
            },
        };
        told |= finish.is_some();
        self.finish = finish.or(self.finish.take());
        Ok(told)
    }

    fn usage(&mut self, part: Object<'_>) -> Result<bool, Ambiguous> {
        let model = text(part, &["model"])?;
        let usage = object(part, &["usage"])?;
        let told = model.is_some() || usage.is_some();
        if self.model.is_none() {
            self.model = model;
        }
        let Some(usage) = usage else { return Ok(told) };
        let count = |name| Ok(member(usage, &[name])?.and_then(Json::as_u53));
        let either = |one: Option<u64>, other: Option<u64>, known: Option<u64>| one.or(other).or(known);
        let (prompt, completion) = (count("prompt_tokens")?, count("completion_tokens")?);
        let (input, output, total) =
            (count("input_tokens")?, count("output_tokens")?, count("total_tokens")?);
        self.prompt = either(prompt, input, self.prompt);
        self.completion = either(completion, output, self.completion);
        self.total = total.or(self.total);
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::a2a::{GrpcVersion, Operation};
    use crate::events::buffer::Pool;
    use crate::events::split::Splitter;
    use crate::limits::CALL_BYTES;
    use serde_json::{Map, Value, json};

    /// JSON of what an answer in this form told; null for nothing.
    fn told(protocol: Protocol, form: Form, id: Option<&RpcId>, body: &str) -> Value {
        let pool = Pool::default();
        let (mut splitter, mut reader) = (Splitter::new(form, &pool), AnswerReader::new(protocol, form));
        reader.answers(id);
        splitter.data(body.as_bytes(), &mut reader);
        splitter.end(&mut reader);
        reader.finish().map_or(Value::Null, |answer| {
            let mut members = Map::new();
            answer.write(&mut members);
            Value::Object(members)
        })
    }

    fn events(events: &[&str]) -> String {
        events.iter().flat_map(|event| ["data: ", event, "\n\n"]).collect()
    }

    #[test]
    fn an_answer_of_a_task_tells_its_context_and_how_it_went() {
        let rpc = |body: &str| told(Protocol::A2aRpc, Form::Json, Some(&RpcId::Number(1.0)), body);
        let done = json!({ "contextId": "c", "taskId": "t", "firstStatus": "completed", "finalStatus": "completed" });
        let task = r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"completed"}}"#;
        assert_eq!(rpc(&format!(r#"{{"id":1,"result":{task}}}"#)), done);
        assert_eq!(rpc(&format!(r#"{{"id":1.0,"result":{{"task":{task}}}}}"#)), done);
        assert_eq!(
            rpc(r#"{"id":1,"error":{"code":-32001,"message":"x"}}"#),
            json!({ "error": { "code": -32001 } })
        );
        assert_eq!(rpc(&format!(r#"{{"id":1,"result":{task},"error":null}}"#)), done);
        for failed in [r#"{"id":1,"result":null,"error":{"code":1}}"#, r#"{"id":1,"error":{"code":1}}"#] {
            assert_eq!(rpc(failed), json!({ "error": { "code": 1 } }), "{failed}");
        }
        assert_eq!(rpc(r#"{"id":null,"error":{"code":-32700}}"#), json!({ "error": { "code": -32700 } }));
        for nothing in [
            format!(r#"{{"id":2,"result":{task}}}"#),
            format!(r#"{{"id":1,"result":{task},"error":{{"code":1}}}}"#),
            format!(r#"{{"id":1,"result":{task},"error":"x"}}"#),
            r#"{"id":1,"result":null,"error":null}"#.to_owned(),
            r#"{"id":1,"result":null,"error":"x"}"#.to_owned(),
            format!(r#"{{"id":1,"result":{task},"RESULT":{task}}}"#),
            format!(r#"{{"id":1,"id":1,"result":{task}}}"#),
            format!(r#"[{{"id":1,"result":{task}}}]"#),
            format!(r#"{{"id":1,"result":{}1{}}}"#, "[".repeat(40), "]".repeat(40)),
            r#"{"id":1,"result":null}"#.to_owned(),
            String::new(),
            "<html>".to_owned(),
        ] {
            assert_eq!(rpc(&nothing), Value::Null, "{nothing}");
        }
        let http = Protocol::A2aHttp(Operation::named("SendMessage").unwrap());
        assert_eq!(told(http, Form::Json, None, &format!(r#"{{"task":{task}}}"#)), done);
        assert_eq!(
            told(http, Form::Json, None, r#"{"error":{"code":404}}"#),
            json!({ "error": { "code": 404 } })
        );
        assert_eq!(told(http, Form::Json, None, r#"{"name":"an agent"}"#), Value::Null);
    }

    #[test]
    fn a_failure_of_grpc_is_an_error() {
        let operation = Operation::named("GetTask").unwrap();
        for (protocol, status, expected) in [
            (Protocol::A2aGrpc(GrpcVersion::V1, operation), "5", Some(Some(5))),
            (Protocol::A2aGrpc(GrpcVersion::V1, operation), "0", None),
            (Protocol::A2aGrpc(GrpcVersion::V1, operation), "x", None),
            (Protocol::A2aRpc, "5", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", status.parse().unwrap());
            let mut reader = AnswerReader::new(protocol, Form::Grpc);
            reader.status(&headers);
            let error = reader.finish().map(|answer| match answer {
                Answer::A2a(answer) => answer.error,
                other => panic!("{other:?}"),
            });
            assert_eq!(error, expected, "{protocol:?} {status}");
        }
    }

    #[test]
    fn a_stream_tells_the_first_and_the_last_state() {
        let update = |state: &str| {
            format!(
                r#"{{"id":1,"result":{{"statusUpdate":{{"taskId":"t","contextId":"c","status":{{"state":"{state}"}}}}}}}}"#
            )
        };
        let (working, done) = (update("TASK_STATE_WORKING"), update("TASK_STATE_COMPLETED"));
        let other = working.replace("\"c\"", "\"d\"");
        let read =
            |all: &[&str]| told(Protocol::A2aRpc, Form::Events, Some(&RpcId::Number(1.0)), &events(all));
        let expected = json!({
            "contextId": "c", "taskId": "t", "firstStatus": "TASK_STATE_WORKING", "finalStatus": "TASK_STATE_COMPLETED",
            "updates": 4,
        });
        assert_eq!(read(&[&working, &other, "{", &done]), expected);
        // A million of them cost as much as some thousands, and the last one is still read.
        let mut many = vec![working.as_str(); 100_000];
        many.push(&done);
        let read = read(&many);
        assert_eq!((&read["updates"], &read["finalStatus"]), (&json!(100_001), &expected["finalStatus"]));
    }

    #[test]
    fn a_long_stream_keeps_nothing_while_memory_is_tight() {
        let pool = Pool::default();
        let message = |state: &str| {
            let text = "x".repeat(60_000);
            let update = format!(
                r#"{{"result":{{"kind":"status-update","status":{{"state":"{state}"}},"text":"{text}"}}}}"#
            );
            events(&[&update])
        };
        let (working, done) = (message("working"), message("completed"));
        let mut others = Vec::new();
        for (taken, kept) in [(0, true), (40, false)] {
            others.resize_with(taken, || pool.buffer());
            for buffer in &mut others {
                buffer.push(&vec![1; CALL_BYTES]).unwrap();
            }
            let before = pool.held();
            let mut reader = AnswerReader::new(Protocol::A2aRpc, Form::Events);
            let mut splitter = Splitter::new(Form::Events, &pool);
            for _ in 0..80 {
                splitter.data(working.as_bytes(), &mut reader);
            }
            splitter.data(done.as_bytes(), &mut reader);
            assert_eq!(pool.held() > before, kept, "{taken}");
            let Some(Answer::A2a(answer)) = reader.finish() else { panic!("{taken}") };
            let states = (answer.first.as_deref(), answer.last.as_deref(), answer.updates);
            assert_eq!(states, (Some("working"), Some("completed"), Some(81)), "{taken}");
        }
    }

    #[test]
    fn an_answer_of_a_tool_tells_whether_it_failed() {
        let id = RpcId::Text("a".to_owned());
        let unary = |body: &str| told(Protocol::Mcp, Form::Json, Some(&id), body);
        let result = r#"{"id":"a","result":{"content":[{},{}],"isError":true}}"#;
        assert_eq!(unary(result), json!({ "isError": true, "content": 2 }));
        assert_eq!(unary(r#"{"id":"a","result":{"tools":[]}}"#), json!({}));
        assert_eq!(unary(r#"{"id":"a","error":{"code":-32602}}"#), json!({ "error": { "code": -32602 } }));
        let streamed = [
            r#"{"method":"notifications/progress","params":{}}"#,
            r#"{"id":"b","result":{"isError":false}}"#,
            r#"{"id":"a","method":"sampling/createMessage","params":{}}"#,
            result,
        ];
        let read = told(Protocol::Mcp, Form::Events, Some(&id), &events(&streamed));
        assert_eq!(read, json!({ "isError": true, "content": 2, "messages": 4 }));
    }

    #[test]
    fn an_answer_of_a_model_tells_its_tokens() {
        let read = |form, body: &str| told(Protocol::Inference, form, None, body);
        let unary = r#"{"model":"m","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,
            "total_tokens":7}}"#;
        let expected = json!({
            "model": "m", "promptTokens": 3, "completionTokens": 4, "totalTokens": 7, "finishReason": "stop",
        });
        assert_eq!(read(Form::Json, unary), expected);
        let openai = events(&[
            r#"{"model":"m","choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#,
            r#"{"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#,
            "[DONE]",
        ]);
        let mut streamed = expected;
        streamed["chunks"] = json!(3);
        assert_eq!(read(Form::Events, &openai), streamed);
        let anthropic = events(&[
            r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":3,"output_tokens":1}}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#,
            r#"{"type":"message_stop"}"#,
        ]);
        let expected = json!({ "model": "m", "promptTokens": 3, "completionTokens": 4, "finishReason": "end_turn", "chunks": 4 });
        assert_eq!(read(Form::Events, &anthropic), expected);
        let strange =
            r#"{"usage":{"prompt_tokens":1e400,"completion_tokens":-1,"total_tokens":18446744073709551616}}"#;
        assert_eq!(read(Form::Json, strange), Value::Null);
        let strange =
            r#"{"usage":{"prompt_tokens":1e99,"completion_tokens":-1,"total_tokens":18446744073709551616}}"#;
        assert_eq!(read(Form::Json, strange), json!({}));
        let twice = r#"{"usage":{"prompt_tokens":1,"Prompt_Tokens":2}}"#;
        assert_eq!(read(Form::Json, twice), Value::Null);
    }
}
