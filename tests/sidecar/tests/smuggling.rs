//! Requests whose end, target or host two readers could see differently: whatever AuthBridge answers, the agent never
//! sees a request that was not judged.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::Answer;
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{self, Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use std::time::Duration;

const ISSUER: &str = "https://id.example/realms/agents";

struct Stage {
    scene: Scene,
    token: String,
    _jwks: JwksServer,
}

fn stage() -> Stage {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let inbound = jwt_validation(ISSUER, &jwks.url(), "agent-a");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    Stage { scene, token, _jwks: jwks }
}

/// Statuses of all answers in what a connection said.
fn statuses(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    text.split("HTTP/1.1 ").skip(1).map(|part| part.chars().take(3).collect()).collect()
}

#[test]
fn no_form_of_a_request_carries_a_second_one_past_the_gate() {
    let Stage { scene, token, _jwks } = &stage();
    let address = scene.at.inbound.to_string();
    let authorized = format!("Host: a\r\nAuthorization: Bearer {token}\r\n");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = smuggled.len();
    let cases = [
        (
            "CL then TE",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "TE then CL",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "two lengths",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{smuggled}"
            ),
        ),
        (
            "a list of lengths",
            format!("POST /p HTTP/1.1\r\n{authorized}Content-Length: 0, {length}\r\n\r\n{smuggled}"),
        ),
        ("a signed length", format!("POST /p HTTP/1.1\r\n{authorized}Content-Length: +0\r\n\r\n{smuggled}")),
        (
            "a hexadecimal length",
            format!("POST /p HTTP/1.1\r\n{authorized}Content-Length: 0x0\r\n\r\n{smuggled}"),
        ),
        (
            "TE with a tab",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "TE in upper case",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding: CHUNKED\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "chunked not last",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "chunked twice",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "TE in HTTP/1.0",
            format!("POST /p HTTP/1.0\r\n{authorized}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        (
            "a space before the colon",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "a folded header",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "a chunk size that overflows",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{smuggled}"
            ),
        ),
        (
            "a chunk with a bare LF",
            format!(
                "POST /p HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked\r\n\r\n1\nZ\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        ("a NUL in a header", format!("POST /p HTTP/1.1\r\n{authorized}X: a\0b\r\n\r\n{smuggled}")),
        ("an unread body", format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{smuggled}")),
    ];
    for (name, bytes) in cases {
        scene.agent.forget();
        let answer = http::raw(&address, bytes.as_bytes()).unwrap();
        let seen: Vec<String> = scene.agent.seen().into_iter().map(|seen| seen.target).collect();
        assert!(!seen.contains(&"/smuggled".to_owned()), "{name}: the agent saw {seen:?}");
        let statuses = statuses(&answer);
        assert!(statuses.len() <= 1, "{name}: {statuses:?}");
    }
}

#[test]
fn two_hosts_or_none_are_refused_by_name() {
    let Stage { scene, token, _jwks } = &stage();
    let address = scene.at.inbound.to_string();
    for (name, header) in [("two hosts", "Host: a\r\nHost: b\r\n"), ("no host", "")] {
        let request = format!("GET /x HTTP/1.1\r\n{header}Authorization: Bearer {token}\r\n\r\n0\r\n\r\n");
        let answer = String::from_utf8_lossy(&http::raw(&address, request.as_bytes()).unwrap()).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("request.invalid"), "{name}: {answer}");
    }
    let other = format!("GET http://b/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    assert_eq!(statuses(&http::raw(&address, other.as_bytes()).unwrap()), ["400"]);
}

#[test]
fn http2_names_one_host_as_http1_does() {
    let Stage { scene, .. } = &stage();
    let served = |authority: &str, host: &[&str]| {
        scene.agent.forget();
        let mut head =
            vec![(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", "/healthz")];
        head.extend(host.iter().map(|host| ("host", *host)));
        let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
        connection.write(&[frames::PREFACE, &frames::request(1, &head)].concat()).unwrap();
        let said = frames::body(&mut connection, 1, Duration::from_millis(700)).unwrap();
        let hosts: Vec<String> = scene.agent.seen().into_iter().map(|seen| seen.authority).collect();
        (said.contains("request.invalid"), hosts)
    };
    for (authority, host) in [("a", &[][..]), ("a", &["a"]), ("a:80", &["A"])] {
        let (refused, hosts) = served(authority, host);
        assert!(!refused && hosts.len() == 1, "{authority} {host:?}: {hosts:?}");
    }
    for (authority, host) in [("a", &["b"][..]), ("a", &["a", "a"]), ("a", &["u:p@a"]), ("u:p@a", &[])] {
        assert_eq!(served(authority, host), (true, Vec::new()), "{authority} {host:?}");
    }
}

#[test]
fn headers_of_one_connection_and_marks_of_the_sidecar_stay_behind() {
    let Stage { scene, token, _jwks } = &stage();
    let request = Request::new("GET", "/x")
        .bearer(token)
        .header("Connection", "X-Secret, keep-alive")
        .header("X-Secret", "1")
        .header("Keep-Alive", "timeout=5")
        .header("TE", "trailers")
        .header("Proxy-Authorization", "Basic eA==")
        .header("X-AuthBridge-Direction", "outbound")
        .header("X_AuthBridge_Direction", "outbound")
        .header("X-Kept", "yes");
    assert_eq!(scene.call(&request).unwrap().status, 200);
    let seen = scene.agent.last().unwrap();
    for gone in [
        "x-secret",
        "keep-alive",
        "proxy-authorization",
        "x-authbridge-direction",
        "x_authbridge_direction",
        "connection",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!((seen.header("x-kept"), seen.header("te")), (Some("yes"), Some("trailers")));
    assert_eq!(seen.bearer(), Some(token.as_str()), "the agent gets the token as it came");
}

#[test]
fn a_body_that_nobody_read_is_not_the_next_request() {
    let Stage { scene, token, _jwks } = &stage();
    let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
    let smuggled = "GET /healthz?smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", smuggled.len() + 10);
    connection.write(head.as_bytes()).unwrap();
    assert_eq!(connection.read_reply(false).unwrap().status, 401);
    // Longer than a connection keeps its buffers, so that it was given back if it ever would be.
    std::thread::sleep(Duration::from_millis(2_500));
    let _ = connection.write(smuggled.as_bytes());
    let rest = connection.read_rest(Duration::from_secs(1)).unwrap();
    assert!(statuses(&rest).is_empty(), "{}", String::from_utf8_lossy(&rest));
    assert!(scene.agent.seen().is_empty());

    // The agent answers before it has the body: the rest of it still belongs to the first request.
    scene.agent.answer(Answer::text("early"));
    let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
    let head = format!(
        "POST /y HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    );
    connection.write(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(2_500));
    connection.write(smuggled.as_bytes()).unwrap();
    assert_eq!(connection.read_reply(false).unwrap().status, 200);
    assert!(connection.read_rest(Duration::from_millis(500)).unwrap().is_empty());
    let targets: Vec<String> = scene.agent.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/y"]);
}

#[test]
fn a_request_that_comes_in_pieces_after_a_rest_is_read_whole() {
    let Stage { scene, .. } = &stage();
    let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..2 {
        connection.write(request.as_bytes()).unwrap();
        assert_eq!(connection.read_reply(false).unwrap().status, 200);
        // The beginning of the next one comes before the connection rests, the end after it would have.
        connection.write(&request.as_bytes()[..9]).unwrap();
        std::thread::sleep(Duration::from_millis(2_500));
        connection.write(&request.as_bytes()[9..]).unwrap();
        assert_eq!(connection.read_reply(false).unwrap().status, 200);
        std::thread::sleep(Duration::from_millis(2_500));
    }
    connection.write([request, request, request].concat().as_bytes()).unwrap();
    for _ in 0..3 {
        assert_eq!(connection.read_reply(false).unwrap().status, 200);
    }
}
