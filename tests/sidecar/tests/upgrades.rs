//! Changes of protocol: the agent is a real server that changes to HTTP/2 and to WebSocket whenever it is asked to, so
//! whatever reaches it as a wish becomes a tunnel that nobody judges.

use countersign_sidecar_tests::authbridge::{AuthBridge, Options};
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{Connection, Reply, Request};
use countersign_sidecar_tests::hypercorn::Hypercorn;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::ports;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Addresses, Scene, Settings, jwt_validation, token_exchange};
use serde_json::json;
use std::time::Duration;

const ISSUER: &str = "https://id.example/realms/agents";
const SETTINGS: (&str, &str) = ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA");
const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");
/// A line of `pipeline`.
const UNGATED: &str = "  dangerously_allow_unauthenticated: true\n";
const SILENCE: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_secs(10);

struct Stage {
    agent: Hypercorn,
    _bridge: AuthBridge,
    at: Addresses,
    token: String,
    _jwks: JwksServer,
}

/// A sidecar before Hypercorn, whose gate refuses.
fn stage() -> Stage {
    stage_with(gate, "")
}

/// A sidecar before Hypercorn; `inbound` are its plugins for a URL of keys, `pipeline` is a line of that block.
fn stage_with(inbound: impl Fn(&str) -> String, pipeline: &str) -> Stage {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let settings = Settings { inbound: inbound(&jwks.url()), ..Settings::default() };
    let agent = Hypercorn::start().unwrap();
    let at = Addresses::free().unwrap();
    let yaml = settings.yaml(&at, &agent.url()).replace("pipeline:\n", &format!("pipeline:\n{pipeline}"));
    let bridge = AuthBridge::start(&yaml, at.health, &Options::default()).unwrap();
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    Stage { agent, _bridge: bridge, at, token, _jwks: jwks }
}

fn gate(jwks: &str) -> String {
    jwt_validation(ISSUER, jwks, "agent-a")
}

/// A scene whose agent answers as a test says.
fn scripted() -> (Scene, String, JwksServer) {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let settings = Settings { inbound: gate(&jwks.url()), ..Settings::default() };
    let scene = Scene::start(&settings, &Options::default()).unwrap();
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    (scene, token, jwks)
}

fn with(request: Request, headers: &[(&str, &str)]) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn websocket(request: Request) -> Request {
    with(request, &[("Connection", "Upgrade"), ("Upgrade", "websocket"), KEY, VERSION])
}

fn error(reply: &Reply) -> serde_json::Value {
    reply.json().unwrap()["error"].clone()
}

/// Wishes that every honest caller may have, or a dishonest one, and none of which is for WebSocket alone.
fn wishes() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let (upgrade, h2c) = (("Connection", "Upgrade"), ("Upgrade", "h2c"));
    vec![
        ("as HttpClient of Java asks", vec![("Connection", "Upgrade, HTTP2-Settings"), h2c, SETTINGS]),
        ("settings that are not listed", vec![upgrade, h2c, SETTINGS]),
        ("without settings", vec![upgrade, h2c]),
        ("in another case", vec![("connection", "uPGRADE"), ("UPGRADE", "H2C"), SETTINGS]),
        ("a list", vec![upgrade, ("Upgrade", "foo, h2c"), SETTINGS]),
        ("several headers", vec![upgrade, ("Upgrade", "foo"), h2c, SETTINGS]),
        ("several lists of options", vec![("Connection", "keep-alive"), upgrade, h2c, SETTINGS]),
        ("not listed", vec![h2c, SETTINGS]),
        ("listed and absent", vec![("Connection", "Upgrade, HTTP2-Settings"), SETTINGS]),
        ("TLS", vec![upgrade, ("Upgrade", "TLS/1.2")]),
        ("a version", vec![upgrade, ("Upgrade", "websocket/13"), KEY, VERSION]),
        ("no protocol", vec![upgrade, ("Upgrade", "")]),
    ]
}

