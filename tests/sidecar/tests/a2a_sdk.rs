//! Session events of calls between client and agent of the A2A SDK, in both versions and all bindings.

use countersign_sidecar_tests::a2a::Agent;
use countersign_sidecar_tests::authbridge::{AuthBridge, Options};
use countersign_sidecar_tests::http;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Addresses, Settings, jwt_validation};
use serde_json::{Value, json};
use std::time::Duration;

const ISSUER: &str = "https://id.example/realms/agents";

/// Events of a session with this context.
fn events(at: &Addresses, context: &str) -> Vec<Value> {
    let get = |path: &str| -> Value {
        http::get(&format!("http://{}{path}", at.sessions)).unwrap().json().unwrap()
    };
    let list = get("/v1/sessions");
    let ids = list["sessions"].as_array().unwrap().iter().filter_map(|one| one["id"].as_str());
    let found = ids.filter(|id| id.starts_with(&format!("{context}.")));
    found.flat_map(|id| get(&format!("/v1/sessions/{id}"))["events"].as_array().unwrap().clone()).collect()
}

#[test]
fn calls_and_answers_are_told_in_every_version_and_binding() {
    let agent = Agent::start().unwrap();
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let inbound = format!("{}\n- a2a-parser", jwt_validation(ISSUER, &jwks.url(), "agent-a"));
    let settings = Settings { inbound, ..Settings::default() };
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    for binding in ["JSONRPC", "HTTP+JSON", "GRPC"] {
        let at = Addresses::free().unwrap();
        let yaml = settings.yaml(&at, &agent.url(binding));
        let mut bridge = AuthBridge::start(&yaml, at.health, &Options::default()).unwrap();
        let all =
            agent.send(at.inbound, binding, &token).unwrap_or_else(|error| panic!("{binding}: {error}"));
        assert_eq!(all.len(), 4, "{all:?}");
        for got in all {
            let case = format!("{binding} {got:?}");
            assert_eq!(got.state, "TASK_STATE_COMPLETED", "{case}");
            let mut told = Vec::new();
            let both = || {
                told = events(&at, &got.context);
                Ok(told.len() >= 2)
            };
            until(&format!("the events of {case}"), Duration::from_secs(5), both).unwrap();
            let [request, answer] = told.as_slice() else { panic!("{case}: {told:?}") };
            let operation = if got.streams { "SendStreamingMessage" } else { "SendMessage" };
            for event in [request, answer] {
                let named = ["operation", "binding", "action"].map(|name| event["a2a"][name].clone());
                assert_eq!(named, [json!(operation), json!(binding), json!(true)], "{case}: {event}");
                assert_eq!(event["identity"]["subject"], "alice", "{case}: {event}");
            }
            assert_eq!((&request["phase"], &answer["phase"]), (&json!("request"), &json!("response")));
            let a2a = &answer["a2a"];
            let by_json = got.version == "0.3" && binding == "JSONRPC";
            let done = if by_json { "completed" } else { "TASK_STATE_COMPLETED" };
            assert_eq!(a2a["finalStatus"], done, "{case}: {answer}");
            assert_eq!(a2a["contextId"], *got.context, "{case}: {answer}");
            assert!(a2a["taskId"].is_string(), "{case}: {answer}");
            if got.streams {
                assert_ne!(a2a["firstStatus"], a2a["finalStatus"], "{case}: {answer}");
                assert!(a2a["updates"].as_u64() >= Some(3), "{case}: {answer}");
            }
        }
        let code = match binding {
            "JSONRPC" => -32001,
            "GRPC" => 5,
            _ => 404,
        };
        let asked = events(&at, "default");
        let answers = asked.iter().filter(|event| event["phase"] == "response");
        let told: Vec<_> =
            answers.map(|event| (&event["a2a"]["operation"], &event["a2a"]["error"]["code"])).collect();
        assert_eq!(told, vec![(&json!("GetTask"), &json!(code)); 2], "{binding}: {asked:?}");
        // It would wait for the agent, which goes on.
        bridge.kill().unwrap();
    }
}
