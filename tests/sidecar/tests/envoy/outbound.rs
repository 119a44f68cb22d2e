//! Requests of the agent through Envoy: a token goes to the server that the connection goes to, or nowhere.
//! What cannot be had is refused, and never left out.

use crate::scene::{Changes, Scene, change, error, scene, scene_with};
use countersign_sidecar_tests::authbridge::{AuthBridge, Options};
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::Request;
use countersign_sidecar_tests::process::until;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_token_is_exchanged_for_whom_the_connection_goes_to() {
    let scene = scene();
    let (host, address) = (scene.tool_host(), scene.tool.address());
    for round in 0..2 {
        let request = Request::new("POST", "/x?y=z").bearer("subject").header("x-kept", "1").body("question");
        let reply = scene.call_out(&host.to_uppercase(), address, request);
        assert_eq!((reply.status, reply.text().as_str()), (200, "the tool"), "{round}");
        let seen = scene.tool.last().unwrap();
        assert_eq!(seen.all("authorization").collect::<Vec<_>>(), ["Bearer exchanged"]);
        assert_eq!((seen.target.as_str(), seen.text().as_str()), ("/x?y=z", "question"));
    }
    assert_eq!(scene.token_calls(), 1);
    let form = scene.endpoint.last().unwrap().text();
    assert!(form.contains("subject_token=subject&") && form.contains("audience=tool"), "{form}");
    let reply = scene.call_out(&host, address, Request::new("GET", "/x"));
    assert_eq!((reply.status, error(&reply)), (401, json!("auth.missing-token")));

    // No route names it: it goes on as it came.
    let reply = scene.call_out("other.example", address, Request::new("GET", "/x").bearer("own"));
    assert_eq!(reply.status, 200);
    let seen = scene.tool.last().unwrap();
    assert_eq!((seen.bearer(), seen.authority.as_str()), (Some("own"), "other.example"));
    assert_eq!(scene.token_calls(), 1);
    let counted = Scene::get(scene.at.stats, "/stats");
    assert_eq!(counted["outbound_replace_tokens"], json!({ "replace_token": 2, "cache_hit": 1 }));
}

#[test]
fn a_forged_host_gets_no_token() {
    let scene = scene();
    let thief = Backend::start(Answer::text("the thief")).unwrap();
    let (host, address) = (scene.tool_host(), scene.tool.address());
    let request = || Request::new("GET", "/x").bearer("subject");
    // The agent connects to one server and names another.
    let reply = scene.call_out(&host, thief.address(), request());
    assert_eq!((reply.status, error(&reply)), (403, json!("policy.forbidden")));
    // Another port of the same machine, and no port, are other servers.
    assert_eq!(scene.call_out("localhost", thief.address(), request()).status, 403);
    let absolute = Request::new("GET", &format!("http://{host}/x")).bearer("subject");
    assert_eq!(scene.call_out("other.example", thief.address(), absolute).status, 403);
    // Several hosts, or none that is one.
    let twice = request().header("Host", "other.example");
    assert_eq!(scene.call_out(&host, address, twice).status, 400);
    for host in
        [format!("x,{host}"), format!("user@{host}"), format!("{host}, {host}"), "localhost:99999".to_owned()]
    {
        let status = scene.call_out(&host, address, request()).status;
        assert_eq!(status, 400, "{host}");
    }
    // Whoever connects to Envoy itself names no destination at all.
    let direct = request().header("Host", &host).send(&format!("127.0.0.1:{}", scene.at.outbound)).unwrap();
    assert_eq!(direct.status, 403);
    assert_eq!(scene.token_calls(), 0);
    assert!(thief.seen().is_empty() && scene.tool.seen().is_empty());
}

#[test]
fn a_token_that_cannot_be_had_is_no_leave() {
    let scene = scene();
    scene.endpoint.answer(Answer::text("down").with_status(500));
    let request = Request::new("GET", "/x").bearer("subject");
    let reply = scene.call_out(&scene.tool_host(), scene.tool.address(), request);
    assert_eq!((reply.status, error(&reply)), (503, json!("upstream.token-exchange-failed")));
    assert!(scene.tool.seen().is_empty());
}

#[test]
fn a_token_that_comes_too_late_is_no_leave() {
    let scene = scene_with(&Changes { envoy: &[("timeout: 35s", "timeout: 0.2s")], ..Changes::default() });
    scene.endpoint.answer(Answer::json(&json!({})).after(Duration::from_secs(2)));
    let request = Request::new("GET", "/x").bearer("subject");
    assert_eq!(scene.call_out(&scene.tool_host(), scene.tool.address(), request).status, 504);
    assert!(scene.tool.seen().is_empty());
}

#[test]
fn a_route_that_asks_for_tls_is_not_served_without() {
    let routes =
        ["{host: 127.0.0.1, target_audience: tool, server_spiffe_id: \"spiffe://example.org/ns/a/*\"}"];
    let file = Folder::new("routes").unwrap();
    let path = file.write("routes.yaml", format!("[{}]", routes[0])).unwrap();
    let at = path.display().to_string();
    let scene = scene();
    let settings = std::fs::read_to_string(scene.bridge.folder().join("authbridge.yaml")).unwrap();
    scene.bridge.rewrite_config(&change(&settings, "/nonexistent/routes.yaml", &at)).unwrap();
    let (host, address) = (scene.tool.address().to_string(), scene.tool.address());
    let request = Request::new("GET", "/x").bearer("subject");
    until("the route", Duration::from_secs(20), || {
        Ok(scene.call_out(&host, address, request.clone()).status == 403)
    })
    .unwrap();
    assert_eq!(scene.token_calls(), 0);

    let mut refusing = AuthBridge::start_unready(
        &change(&settings, "{host: localhost,", "{tls: mtls, host: localhost,"),
        &Options::default(),
    )
    .unwrap();
    assert_eq!(refusing.wait_end(Duration::from_secs(10)).unwrap().code(), Some(2));
    assert!(refusing.log().contains("rules[0].tls"), "{}", refusing.log());
}