#[test]
fn whoever_offers_another_protocol_is_answered_and_gets_no_tunnel() {
    let Stage { agent, at, token, .. } = &stage();
    let address = at.inbound.to_string();
    for (name, wish) in wishes() {
        for (path, bearer) in [("/healthz", None), ("/x", Some(token))] {
            let request = with(Request::new("GET", path), &wish);
            let request = bearer.iter().fold(request, |request, token| request.bearer(token));
            let mut connection = Connection::open(&address).unwrap();
            let reply = connection.send(&request).unwrap();
            let served = format!("served GET {path} by HTTP/1.1");
            assert_eq!((reply.status, reply.text()), (200, served.clone()), "{name}");
            assert_eq!((reply.header("upgrade"), reply.header("http2-settings")), (None, None), "{name}");
            // The connection goes on, and what is said on it is judged.
            assert_eq!(connection.send(&Request::new("GET", "/healthz")).unwrap().status, 200, "{name}");
            assert_eq!(connection.send(&Request::new("GET", "/protected")).unwrap().status, 401, "{name}");
        }
    }
    let old = "GET /healthz HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let mut connection = Connection::open(&address).unwrap();
    connection.write(old.as_bytes()).unwrap();
    assert_eq!(connection.read_reply(false).unwrap().status, 200);
    let protected: Vec<String> = agent.served().into_iter().filter(|line| !line.ends_with("/1.1")).collect();
    assert!(protected.is_empty(), "{protected:?}");
}

