//! Requests to the agent through Envoy: tokens, paths, marks, and certificates.
//! Nothing that a caller writes decides which rules apply to it.

use crate::scene::{Changes, ISSUER, Scene, change, error, header, scene, scene_with, shown};
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{Request, Tls};
use countersign_sidecar_tests::jwt::{base64url, ordinary_claims};
use countersign_sidecar_tests::spire::{Spire, X509Files};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

#[test]
fn both_listeners_take_connections_of_both_families() {
    let scene = scene();
    let destination = scene.agent.address();
    for address in [[0, 0, 0, 0, 0, 0, 0, 1].into(), std::net::IpAddr::from([127, 0, 0, 1])] {
        let inbound = SocketAddr::new(address, scene.at.inbound);
        let refused = Scene::open_at(inbound, destination).send(&Request::new("GET", "/x")).unwrap();
        assert_eq!((refused.status, error(&refused)), (401, json!("auth.missing-token")), "{inbound}");
        let outbound = SocketAddr::new(address, scene.at.outbound);
        let request = Request::new("GET", "/x").header("Host", "denied.example");
        let refused = Scene::open_at(outbound, destination).send(&request).unwrap();
        assert_eq!((refused.status, error(&refused)), (403, json!("policy.forbidden")), "{outbound}");
    }
}

#[test]
fn the_agent_is_reached_with_its_own_tokens_only() {
    let scene = scene();
    let refused = scene.call(&Request::new("GET", "/x"));
    assert_eq!((refused.status, header(&refused, "www-authenticate")), (401, Some("Bearer")));
    assert_eq!(header(&refused, "content-type"), Some("application/json"));
    let body = refused.json().unwrap();
    assert_eq!((&body["error"], &body["plugin"]), (&json!("auth.missing-token"), &json!("jwt-validation")));

    let other = scene.key.sign(&ordinary_claims(ISSUER, "agent-b", "alice")).unwrap();
    let refused = scene.call(&Request::new("GET", "/x").bearer(&other));
    assert_eq!((refused.status, error(&refused)), (401, json!("auth.audience-mismatch")));
    assert_eq!(header(&refused, "www-authenticate"), Some("Bearer error=\"invalid_token\""));
    let twice = Request::new("GET", "/x").bearer(&scene.token()).bearer(&other);
    assert_eq!(scene.call(&twice).status, 401);
    assert!(scene.agent.seen().is_empty(), "{:?}", scene.agent.seen());

    let token = scene.token();
    let request = Request::new("POST", "/x%2Fy?q=1").bearer(&token).body(vec![b'x'; 300_000]);
    let answer = scene.call(&request);
    assert_eq!((answer.status, answer.text().as_str()), (200, "the agent"));
    let seen = scene.agent.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.body.len()), ("/x%2Fy?q=1", 300_000));
    assert_eq!(seen.bearer(), Some(token.as_str()));
    assert_eq!(scene.call(&Request::new("GET", "/healthz")).status, 200);

    let counted = Scene::get(scene.at.stats, "/stats");
    assert_eq!(counted["inbound_approvals"], json!({ "authorized": 1, "passthrough": 1 }));
    assert_eq!(counted["inbound_denials"]["no_header"], 1);
    let sessions = Scene::get(scene.at.sessions, "/v1/sessions");
    let of_alice =
        sessions["sessions"].as_array().unwrap().iter().find(|session| session["events"] == 1).unwrap();
    let session =
        Scene::get(scene.at.sessions, &format!("/v1/sessions/{}", of_alice["id"].as_str().unwrap()));
    let event = &session["events"][0];
    assert_eq!((&event["identity"]["subject"], &event["direction"]), (&json!("alice"), &json!("inbound")));
    assert_eq!((&event["path"], &event["phase"]), (&json!("/x%2Fy"), &json!("request")));
}

#[test]
fn a_path_that_looks_public_reaches_the_agent_only_with_a_token() {
    let scene = scene();
    for target in [
        "/admin",
        "/healthz%3f/../../admin",
        "/mcp/../healthz",
        "/.well-known/x%3f/../../mcp",
        "/%68ealthz",
        "/healthz%00",
        "/.well-known/..%2f..%2fmcp",
        "/.well-known/a;b/../../mcp",
        "/.well-known/\\..\\mcp",
        "//healthz",
        "/healthz#/../mcp",
        "http://healthz/admin",
        "*",
    ] {
        let status = scene.call(&Request::new("GET", target)).status;
        assert!(matches!(status, 400 | 401), "{target}: {status}");
    }
    assert!(scene.agent.seen().is_empty(), "the agent saw {:?}", scene.agent.seen());
}

