//! What session events tell about answers: A2A, MCP and language models, in one piece and as streams that are not held up.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend, Step};
use countersign_sidecar_tests::http::{self, Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ISSUER: &str = "https://id.example/realms/agents";

struct Stage {
    scene: Scene,
    key: SigningKey,
    _jwks: JwksServer,
}

fn stage(parsers: &str) -> Stage {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let settings = Settings {
        inbound: format!("{}\n{parsers}", jwt_validation(ISSUER, &jwks.url(), "agent-a")),
        outbound: "- mcp-parser\n- inference-parser".to_owned(),
        ..Settings::default()
    };
    let scene = Scene::start(&settings, &Options::default()).unwrap();
    Stage { scene, key, _jwks: jwks }
}

impl Stage {
    fn token(&self, subject: &str) -> String {
        self.key.sign(&ordinary_claims(ISSUER, "agent-a", subject)).unwrap()
    }

    fn call(&self, subject: &str, body: &Value) -> Request {
        Request::new("POST", "/").bearer(&self.token(subject)).json(body)
    }

    /// IDs and events of all sessions.
    fn sessions(&self) -> Vec<(String, Vec<Value>)> {
        let get = |path: &str| -> Value {
            http::get(&format!("http://{}{path}", self.scene.at.sessions)).unwrap().json().unwrap()
        };
        let list = get("/v1/sessions");
        let ids = list["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap());
        let events = |id: &str| get(&format!("/v1/sessions/{id}"))["events"].as_array().unwrap().clone();
        ids.map(|id| (id.to_owned(), events(id))).collect()
    }

    /// The only event of an answer, once it is there, with the ID of its session.
    fn answered(&self) -> (String, Value) {
        let mut found = None;
        let there = || {
            let all = self
                .sessions()
                .into_iter()
                .flat_map(|(id, events)| events.into_iter().map(move |event| (id.clone(), event)));
            let mut answers = all.filter(|(_, event)| event["phase"] == "response");
            found = answers.next();
            Ok(found.is_some())
        };
        until("the event of the answer", Duration::from_secs(5), there).unwrap();
        found.unwrap()
    }
}

fn task(state: &str) -> Value {
    json!({ "kind": "task", "id": "t1", "contextId": "c1", "status": { "state": state } })
}

fn send() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "message/send", "params": { "message": { "messageId": "m" } } })
}

#[test]
fn an_answer_of_a_task_is_told_and_names_the_session() {
    let stage = stage("- a2a-parser");
    stage
        .scene
        .agent
        .answer(Answer::json(&json!({ "jsonrpc": "2.0", "id": 1, "result": task("completed") })));
    assert_eq!(stage.scene.call(&stage.call("alice", &send())).unwrap().status, 200);
    let (id, event) = stage.answered();
    assert!(id.starts_with("c1."), "{id}");
    assert_eq!(event["a2a"]["operation"], "SendMessage", "{event}");
    assert_eq!((&event["a2a"]["taskId"], &event["a2a"]["finalStatus"]), (&json!("t1"), &json!("completed")));
    let sessions = stage.sessions();
    assert_eq!((sessions.len(), sessions[0].1.len()), (1, 2), "{sessions:?}");
}