#[test]
fn no_second_stream_follows_a_change_of_protocol_past_the_gate() {
    let Stage { agent, at, .. } = &stage();
    let wishes = wishes().into_iter().chain([
        ("WebSocket", vec![("Connection", "Upgrade"), ("Upgrade", "websocket"), KEY, VERSION]),
        ("WebSocket first", vec![("Connection", "Upgrade"), ("Upgrade", "websocket, h2c"), SETTINGS]),
        ("WebSocket last", vec![("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "websocket")]),
    ]);
    for (name, wish) in wishes {
        let mut connection = Connection::open(&at.inbound.to_string()).unwrap();
        let request = with(Request::new("GET", "/healthz"), &wish);
        connection.write(&request.bytes("a")).unwrap();
        connection.write(&[frames::PREFACE, &frames::get(3, "/protected")].concat()).unwrap();
        let read = connection.read_rest(SILENCE).unwrap();
        let read = String::from_utf8_lossy(&read);
        assert!(!read.contains("served GET /protected"), "{name}: {read}");
        assert!(!read.starts_with("HTTP/1.1 101"), "{name}: {read}");
    }
    let protected: Vec<String> =
        agent.served().into_iter().filter(|line| line.contains("/protected")).collect();
    assert!(protected.is_empty(), "{protected:?}");
}

#[test]
fn a_websocket_is_joined_after_a_token_was_accepted() {
    let Stage { agent, at, token, .. } = &stage();
    let address = at.inbound.to_string();
    for (connection_options, protocols) in [
        ("Upgrade", vec!["websocket"]),
        ("keep-alive, upgrade", vec!["WebSocket"]),
        ("Upgrade, HTTP2-Settings", vec!["websocket, h2c"]),
        ("UPGRADE", vec!["h2c", "websocket"]),
    ] {
        let request = with(Request::new("GET", "/ws"), &[("Connection", connection_options), KEY, VERSION]);
        let request = protocols.iter().fold(request, |request, protocol| request.header("Upgrade", protocol));
        let mut connection = Connection::open(&address).unwrap();
        let reply = connection.send(&request.header(SETTINGS.0, SETTINGS.1).bearer(token)).unwrap();
        assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")), "{protocols:?}");
        // The example of RFC 6455 §1.3.
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        // A text, masked by zeroes, and the same from the server, unmasked.
        connection.write(b"\x81\x82\0\0\0\0hi").unwrap();
        assert_eq!(connection.read_exactly(4).unwrap(), b"\x81\x02hi");
    }
    assert_eq!(agent.served(), ["WEBSOCKET /ws by HTTP/1.1"; 4]);
}

#[test]
fn a_websocket_without_an_accepted_token_is_refused_in_every_mode() {
    let observing = |jwks: &str| gate(jwks).replace("\n  config:", "\n  on_error: observe\n  config:");
    let modes: [(&str, Stage, u16, &str); 3] = [
        ("a path without a token", stage(), 403, "policy.forbidden"),
        ("a gate that observes", stage_with(observing, UNGATED), 401, "auth.missing-token"),
        ("no gate", stage_with(|_| String::new(), UNGATED), 403, "policy.forbidden"),
    ];
    for (name, Stage { agent, at, .. }, status, code) in &modes {
        let path = if *name == "a path without a token" { "/healthz" } else { "/ws" };
        let mut connection = Connection::open(&at.inbound.to_string()).unwrap();
        let reply = connection.send(&websocket(Request::new("GET", path))).unwrap();
        assert_eq!((reply.status, error(&reply)), (*status, json!(code)), "{name}");
        assert!(agent.served().is_empty(), "{name}: {:?}", agent.served());
        // Without the wish it passes, on the same connection.
        assert_eq!(connection.send(&Request::new("GET", path)).unwrap().status, 200, "{name}");
    }
}

#[test]
fn what_is_no_handshake_of_websocket_goes_on_as_a_plain_request() {
    let Stage { agent, at, token, .. } = &stage();
    let plain = [
        websocket(Request::new("POST", "/x")),
        websocket(Request::new("GET", "/x").body("body")),
        with(websocket(Request::new("GET", "/x")), &[("Transfer-Encoding", "chunked")]).body("0\r\n\r\n"),
    ];
    for request in plain {
        let reply = request.bearer(token).send(&at.inbound.to_string()).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let served = agent.served();
    assert!(served.len() == 3 && served.iter().all(|line| !line.starts_with("WEBSOCKET")), "{served:?}");
}

#[test]
fn http2_carries_single_requests_to_the_agent_and_no_tunnel() {
    let Stage { agent, at, token, .. } = &stage();
    let bearer = format!("Bearer {token}");
    let base = [(":scheme", "http"), (":authority", "a"), (":path", "/ws")];
    let websocket = [("sec-websocket-version", "13"), ("authorization", bearer.as_str())];
    let extended = [&[(":method", "CONNECT"), (":protocol", "websocket")], &base[..], &websocket].concat();
    let connect = vec![(":method", "CONNECT"), (":authority", "a:80"), ("authorization", bearer.as_str())];
    let upgrade = [
        &[(":method", "GET")],
        &base[..],
        &[("connection", "upgrade"), ("upgrade", "websocket")],
        &websocket,
    ]
    .concat();
    for (name, head) in
        [("extended CONNECT (RFC 8441)", extended), ("CONNECT", connect), ("Upgrade", upgrade)]
    {
        let mut connection = Connection::open(&at.inbound.to_string()).unwrap();
        connection.write(&[frames::PREFACE, &frames::request(1, &head)].concat()).unwrap();
        let said = frames::body(&mut connection, 1, SILENCE).unwrap();
        assert!(said.is_empty() || said.contains("request.invalid"), "{name}: {said}");
        assert!(agent.served().is_empty(), "{name}: {:?}", agent.served());
    }
    let mut connection = Connection::open(&at.inbound.to_string()).unwrap();
    connection
        .write(&[frames::PREFACE, &frames::get(1, "/healthz"), &frames::get(3, "/protected")].concat())
        .unwrap();
    assert_eq!(
        frames::body(&mut connection, 1, SILENCE).unwrap(),
        "served GET /healthz by HTTP/1.1",
        "prior knowledge"
    );
    assert_eq!(agent.served(), ["GET /healthz by HTTP/1.1"]);
}

#[test]
fn a_change_of_protocol_that_was_not_asked_for_joins_nothing() {
    let (scene, token, _jwks) = scripted();
    let get = Request::new("GET", "/x").bearer(&token);
    let h2c = with(get.clone(), &[("Connection", "Upgrade"), ("Upgrade", "h2c"), SETTINGS]);
    let bare = Answer::status(101).header("connection", "upgrade");
    let two = Answer::upgrade_and_echo("websocket").header("upgrade", "h2c");
    for (name, request, answer) in [
        ("no upgrade asked", get.clone(), Answer::upgrade_and_echo("websocket")),
        (
            "none asked on a path without a token",
            Request::new("GET", "/healthz"),
            Answer::upgrade_and_echo("h2c"),
        ),
        ("h2c offered and taken", h2c, Answer::upgrade_and_echo("h2c")),
        ("h2c instead of WebSocket", websocket(get.clone()), Answer::upgrade_and_echo("h2c")),
        ("nothing instead of WebSocket", websocket(get.clone()), bare),
        ("two protocols", websocket(get.clone()), two),
        ("a list of protocols", websocket(get.clone()), Answer::upgrade_and_echo("websocket, h2c")),
    ] {
        scene.agent.answer(answer);
        let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
        let reply = connection.send(&request).unwrap();
        assert_eq!((reply.status, error(&reply)), (502, json!("upstream.wrong-protocol")), "{name}");
        assert_eq!(reply.header("upgrade"), None, "{name}");
        // The caller is still at the sidecar, and nothing leads on from there.
        scene.agent.answer(Answer::text("plain"));
        assert_eq!(connection.send(&get).unwrap().text(), "plain", "{name}");
        assert_eq!(connection.send(&Request::new("GET", "/protected")).unwrap().status, 401, "{name}");
        drop(connection);
        until("end of what was changed", SOON, || Ok(scene.agent.open_connections() <= 1)).unwrap();
    }
}

#[test]
fn the_agent_gets_websockets_from_servers_and_no_other_tunnel() {
    let (scene, ..) = scripted();
    let server = Hypercorn::start().unwrap();
    let url = |path: &str| format!("http://{}{path}", server.address());
    let proxy = scene.at.outbound.to_string();
    let host = server.address().to_string();
    for (name, wish) in wishes() {
        let request = with(Request::new("GET", &url("/x")).header("Host", &host), &wish);
        let reply = request.send(&proxy).unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "served GET /x by HTTP/1.1"), "{name}");
    }
    let mut connection = Connection::open(&proxy).unwrap();
    let reply = connection.send(&websocket(Request::new("GET", &url("/ws")).header("Host", &host))).unwrap();
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")));
    connection.write(b"\x81\x82\0\0\0\0hi").unwrap();
    assert_eq!(connection.read_exactly(4).unwrap(), b"\x81\x02hi");

    let liar = Backend::start(Answer::upgrade_and_echo("h2c")).unwrap();
    for request in [Request::new("GET", &liar.url()), websocket(Request::new("GET", &liar.url()))] {
        let reply = request.header("Host", &liar.address().to_string()).send(&proxy).unwrap();
        assert_eq!((reply.status, error(&reply)), (502, json!("upstream.wrong-protocol")));
    }
    until("end of what was changed", SOON, || Ok(liar.open_connections() == 0)).unwrap();

    let before = liar.connections();
    let connect = frames::request(1, &[(":method", "CONNECT"), (":authority", &liar.address().to_string())]);
    let mut connection = Connection::open(&proxy).unwrap();
    connection.write(&[frames::PREFACE, &connect].concat()).unwrap();
    let said = frames::body(&mut connection, 1, SILENCE).unwrap();
    assert!(said.contains("request.invalid"), "{said}");
    assert_eq!(liar.connections(), before, "CONNECT of HTTP/2 opened a connection");
}

#[test]
fn a_websocket_of_the_agent_is_refused_where_a_plain_request_is_only_observed() {
    let server = Hypercorn::start().unwrap();
    let nobody = format!("http://127.0.0.1:{}/token", ports::free().unwrap());
    let route = "{host: 127.0.0.1, target_audience: tool}";
    let outbound = token_exchange(&nobody, ("agent", "secret"), &[route]);
    let outbound = outbound.replace("\n  config:", "\n  on_error: observe\n  config:");
    let settings = Settings { outbound, ..Settings::default() };
    let at = Addresses::free().unwrap();
    let yaml = settings.yaml(&at, &server.url()).replace("pipeline:\n", &format!("pipeline:\n{UNGATED}"));
    let _bridge = AuthBridge::start(&yaml, at.health, &Options::default()).unwrap();
    let request = |path: &str| {
        let request = Request::new("GET", &format!("{}{path}", server.url())).bearer("subject");
        request.header("Host", &server.address().to_string())
    };
    let proxy = at.outbound.to_string();
    assert_eq!(request("/x").send(&proxy).unwrap().status, 200);
    let reply = websocket(request("/ws")).send(&proxy).unwrap();
    assert_eq!((reply.status, error(&reply)), (503, json!("upstream.token-exchange-failed")));
    assert_eq!(server.served(), ["GET /x by HTTP/1.1"]);
}