#[test]
fn a_header_never_decides_the_direction_and_does_not_go_on() {
    let scene = scene();
    let marked = |request: Request, direction: &str| {
        request
            .header("x-authbridge-direction", direction)
            .header("X-AuthBridge-Anything", "1")
            .header("X_AuthBridge_Anything", "1")
            .header("x-kept", "1")
    };
    let reply = scene.call(&marked(Request::new("GET", "/x"), "outbound"));
    assert_eq!((reply.status, error(&reply)), (401, json!("auth.missing-token")));
    assert_eq!(scene.call(&marked(Request::new("GET", "/x").bearer(&scene.token()), "outbound")).status, 200);

    let outbound = marked(Request::new("GET", "/x").bearer("subject"), "inbound");
    assert_eq!(scene.call_out(&scene.tool_host(), scene.tool.address(), outbound).status, 200);
    assert_eq!(scene.tool.last().unwrap().bearer(), Some("exchanged"));
    let denied = marked(Request::new("GET", "/healthz").bearer(&scene.token()), "inbound");
    let reply = scene.call_out("denied.example", scene.tool.address(), denied);
    assert_eq!((reply.status, error(&reply)), (403, json!("policy.forbidden")));
    for seen in [scene.agent.seen(), scene.tool.seen()].concat() {
        assert_eq!(seen.header("x-kept"), Some("1"));
        let marks: Vec<_> = seen.headers.iter().filter(|(name, _)| name.contains("authbridge")).collect();
        assert!(marks.is_empty(), "{marks:?}");
    }
    assert_eq!((scene.agent.seen().len(), scene.tool.seen().len()), (1, 1));
}

#[test]
fn a_caller_is_who_its_certificate_says() {
    let spire = Spire::start("example.org").unwrap();
    let id = |name: &str| format!("spiffe://example.org/ns/team/sa/{name}");
    let [own, friend, stranger] =
        ["own", "friend", "stranger"].map(|name| spire.mint_x509(&id(name), "1h").unwrap());
    let folder = Folder::new("svid").unwrap();
    for (name, from) in
        [("svid.pem", &own.chain), ("svid_key.pem", &own.key), ("svid_bundle.pem", &own.bundle)]
    {
        folder.write(name, std::fs::read(from).unwrap()).unwrap();
    }
    let files = folder.path().display().to_string();
    let blocks = format!(
        "spiffe: {{files_dir: \"{files}\"}}\nmtls: {{mode: strict, allowed_peers: [\"{}\"]}}",
        id("friend")
    );
    let socket = change(shown(2), "/opt/", &format!("{files}/"));
    let agent = Backend::start(Answer::text("the agent")).unwrap();
    let cluster = format!(
        "  clusters:\n  - name: agent\n    type: STATIC\n    load_assignment:\n      cluster_name: agent\n      endpoints:\n      \
         - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}]\n",
        agent.address().port()
    );
    let outbound = format!("{socket}  - name: outbound\n");
    let secured = scene_with(&Changes {
        envoy: &[
            ("  - name: outbound\n", &outbound),
            ("  clusters:\n", &cluster),
            ("cluster: original_destination,", "cluster: agent,"),
        ],
        blocks: &blocks,
    });
    let at = format!("127.0.0.1:{}", secured.at.inbound);
    let tls = |of: &X509Files| Tls::with_certificate(&of.bundle, &of.chain, &of.key).unwrap();
    let get = |token: &str, tls: &Tls| Request::new("GET", "/x").bearer(token).send_tls(&at, tls);
    let token = secured.token();
    assert_eq!(get(&token, &tls(&friend)).unwrap().status, 200);
    let reply = get(&token, &tls(&stranger)).unwrap();
    assert_eq!((reply.status, error(&reply)), (403, json!("policy.forbidden")));
    assert!(get(&token, &Tls::trusting(&own.bundle).unwrap()).is_err());

    let bound = |to: &Path| {
        let der = CertificateDer::from_pem_file(to).unwrap();
        let mut claims = ordinary_claims(ISSUER, "agent-a", "alice");
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        claims["cnf"] = json!({ "x5t#S256": base64url(digest) });
        secured.key.sign(&claims).unwrap()
    };
    assert_eq!(get(&bound(&friend.chain), &tls(&friend)).unwrap().status, 200);
    let reply = get(&bound(&stranger.chain), &tls(&friend)).unwrap();
    assert_eq!((reply.status, reply.json().unwrap()["reason"].clone()), (401, json!("TokenBinding")));
    assert_eq!(agent.seen().len(), 2);

    // Without TLS at the listener, or without its attributes, nobody is anybody.
    let plain = scene_with(&Changes { blocks: &blocks, ..Changes::default() });
    let reply = plain.call(&Request::new("GET", "/x").bearer(&plain.token()));
    assert_eq!((reply.status, error(&reply)), (403, json!("policy.forbidden")));
    assert!(reply.text().contains("connection.uri_san_peer_certificate"), "{}", reply.text());
}

#[test]
fn requests_at_once_are_judged_one_by_one() {
    let scene = scene();
    let token = scene.token();
    let good = Request::new("GET", "/x").bearer(&token);
    let bad = Request::new("GET", "/x").bearer("bad");
    std::thread::scope(|threads| {
        let (scene, good, bad) = (&scene, &good, &bad);
        let send = |request| threads.spawn(move || scene.call(request).status);
        let all: Vec<_> = (0..40).map(|_| (send(good), send(bad))).collect();
        for (good, bad) in all {
            assert_eq!((good.join().unwrap(), bad.join().unwrap()), (200, 401));
        }
    });
    assert_eq!(scene.agent.seen().len(), 40);
}