#[test]
fn a_stream_is_read_while_it_passes_and_is_not_held_up() {
    const PAUSE: Duration = Duration::from_millis(700);
    let stage = stage("- a2a-parser");
    let update = |state: &str| {
        let status = json!({ "kind": "status-update", "taskId": "t1", "contextId": "c1", "status": { "state": state } });
        json!({ "jsonrpc": "2.0", "id": 1, "result": status }).to_string()
    };
    let events = [update("submitted"), update("working"), update("completed")];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    // The first event comes at once, the others after a pause each.
    let mut steps = vec![Step::Data(format!("data: {}\n\n", events[0]).into())];
    for event in &events[1..] {
        steps.extend([Step::Wait(PAUSE), Step::Data(format!("data: {event}\n\n").into())]);
    }
    let answer = Answer::status(200).header("content-type", "text/event-stream; charset=utf-8").steps(steps);
    stage.scene.agent.answer(answer);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": { "message": {} } });
    let inbound = stage.scene.at.inbound.to_string();
    let mut connection = Connection::open(&inbound).unwrap();
    let began = Instant::now();
    connection.write(&stage.call("alice", &body).bytes(&inbound)).unwrap();
    connection.read_until(b"submitted").unwrap();
    assert!(began.elapsed() < PAUSE, "the first event waited for the second");
    // The session has its name while the stream goes on.
    let named = || Ok(stage.sessions().iter().any(|(id, _)| id.starts_with("c1.")));
    until("the session", Duration::from_secs(5), named).unwrap();
    connection.read_until(b"working").unwrap();
    connection.read_until(b"completed").unwrap();
    let (id, event) = stage.answered();
    assert!(id.starts_with("c1."), "{id}");
    let told = ["firstStatus", "finalStatus", "updates"].map(|name| event["a2a"][name].clone());
    assert_eq!(told, [json!("submitted"), json!("completed"), json!(3)], "{event}");
}

#[test]
fn calls_of_the_agent_go_with_the_session_that_the_answer_names() {
    let stage = stage("- a2a-parser");
    let tool =
        Backend::start(Answer::json(&json!({ "id": 7, "result": { "content": [{}], "isError": true } })))
            .unwrap();
    // The agent calls its tool with Alice's token before it answers her.
    let (token, outbound) = (stage.token("alice"), stage.scene.at.outbound.to_string());
    let hers = Request::new("POST", "/").bearer(&token).json(&send());
    let authority = tool.address().to_string();
    stage.scene.agent.answer_with(move |_| {
        let call =
            json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "delete" } });
        let request = Request::new("POST", &format!("http://{authority}/mcp")).header("Host", &authority);
        assert_eq!(request.bearer(&token).json(&call).send(&outbound).unwrap().status, 200);
        Answer::json(
            &json!({ "jsonrpc": "2.0", "id": 1, "result": { "task": task("TASK_STATE_COMPLETED") } }),
        )
    });
    assert_eq!(stage.scene.call(&stage.call("bob", &send())).unwrap().status, 200);
    assert_eq!(stage.scene.call(&hers).unwrap().status, 200);
    let sessions = || {
        let mut sessions = stage.sessions();
        sessions.retain(|(id, events)| {
            id.starts_with("c1.") && events.iter().any(|event| event["mcp"]["name"] == "delete")
        });
        sessions
    };
    until("the call in its session", Duration::from_secs(5), || Ok(!sessions().is_empty())).unwrap();
    let sessions = sessions();
    let [(_, events)] = sessions.as_slice() else { panic!("{sessions:?}") };
    let subjects = events.iter().filter_map(|event| event["identity"]["subject"].as_str());
    assert!(subjects.clone().all(|subject| subject == "alice") && subjects.count() > 0, "{events:?}");
    let answer =
        events.iter().find(|event| event["phase"] == "response" && event["direction"] == "outbound").unwrap();
    assert_eq!((&answer["mcp"]["isError"], &answer["mcp"]["content"]), (&json!(true), &json!(1)), "{answer}");
}

#[test]
fn tokens_of_a_model_are_told() {
    let stage = stage("- a2a-parser");
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 });
    let last = json!({ "model": "m", "choices": [], "usage": usage }).to_string();
    let first = r#"{"model":"m","choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    let model = Backend::start(Answer::events(&[first, &last, "[DONE]"], Duration::from_millis(10))).unwrap();
    let authority = model.address().to_string();
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "geheim" }], "stream": true });
    let request = Request::new("POST", &format!("http://{authority}/v1/chat/completions"));
    let request = request.header("Host", &authority).json(&body);
    assert_eq!(request.send(&stage.scene.at.outbound.to_string()).unwrap().status, 200);
    let (_, event) = stage.answered();
    let told = ["promptTokens", "completionTokens", "totalTokens", "finishReason", "chunks"];
    let told = told.map(|name| event["inference"][name].clone());
    assert_eq!(told, [json!(3), json!(4), json!(7), json!("stop"), json!(2)], "{event}");
    assert!(!event.to_string().contains("geheim"), "{event}");
}

