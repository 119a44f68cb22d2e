//! What the sidecar tells about itself: statistics, metrics, sessions kept apart by user, and a terminal that shows them.

use countersign_sidecar_tests::authbridge::{Options, program};
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::http::{self, Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::ports;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

const ISSUER: &str = "https://id.example/realms/agents";

struct Stage {
    scene: Scene,
    key: SigningKey,
    _jwks: JwksServer,
    tool: Backend,
    _endpoint: Backend,
}

fn stage(blocks: &str) -> Stage {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let tool = Backend::start(Answer::text("tool")).unwrap();
    let body = json!({ "access_token": "exchanged", "token_type": "Bearer", "expires_in": 300 });
    let endpoint = Backend::start(Answer::json(&body)).unwrap();
    let exchange =
        token_exchange(&endpoint.url(), ("agent", "s"), &["{host: 127.0.0.1, target_audience: tool}"]);
    let settings = Settings {
        inbound: format!("{}\n- a2a-parser", jwt_validation(ISSUER, &jwks.url(), "agent-a")),
        outbound: format!("{exchange}\n- mcp-parser"),
        blocks: blocks.to_owned(),
        ..Settings::default()
    };
    let scene = Scene::start(&settings, &Options::default()).unwrap();
    Stage { scene, key, _jwks: jwks, tool, _endpoint: endpoint }
}

impl Stage {
    fn token(&self, subject: &str) -> String {
        self.key.sign(&ordinary_claims(ISSUER, "agent-a", subject)).unwrap()
    }

    fn a2a(&self, subject: &str, context: &str) {
        let call = json!({ "method": "message/send", "params": { "message": { "contextId": context } } });
        let reply =
            self.scene.call(&Request::new("POST", "/").bearer(&self.token(subject)).json(&call)).unwrap();
        assert_eq!(reply.status, 200);
    }

    fn sessions(&self, path: &str) -> Value {
        http::get(&format!("http://{}{path}", self.scene.at.sessions)).unwrap().json().unwrap()
    }
}

#[test]
fn sessions_belong_to_users_and_calls_of_the_agent_to_the_session_of_their_token() {
    let stage = stage("");
    stage.a2a("alice", "c1");
    stage.a2a("bob", "c1");
    let token = stage.token("alice");
    // The agent calls a tool with Alice's token while Bob's request was the last to come in.
    let call = json!({ "method": "tools/call", "params": { "name": "delete" } });
    let authority = stage.tool.address().to_string();
    let request = Request::new("POST", &format!("http://{authority}/mcp")).header("Host", &authority);
    let alice = stage.scene.call(
        &Request::new("POST", "/")
            .bearer(&token)
            .json(&json!({ "method": "message/send", "params": { "message": { "contextId": "c1" } } })),
    );
    assert_eq!(alice.unwrap().status, 200);
    stage.a2a("bob", "c1");
    let reply = request.bearer(&token).json(&call).send(&stage.scene.at.outbound.to_string()).unwrap();
    assert_eq!(reply.status, 200);
    let list = stage.sessions("/v1/sessions");
    let ids: Vec<String> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    let of =
        |id: &String| stage.sessions(&format!("/v1/sessions/{id}"))["events"].as_array().unwrap().clone();
    let with_tool: Vec<&String> =
        ids.iter().filter(|id| of(id).iter().any(|event| event["mcp"]["name"] == "delete")).collect();
    assert_eq!(with_tool.len(), 1, "{list}");
    let events = of(with_tool[0]);
    let subjects: Vec<&str> =
        events.iter().filter_map(|event| event["identity"]["subject"].as_str()).collect();
    assert!(subjects.contains(&"alice") && !subjects.contains(&"bob"), "{subjects:?}");
    assert!(events.iter().any(|event| event["a2a"]["contextId"] == "c1"), "{events:?}");
}

#[test]
fn nothing_of_a_token_is_told_anywhere() {
    let stage = stage("");
    let token = stage.token("alice");
    assert_eq!(stage.scene.call(&Request::new("GET", "/x").bearer(&token)).unwrap().status, 200);
    let refused = stage.scene.call(&Request::new("GET", "/x").bearer(&format!("{token}x"))).unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(stage.scene.call_out(&format!("{}/x", stage.tool.url()), Some(&token)).unwrap().status, 200);
    let mut all = refused.text() + &stage.scene.bridge.log();
    for id in stage.sessions("/v1/sessions")["sessions"].as_array().unwrap() {
        all += &stage.sessions(&format!("/v1/sessions/{}", id["id"].as_str().unwrap())).to_string();
    }
    for path in ["/stats", "/config", "/metrics", "/reload/status"] {
        all += &http::get(&format!("http://{}{path}", stage.scene.at.stats)).unwrap().text();
    }
    let signature = token.rsplit('.').next().unwrap();
    let payload = token.split('.').nth(1).unwrap();
    for secret in [signature, payload, "exchanged"] {
        assert!(!all.contains(secret), "{secret} is told");
    }
}

#[test]
fn a_password_in_a_target_is_told_nowhere() {
    const PASSWORD: &str = "geheim";
    let stage = stage("");
    let (tool, token) = (stage.tool.address().to_string(), stage.token("alice"));
    let named = format!("user:{PASSWORD}@{tool}");
    let (inbound, outbound) = (stage.scene.at.inbound.to_string(), stage.scene.at.outbound.to_string());
    let mut all = String::new();
    for (to, method, target, host) in [
        (&outbound, "GET", format!("http://{named}/x"), named.as_str()),
        (&outbound, "GET", format!("http://{named}/x"), &tool),
        (&outbound, "CONNECT", named.clone(), &named),
        (&inbound, "GET", format!("http://{named}/x"), &named),
        (&inbound, "GET", "/x".to_owned(), &named),
    ] {
        let request = Request::new(method, &target).header("Host", host).bearer(&token);
        let reply = request.send(to).unwrap();
        assert_eq!(reply.status, 400, "{method} {target} {host}: {reply:?}");
        all += &reply.text();
    }
    all += &stage.scene.bridge.log();
    let sessions = stage.sessions("/v1/sessions");
    let mut kept = 0;
    for id in sessions["sessions"].as_array().unwrap() {
        let session = stage.sessions(&format!("/v1/sessions/{}", id["id"].as_str().unwrap()));
        kept += session["events"].as_array().unwrap().len();
        all += &session.to_string();
    }
    assert!(kept > 0, "the requests left no event");
    for path in ["/stats", "/metrics"] {
        all += &http::get(&format!("http://{}{path}", stage.scene.at.stats)).unwrap().text();
    }
    assert!(!all.contains(PASSWORD), "{all}");
    assert!(stage.tool.seen().is_empty() && stage.scene.agent.seen().is_empty());
}

#[test]
fn what_anybody_may_read_names_no_url() {
    let dead = format!("http://127.0.0.1:{}", ports::free().unwrap());
    let key = SigningKey::p256("k1").unwrap();
    let exchange =
        token_exchange(&format!("{dead}/t"), ("agent", "s"), &["{host: 127.0.0.1, target_audience: tool}"]);
    let settings = Settings {
        inbound: jwt_validation(ISSUER, &format!("{dead}/jwks"), "agent-a"),
        outbound: exchange,
        blocks: format!("spiffe: {{socket: \"unix://{}/none.sock\"}}", std::env::temp_dir().display()),
        ..Settings::default()
    };
    let scene = Scene::start_unready(&settings, &Options::default()).unwrap();
    let mut all = String::new();
    let reasons = || {
        let Ok((status, body)) = scene.readiness() else { return Ok(false) };
        assert_eq!(status, 503, "{body}");
        let told = |name: &str, word: &str| {
            body["problems"][name].as_str().is_some_and(|problem| problem.contains(word))
        };
        all = body.to_string();
        Ok(told("jwt-validation", "cannot be reached") && told("identity", "the log says why"))
    };
    until("the reasons", Duration::from_secs(20), reasons).unwrap();
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    let inward = scene.call(&Request::new("GET", "/x").bearer(&token)).unwrap();
    let outward = scene.call_out(&format!("{dead}/x"), Some(&token)).unwrap();
    assert_eq!((inward.status, outward.status), (503, 503), "{} {}", inward.text(), outward.text());
    all += &(inward.text() + &outward.text());

    // A value of the wrong kind is quoted where the file is explained, and nowhere else.
    let wrong = Settings { blocks: "mtls: {mode: \"http://inside\"}".to_owned(), ..settings };
    scene.rewrite(&wrong).unwrap();
    let refused = || Ok(scene.stats("/reload/status")?["reloads_failed"] == 1);
    until("a refused file", Duration::from_secs(10), refused).unwrap();
    all += &scene.readiness().unwrap().1["notices"].to_string();
    for inside in ["://", dead.trim_start_matches("http://"), "none.sock"] {
        assert!(!all.contains(inside), "{inside}: {all}");
    }
    // Who may see more finds it in the log and at the statistics.
    let log = scene.bridge.log();
    assert!(log.contains(&dead) && log.contains("none.sock"), "{log}");
    let status = scene.stats("/reload/status").unwrap().to_string();
    assert!(status.contains("http://inside"), "{status}");
}

#[test]
fn statistics_and_metrics_count_by_what_became_of_requests() {
    let stage = stage("");
    let token = stage.token("alice");
    for (request, status) in [
        (Request::new("GET", "/healthz"), 200),
        (Request::new("GET", "/x").bearer(&token), 200),
        (Request::new("GET", "/x"), 401),
        (Request::new("GET", "/x").header("Authorization", "Basic eDp5"), 401),
        (Request::new("GET", "/x").bearer("a.b.c"), 401),
        (Request::new("GET", "/a/../b").bearer(&token), 400),
    ] {
        assert_eq!(stage.scene.call(&request).unwrap().status, status);
    }
    for _ in 0..3 {
        assert_eq!(
            stage.scene.call_out(&format!("{}/x", stage.tool.url()), Some(&token)).unwrap().status,
            200
        );
    }
    let stats = stage.scene.stats("/stats").unwrap();
    assert_eq!(stats["inbound_approvals"], json!({ "passthrough": 1, "authorized": 1 }));
    assert_eq!(
        stats["inbound_denials"],
        json!({ "no_header": 1, "malformed_header": 2, "validator_missing": 0, "jwt_failed": 1 })
    );
    assert_eq!(stats["outbound_replace_tokens"], json!({ "replace_token": 3, "cache_hit": 2 }));
    let metrics = http::get(&format!("http://{}/metrics", stage.scene.at.stats)).unwrap().text();
    for line in [
        "authbridge_requests_total{direction=\"inbound\",result=\"authorized\"} 1",
        "authbridge_requests_total{direction=\"outbound\",result=\"cache_hit\"} 2",
        "authbridge_denials_total{code=\"auth.missing-token\",source=\"authbridge\"} 1",
        "authbridge_token_calls_total 1",
        "authbridge_config_current 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn servers_beyond_loopback_ask_for_their_token() {
    let folder = countersign_sidecar_tests::folder::Folder::new("admin").unwrap();
    let file = folder.write("token", "let-me-in\n").unwrap();
    let stage = stage(&format!("admin: {{token_file: \"{}\"}}", file.display()));
    let call = |token: Option<&str>| {
        let request = Request::new("GET", "/stats");
        let request = token.iter().fold(request, |request, token| request.bearer(token));
        request.send(&stage.scene.at.stats.to_string()).unwrap().status
    };
    assert_eq!([call(None), call(Some("wrong")), call(Some("let-me-in"))], [401, 401, 200]);
    folder.write("token", "").unwrap();
    assert_eq!(call(Some("")), 401, "an empty token opens nothing");
    let until_the_file = "answer every request with 401 until the file holds the token";
    let log = stage.scene.bridge.log();
    let told = format!(
        "{} is empty; nothing can be read from it; statistics and sessions {until_the_file}",
        file.display()
    );
    assert!(log.replace(['"', '\\'], "").contains(&told), "{log}");
    assert_eq!(http::get(&format!("http://{}/healthz", stage.scene.at.health)).unwrap().status, 200);
    // Another file counts from the reload on that names it.
    folder.write("token", "let-me-in").unwrap();
    let other = folder.write("other", "another").unwrap();
    let yaml = std::fs::read_to_string(stage.scene.bridge.folder().join("authbridge.yaml")).unwrap();
    let next = yaml.replace(&file.display().to_string(), &other.display().to_string());
    stage.scene.bridge.rewrite_config(&next).unwrap();
    let limit = Duration::from_secs(15);
    countersign_sidecar_tests::process::until("the other token", limit, || Ok(call(Some("another")) == 200))
        .unwrap();
    assert_eq!(call(Some("let-me-in")), 401);
}

#[test]
fn an_event_stream_ends_with_the_token_that_opened_it() {
    let folder = countersign_sidecar_tests::folder::Folder::new("admin").unwrap();
    let file = folder.write("token", "let-me-in\n").unwrap();
    let stage = stage(&format!("admin: {{token_file: \"{}\"}}", file.display()));
    let sessions = stage.scene.at.sessions.to_string();
    let open = |token: &str| {
        let mut stream = Connection::open(&sessions).unwrap();
        stream.write(&Request::new("GET", "/v1/events").bearer(token).bytes(&sessions)).unwrap();
        let head = stream.read_until(b"\r\n\r\n").unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        stream
    };
    // Events that come meanwhile do not keep it open.
    let ends = |stream: &mut Connection| {
        let limit = Instant::now() + Duration::from_secs(15);
        let mut read = Vec::new();
        while !read.ends_with(b"0\r\n\r\n") {
            assert!(Instant::now() < limit, "it is open still: {}", String::from_utf8_lossy(&read));
            stage.a2a("alice", "c1");
            read.extend(stream.read_rest(Duration::from_millis(100)).unwrap());
        }
    };
    let (mut first, mut other) = (open("let-me-in"), open("let-me-in"));
    std::thread::sleep(Duration::from_secs(3));
    stage.a2a("alice", "c1");
    assert!(!first.read_until(b"\n\n").unwrap().is_empty(), "it stays while the token counts");
    folder.write("token", "another").unwrap();
    ends(&mut first);
    ends(&mut other);
    let mut rotated = open("another");
    folder.write("token", "").unwrap();
    ends(&mut rotated);
    folder.write("token", "another").unwrap();
    let mut reloaded = open("another");
    let next = folder.write("next", "the-next").unwrap();
    let yaml = std::fs::read_to_string(stage.scene.bridge.folder().join("authbridge.yaml")).unwrap();
    let yaml = yaml.replace(&file.display().to_string(), &next.display().to_string());
    stage.scene.bridge.rewrite_config(&yaml).unwrap();
    ends(&mut reloaded);
    let _again = open("the-next");
}

#[test]
fn a_token_file_that_is_missing_is_told_at_the_start_with_what_follows() {
    let folder = countersign_sidecar_tests::folder::Folder::new("admin").unwrap();
    let file = folder.join("absent");
    let stage = stage(&format!("admin: {{token_file: \"{}\"}}", file.display()));
    let log = stage.scene.bridge.log();
    let line = log.lines().find(|line| line.contains("answer every request with 401"));
    assert!(line.is_some_and(|line| line.contains(&file.display().to_string())), "{log}");
    let stats = format!("http://{}/stats", stage.scene.at.stats);
    assert_eq!(http::get(&stats).unwrap().status, 401);
    let told = |log: &str| log.matches("answer every request with 401").count();
    assert_eq!(told(&stage.scene.bridge.log()), 1, "not at each request");
    folder.write("absent", "let-me-in").unwrap();
    let request = Request::new("GET", "/stats").bearer("let-me-in");
    assert_eq!(request.send(&stage.scene.at.stats.to_string()).unwrap().status, 200);
}

#[test]
fn the_terminal_shows_live_requests() {
    let stage = stage("");
    let token = stage.token("alice");
    let top = Command::new(program())
        .args(["top", "--count", "2", "--stats", &format!("http://{}", stage.scene.at.stats)])
        .args(["--sessions", &format!("http://{}", stage.scene.at.sessions)])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(stage.scene.call(&Request::new("GET", "/seen").bearer(&token)).unwrap().status, 200);
    assert_eq!(stage.scene.call(&Request::new("GET", "/hidden")).unwrap().status, 401);
    let shown = String::from_utf8(top.wait_with_output().unwrap().stdout).unwrap();
    assert!(
        shown.contains("authorized 1") && shown.contains("/seen") && shown.contains("by alice"),
        "{shown}"
    );
    assert!(shown.contains("DENIED auth.missing-token"), "{shown}");
}

#[test]
fn a_flood_of_refusals_is_one_line_of_the_log() {
    let stage = stage("");
    for _ in 0..200 {
        assert_eq!(stage.scene.call(&Request::new("GET", "/x")).unwrap().status, 401);
    }
    let lines = stage.scene.bridge.log().lines().filter(|line| line.contains("auth.missing-token")).count();
    assert_eq!(lines, 1);
}

#[test]
fn a_changed_file_is_taken_over_whole_or_not_at_all() {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let for_audience = |audience: &str| Settings {
        inbound: jwt_validation(ISSUER, &jwks.url(), audience),
        ..Settings::default()
    };
    let scene = Scene::start(&for_audience("agent-a"), &Options::default()).unwrap();
    let status = |audience: &str| {
        let token = key.sign(&ordinary_claims(ISSUER, audience, "alice")).unwrap();
        scene.call(&Request::new("GET", "/x").bearer(&token)).unwrap().status
    };
    assert_eq!((status("agent-a"), status("agent-b")), (200, 401));
    scene.rewrite(&for_audience("agent-b")).unwrap();
    until("the new audience", Duration::from_secs(10), || Ok(status("agent-b") == 200)).unwrap();
    assert_eq!(status("agent-a"), 401);

    scene.bridge.rewrite_config("mode: proxy-sidecar\nlistner: {}\n").unwrap();
    let failed = || Ok(scene.stats("/reload/status")?["reloads_failed"] == 1);
    until("a refused file", Duration::from_secs(10), failed).unwrap();
    let (ready, body) = scene.readiness().unwrap();
    assert_eq!(ready, 200, "a file that is not in force stops no request: {body}");
    assert!(body["notices"]["configuration"].as_str().unwrap().contains("/reload/status"), "{body}");
    let error = scene.stats("/reload/status").unwrap()["last_error"].clone();
    assert!(error.as_str().unwrap().contains("did you mean listener?"), "{error}");
    assert_eq!(status("agent-b"), 200, "the old configuration still works");
    let metrics = http::get(&format!("http://{}/metrics", scene.at.stats)).unwrap().text();
    assert!(metrics.contains("authbridge_config_current 0"), "{metrics}");
    assert!(scene.bridge.log().contains("did you mean listener?"));

    let mut moved = for_audience("agent-c").yaml(&scene.at, &scene.agent.url());
    moved = moved.replace(&scene.at.inbound.to_string(), "127.0.0.1:1");
    scene.bridge.rewrite_config(&moved).unwrap();
    let refused = || Ok(scene.stats("/reload/status")?["reloads_failed"] == 2);
    until("a refused address", Duration::from_secs(10), refused).unwrap();

    scene.rewrite(&for_audience("agent-a")).unwrap();
    until("the first audience", Duration::from_secs(10), || Ok(status("agent-a") == 200)).unwrap();
    assert_eq!(scene.readiness().unwrap().0, 200);
    assert_eq!(scene.stats("/reload/status").unwrap()["reloads_ok"], 2);
}

#[test]
fn a_file_that_cannot_run_is_explained_before_any_port_opens() {
    let folder = countersign_sidecar_tests::folder::Folder::new("check").unwrap();
    let bad = folder.write("bad.yaml", "mode: proxy-sidecar\nmlts: {}\n").unwrap();
    for arguments in [vec!["check", "--config"], vec!["--config"]] {
        let output = Command::new(program()).args(&arguments).arg(&bad).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("bad.yaml:2: mlts: there is no such key; did you mean mtls?"), "{said}");
    }
    let good = "mode: proxy-sidecar\nlistener: {reverse_proxy_backend: \"http://127.0.0.1:1\"}\npipeline: {inbound: \
                {plugins: [{name: jwt-validation, config: {issuer: \"https://i\"}}]}}\n";
    let good = folder.write("good.yaml", good).unwrap();
    let output = Command::new(program()).args(["check", "--config"]).arg(&good).output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["listens"]["outbound"], "127.0.0.1:8081");
    assert_eq!(shown["effective"]["session"]["max_events"], 100);
    assert!(shown["notices"].to_string().contains("/shared/client-id.txt"), "{}", shown["notices"]);
    let schema = Command::new(program()).arg("schema").output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["listener"].is_object() && schema["$defs"]["JwtValidation"].is_object());
}
