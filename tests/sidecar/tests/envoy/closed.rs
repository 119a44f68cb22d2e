//! Everything that goes wrong between Envoy and AuthBridge, which must never be leave to pass.
//! Envoy takes silence and a clean end for that.

use crate::scene::{Changes, Scene, error, scene, scene_with};
use countersign_sidecar_tests::http::Request;
use countersign_sidecar_tests::http2;
use countersign_sidecar_tests::process::until;
use serde_json::json;
use std::time::Duration;

#[test]
fn requests_are_refused_while_a_setting_of_envoy_is_missing() {
    let named = |attribute: &str| format!("              - {attribute}\n");
    let direction = named("xds.listener_direction");
    for (from, says) in [
        (direction.as_str(), "`xds.listener_direction` in `request_attributes`"),
        ("    traffic_direction: INBOUND\n", "`traffic_direction: INBOUND`"),
    ] {
        let scene = scene_with(&Changes { envoy: &[(from, "")], ..Changes::default() });
        for path in ["/x", "/healthz"] {
            let reply = scene.call(&Request::new("GET", path).bearer(&scene.token()));
            assert_eq!((reply.status, error(&reply)), (503, json!("auth.unavailable")), "{from}");
            assert!(reply.text().contains(says), "{}", reply.text());
        }
        assert!(scene.agent.seen().is_empty());
    }
    let destination = named("destination.address");
    let scene = scene_with(&Changes { envoy: &[(&destination, "")], ..Changes::default() });
    let request = Request::new("GET", "/x").bearer("subject");
    let reply = scene.call_out(&scene.tool_host(), scene.tool.address(), request);
    assert_eq!((reply.status, error(&reply)), (503, json!("auth.unavailable")));
    assert!(reply.text().contains("destination.address"), "{}", reply.text());
    assert_eq!((scene.token_calls(), scene.tool.seen().len()), (0, 0));
}

#[test]
fn what_is_told_without_the_head_of_its_request_ends_in_an_error() {
    let mode = "request_header_mode: SEND, response_header_mode: SKIP";
    let body = "request_header_mode: SKIP, response_header_mode: SKIP, request_body_mode: BUFFERED";
    let scene = scene_with(&Changes { envoy: &[(mode, body)], ..Changes::default() });
    let reply = scene.call(&Request::new("POST", "/x").bearer(&scene.token()).body("question"));
    assert_eq!(reply.status, 500);
    // Envoy sent the head on by itself, and nothing after it.
    assert!(scene.agent.seen().iter().all(|seen| !seen.complete));
    assert!(scene.bridge.log().contains("request_header_mode must be SEND"), "{}", scene.bridge.log());
}

/// Envoy takes the end of a conversation without an error for leave to go on.
#[test]
fn a_conversation_that_is_out_of_order_never_ends_well() {
    let scene = scene();
    let at = scene.at.ext_proc.to_string();
    let send = |path: &str, body: &[u8]| {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let reply = http2::send(&at, "POST", path, &headers, body).unwrap();
        let status = reply.headers.iter().chain(&reply.trailers).find(|(name, _)| name == "grpc-status");
        (status.map(|(_, code)| code.clone()), reply.body)
    };
    let framed =
        |message: &[u8]| [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat();
    let process = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
    // Told: nothing, no message, a message without contents, half of one, too large a one, an end (response_headers)
    // without a beginning, and a beginning (request_headers) that nobody waits for (observability_mode).
    let told = [
        vec![],
        framed(&[0xff; 12]),
        framed(&[]),
        framed(&[0x12, 0])[..6].to_vec(),
        framed(&[&[0x12, 0, 0x42, 0x80, 0x80, 0x12][..], &vec![0; 288 * 1024]].concat()),
        framed(&[0x1a, 0]),
        framed(&[0x12, 0, 0x50, 1]),
        // Compressed, which was not agreed.
        [&[1, 0, 0, 0, 2][..], &[0x12, 0]].concat(),
    ];
    for body in told {
        let (status, answer) = send(process, &body);
        let short = body.iter().take(20).collect::<Vec<_>>();
        assert!(status.as_deref().is_some_and(|status| status != "0"), "{short:?}: {status:?}");
        assert!(answer.is_empty(), "{short:?}: {answer:?}");
    }
    // A beginning without attributes is answered, by a refusal; the same twice is not.
    let beginning = framed(&[0x12, 0]);
    let (status, answer) = send(process, &beginning);
    assert_eq!(status.as_deref(), Some("0"));
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("auth.unavailable") && text.contains("xds.listener_direction"), "{text}");
    assert_ne!(send(process, &beginning.repeat(2)).0.as_deref(), Some("0"));
    assert_eq!(
        send("/envoy.service.ext_proc.v3.ExternalProcessor/Other", &beginning).0.as_deref(),
        Some("12")
    );
    assert_eq!(send("/grpc.health.v1.Health/Check", &framed(&[])).1, framed(&[0x08, 1]));
    assert_eq!(send("/grpc.health.v1.Health/Check", &framed(b"\x0a\x01x")).0.as_deref(), Some("5"));
}

#[test]
fn everything_else_that_is_told_is_let_pass() {
    let mode = "request_header_mode: SEND, response_header_mode: SKIP";
    let all = "request_header_mode: SEND, response_header_mode: SEND, request_body_mode: STREAMED, \
               response_body_mode: BUFFERED, request_trailer_mode: SEND, response_trailer_mode: SEND";
    let scene = scene_with(&Changes { envoy: &[(mode, all)], ..Changes::default() });
    let request = Request::new("POST", "/x").bearer(&scene.token()).body(vec![b'x'; 100_000]);
    let reply = scene.call(&request);
    assert_eq!((reply.status, reply.text().as_str()), (200, "the agent"));
    assert_eq!(scene.agent.last().unwrap().body.len(), 100_000);
}

#[test]
fn nothing_passes_while_authbridge_is_down_and_its_health_is_known_to_envoy() {
    let check = "    type: STATIC\n    health_checks:\n    - {timeout: 1s, interval: 0.2s, no_traffic_interval: 0.2s, \
                 unhealthy_threshold: 1, healthy_threshold: 1, grpc_health_check: {}}\n";
    let mut scene = scene_with(&Changes { envoy: &[("    type: STATIC\n", check)], ..Changes::default() });
    let flag = format!("authbridge::{}::health_flags::", scene.at.ext_proc);
    let flags = |scene: &Scene| {
        let clusters = scene.envoy.admin("/clusters").unwrap().text();
        clusters.lines().find_map(|line| line.strip_prefix(&flag).map(str::to_owned)).unwrap()
    };
    until("health", Duration::from_secs(10), || Ok(flags(&scene) == "healthy")).unwrap();
    let request = Request::new("GET", "/healthz");
    assert_eq!(scene.call(&request).status, 200);
    scene.agent.forget();
    scene.bridge.kill().unwrap();
    for _ in 0..3 {
        assert_eq!(scene.call(&request).status, 500);
        assert_eq!(scene.call_out("other.example", scene.tool.address(), request.clone()).status, 500);
    }
    assert!(scene.agent.seen().is_empty() && scene.tool.seen().is_empty());
    until("failed health", Duration::from_secs(10), || Ok(flags(&scene).contains("failed"))).unwrap();
    scene.bridge.start_again(scene.at.health).unwrap();
    until("a request", Duration::from_secs(10), || Ok(scene.call(&request).status == 200)).unwrap();
    assert!(scene.bridge.stop().unwrap().success());
    assert_eq!(scene.call(&request).status, 500);
}