#[test]
fn what_cannot_be_read_passes_unread() {
    let stage = stage("- a2a-parser");
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": task("completed") });
    let padded = |padding: usize| format!("{answer}{}", " ".repeat(padding));
    let bodies = [
        ("application/json", "gzip", answer.to_string()),
        ("text/plain", "identity", answer.to_string()),
        ("application/json", "identity", padded(70_000)),
        (
            "application/json",
            "identity",
            answer.to_string().replace("\"result\"", "\"result\":{},\"result\""),
        ),
        ("application/json", "identity", format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000))),
        ("text/event-stream", "identity", format!("data: {}", "x".repeat(2_000_000))),
    ];
    for (kind, coding, body) in &bodies {
        let told = Answer::status(200).header("content-type", kind).header("content-encoding", coding);
        stage.scene.agent.answer(told.body(body.as_bytes()));
        let reply = stage.scene.call(&stage.call("alice", &send())).unwrap();
        assert_eq!((reply.status, reply.body.len()), (200, body.len()), "{kind} {coding}");
    }
    let answers = || {
        let events = stage.sessions().into_iter().flat_map(|(_, events)| events);
        events.filter(|event| event["phase"] == "response").collect::<Vec<_>>()
    };
    until("all events", Duration::from_secs(5), || Ok(answers().len() == bodies.len())).unwrap();
    for event in answers() {
        assert_eq!(
            (&event["a2a"]["finalStatus"], &event["a2a"]["taskId"]),
            (&Value::Null, &Value::Null),
            "{event}"
        );
    }
}

/// Largest memory that a process has had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn hostile_streams_cost_little_memory() {
    let stage = stage("- a2a-parser");
    let pid = stage.scene.bridge.pid().unwrap();
    let stream =
        |parts: Vec<Step>| Answer::status(200).header("content-type", "text/event-stream").steps(parts);
    let last = json!({ "jsonrpc": "2.0", "id": 1, "result": task("completed") });
    let last = Step::Data(format!("\n\ndata: {last}\n\n").into());
    let line = vec![
        Step::Data([&b"data: "[..], &vec![b'x'; 1_000_000]].concat()),
        Step::Data(vec![b'x'; 40_000_000]),
    ];
    let few = vec![Step::Data(b"data: {}\n\n".repeat(300_000))];
    let deep = format!("data: {}\n\n", "[".repeat(60_000));
    let deep = vec![Step::Data(deep.repeat(100).into())];
    stage.scene.agent.answer(Answer::json(&json!({})));
    assert_eq!(stage.scene.call(&stage.call("alice", &send())).unwrap().status, 200);
    let before = peak(pid);
    for (parts, updates) in [(line, 2), (few, 300_001), (deep, 101)] {
        let subject = format!("user-{updates}");
        let body_ends = [parts, vec![last.clone()]].concat();
        stage.scene.agent.answer(stream(body_ends));
        assert_eq!(stage.scene.call(&stage.call(&subject, &send())).unwrap().status, 200);
        let told = || {
            let events = stage.sessions().into_iter().flat_map(|(_, events)| events);
            let mut events = events.filter(|event| event["identity"]["subject"] == *subject);
            Ok(events.any(|event| {
                event["a2a"]["updates"] == updates && event["a2a"]["finalStatus"] == "completed"
            }))
        };
        until(&format!("{updates} messages"), Duration::from_secs(20), told).unwrap();
    }
    let grown = peak(pid) - before;
    assert!(grown < 24 * 1024, "{grown} KiB more");
}
