//! Changes of protocol through Envoy, to a server that takes every offer.

use crate::scene::{Changes, Scene, error, scene, scene_with};
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{Connection, Request};
use countersign_sidecar_tests::hypercorn::Hypercorn;
use serde_json::json;
use std::time::Duration;

fn offer(request: Request, protocol: &str) -> Request {
    let request = request.header("Connection", "Upgrade").header("Upgrade", protocol);
    request
        .header("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
}

#[test]
fn envoy_joins_a_websocket_after_a_token_was_accepted_and_nothing_else() {
    let scene = scene();
    let agent = Hypercorn::start().unwrap();
    let open = |port| Scene::open(port, agent.address());

    let mut connection = open(scene.at.inbound);
    let reply =
        connection.send(&offer(Request::new("GET", "/ws"), "websocket").bearer(&scene.token())).unwrap();
    assert_eq!(reply.status, 101, "{reply:?}");
    connection.write(b"\x81\x82\0\0\0\0hi").unwrap();
    assert_eq!(connection.read_exactly(4).unwrap(), b"\x81\x02hi");

    let refused = open(scene.at.inbound).send(&offer(Request::new("GET", "/healthz"), "websocket")).unwrap();
    assert_eq!((refused.status, error(&refused)), (403, json!("policy.forbidden")));
    for protocol in ["h2c", "websocket, h2c", "h2c, websocket", "foo"] {
        let mut connection = open(scene.at.inbound);
        connection.write(&offer(Request::new("GET", "/healthz"), protocol).bytes("a")).unwrap();
        connection.write(&[frames::PREFACE, &frames::get(3, "/protected")].concat()).unwrap();
        let read = connection.read_rest(Duration::from_millis(700)).unwrap();
        let read = String::from_utf8_lossy(&read);
        assert!(!read.starts_with("HTTP/1.1 101"), "{protocol}: {read}");
    }
    let served = agent.served();
    assert!(!served.iter().any(|line| line.contains("/protected") || line.contains("HTTP/2")), "{served:?}");

    let host = format!("localhost:{}", agent.address().port());
    let mut connection = open(scene.at.outbound);
    let request = offer(Request::new("GET", "/out").header("Host", &host).bearer("subject"), "websocket");
    assert_eq!(connection.send(&request).unwrap().status, 101);
    connection.write(b"\x81\x82\0\0\0\0hi").unwrap();
    assert_eq!(connection.read_exactly(4).unwrap(), b"\x81\x02hi");
}

#[test]
fn envoy_ends_a_websocket_with_the_token_that_it_was_opened_with() {
    let scene = scene();
    let agent = Hypercorn::start().unwrap();
    let host = format!("localhost:{}", agent.address().port());
    let echoes = |connection: &mut Connection| {
        connection.write(b"\x81\x82\0\0\0\0hi").unwrap();
        assert_eq!(connection.read_exactly(4).unwrap(), b"\x81\x02hi");
    };
    // Clocks may differ by 30 s, by default.
    let open = |port, seconds: i64| {
        let mut connection = Scene::open(port, agent.address());
        let mut request = Request::new("GET", "/ws");
        if port == scene.at.outbound {
            request = request.header("Host", &host);
        }
        let handshake = offer(request.bearer(&scene.token_for(seconds)), "websocket");
        let reply = connection.send(&handshake).unwrap();
        assert_eq!(reply.status, 101, "{reply:?}");
        echoes(&mut connection);
        connection
    };
    for port in [scene.at.inbound, scene.at.outbound] {
        let (mut short, mut long) = (open(port, -26), open(port, 600));
        assert!(short.is_closed_within(Duration::from_secs(8)).unwrap(), "it outlives its token");
        echoes(&mut long);
    }
}

#[test]
fn another_protocol_is_refused_although_envoy_would_carry_it() {
    let allowed = "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: foo}]";
    let scene = scene_with(&Changes {
        envoy: &[("upgrade_configs: [{upgrade_type: websocket}]", allowed)],
        ..Changes::default()
    });
    for (path, token) in [("/healthz", None), ("/x", Some(scene.token()))] {
        let request = offer(Request::new("GET", path), "foo");
        let reply = scene.call(&token.iter().fold(request, |request, token| request.bearer(token)));
        assert_eq!((reply.status, error(&reply)), (403, json!("policy.forbidden")), "{path}");
    }
    let request = offer(Request::new("GET", "/x").bearer("subject"), "foo");
    let reply = scene.call_out(&scene.tool_host(), scene.tool.address(), request);
    assert_eq!((reply.status, error(&reply)), (403, json!("policy.forbidden")));
    assert!(scene.agent.seen().is_empty() && scene.tool.seen().is_empty());
}
