//! What agents speak passes unchanged: HTTP/2 and gRPC with trailers, changes of protocol, events as they come, large
//! bodies, and many or slow callers at once.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::Answer;
use countersign_sidecar_tests::http::{Connection, Request};
use countersign_sidecar_tests::http2;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ISSUER: &str = "https://id.example/realms/agents";

struct Stage {
    scene: Scene,
    token: String,
    _jwks: JwksServer,
}

fn stage_with(blocks: &str, plugins: &str) -> Stage {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let inbound = format!("{}\n{plugins}", jwt_validation(ISSUER, &jwks.url(), "agent-a"));
    let settings = Settings { inbound, blocks: blocks.to_owned(), ..Settings::default() };
    let scene = Scene::start(&settings, &Options::default()).unwrap();
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    Stage { scene, token, _jwks: jwks }
}

fn stage() -> Stage {
    stage_with("", "- a2a-parser")
}

#[test]
fn grpc_keeps_its_trailers_and_is_judged_like_everything_else() {
    let Stage { scene, token, _jwks } = &stage();
    scene.agent.answer(Answer::grpc(&[b"one", b"two"], 0));
    let address = scene.at.inbound.to_string();
    let bearer = format!("Bearer {token}");
    let headers =
        [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", bearer.as_str())];
    let reply = http2::send(&address, "POST", "/a.B/C", &headers, b"\0\0\0\0\x01x").unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.trailers.contains(&("grpc-status".to_owned(), "0".to_owned())), "{:?}", reply.trailers);
    assert!(scene.agent.last().unwrap().http2);
    assert_eq!(http2::send(&address, "POST", "/a.B/C", &headers[..2], b"").unwrap().status, 401);
    // Anything else than gRPC reaches the agent in the version that agents speak.
    scene.agent.answer(Answer::text("plain"));
    let reply = http2::send(&address, "GET", "/x", &headers[2..], b"").unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"plain"[..]));
    assert!(!scene.agent.last().unwrap().http2);
}

#[test]
fn a_change_of_protocol_joins_both_ends_after_the_gate() {
    let Stage { scene, token, _jwks } = &stage();
    scene.agent.answer(Answer::upgrade_and_echo("websocket"));
    let call = |token: Option<&str>| {
        let request =
            Request::new("GET", "/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = token.iter().fold(request, |request, token| request.bearer(token));
        let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
        (connection.send(&request).unwrap(), connection)
    };
    assert_eq!(call(None).0.status, 401);
    let (reply, mut connection) = call(Some(token));
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")));
    connection.write(b"not http \0\xff").unwrap();
    assert_eq!(connection.read_exactly(11).unwrap(), b"not http \0\xff");
}

#[test]
fn events_arrive_one_by_one() {
    let Stage { scene, token, _jwks } = &stage();
    let pause = Duration::from_millis(400);
    scene.agent.answer(Answer::events(&["one", "two", "three"], pause));
    let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
    let request = Request::new("GET", "/events").bearer(token);
    connection.write(&request.bytes("a")).unwrap();
    let began = Instant::now();
    connection.read_until(b"one").unwrap();
    let first = began.elapsed();
    connection.read_until(b"three").unwrap();
    assert!(first < 2 * pause && began.elapsed() > 2 * pause, "{first:?} and {:?}", began.elapsed());
}

#[test]
fn a_body_larger_than_a_parser_reads_passes_whole() {
    let Stage { scene, token, _jwks } = &stage();
    let body = format!("{{\"method\":\"message/send\",\"x\":\"{}\"}}", "y".repeat(3 << 20));
    let request =
        Request::new("POST", "/").bearer(token).header("Content-Type", "application/json").body(body.clone());
    assert_eq!(scene.call(&request).unwrap().status, 200);
    assert_eq!(scene.agent.last().unwrap().body.len(), body.len());
}

#[test]
fn a_header_that_does_not_end_is_given_up_and_one_that_is_too_large_refused() {
    let Stage { scene, .. } = &stage_with("limits: {header_timeout: 1s, idle_timeout: 3s}", "");
    let address = scene.at.inbound.to_string();
    let mut slow = Connection::open(&address).unwrap();
    slow.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ").unwrap();
    let began = Instant::now();
    assert!(slow.is_closed_within(Duration::from_secs(5)).unwrap());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let mut silent = Connection::open(&address).unwrap();
    assert!(silent.is_closed_within(Duration::from_secs(6)).unwrap());
    let large = Request::new("GET", "/healthz").header("X", &"x".repeat(100_000));
    let reply = scene.call(&large);
    assert!(reply.as_ref().map_or(true, |reply| matches!(reply.status, 400 | 431)), "{reply:?}");
    let mut many = Request::new("GET", "/healthz");
    for number in 0..200 {
        many = many.header(&format!("X-{number}"), "1");
    }
    let reply = scene.call(&many);
    assert!(reply.as_ref().map_or(true, |reply| matches!(reply.status, 400 | 431)), "{reply:?}");
    assert_eq!(scene.call(&Request::new("GET", "/healthz")).unwrap().status, 200);
}

#[test]
fn ten_thousand_idle_connections_leave_room_for_requests() {
    let Stage { scene, .. } = &stage_with("limits: {connections_per_peer: 16384}", "");
    let resident = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", scene.bridge.pid().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = resident();
    let mut idle = Vec::new();
    while idle.len() < 10_000 {
        idle.push(TcpStream::connect(scene.at.inbound).unwrap());
    }
    let began = Instant::now();
    assert_eq!(scene.call(&Request::new("GET", "/healthz")).unwrap().status, 200);
    println!(
        "{} idle connections, {} KiB more, answer after {:?}",
        idle.len(),
        resident() - before,
        began.elapsed()
    );
    assert!(resident() - before < 5 * 10_000, "{} KiB more", resident() - before);
}
