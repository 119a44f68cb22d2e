//! Routes that deny an address, against every spelling of it and every way to the forward proxy.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use std::time::Duration;

/// Spellings that resolvers and kernels take for 127.0.0.1.
const SPELLINGS: [&str; 11] = [
    "127.0.0.1",
    "127.0.0.1.",
    "2130706433",
    "0x7F000001",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "localhost",
];

/// A sidecar with these routes, and a server on 127.0.0.1.
fn start(routes: &[&str]) -> (Scene, Backend, JwksServer) {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let settings = Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        outbound: token_exchange("http://127.0.0.1:1/token", ("agent", "s"), routes),
        ..Settings::default()
    };
    let scene = Scene::start(&settings, &Options::default()).unwrap();
    (scene, Backend::start(Answer::text("server")).unwrap(), jwks)
}

#[test]
fn a_denied_address_is_reached_by_no_spelling() {
    for pattern in ["127.0.0.1", "2130706433", "127.**"] {
        let (scene, server, _jwks) = start(&[&format!("{{host: \"{pattern}\", action: deny}}")]);
        let (proxy, port) = (scene.at.outbound.to_string(), server.address().port());
        for spelling in SPELLINGS {
            let authority = format!("{spelling}:{port}");
            let request = |method, target: &str| {
                let request = Request::new(method, target).header("Host", &authority);
                request.send(&proxy).unwrap().status
            };
            assert_eq!(request("GET", &format!("http://{authority}/")), 403, "{pattern} {spelling}");
            assert_eq!(request("CONNECT", &authority), 403, "CONNECT {pattern} {spelling}");
            let headers =
                [(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "/")];
            let mut connection = Connection::open(&proxy).unwrap();
            connection.write(&[frames::PREFACE, &frames::request(1, &headers)].concat()).unwrap();
            let body = frames::body(&mut connection, 1, Duration::from_millis(300)).unwrap();
            assert!(body.contains("policy.forbidden"), "HTTP/2 {pattern} {spelling}: {body}");
        }
        assert_eq!(server.connections(), 0, "{pattern}");
    }
}

#[test]
fn a_name_that_is_allowed_before_its_address_is_denied_passes() {
    let routes = ["{host: localhost, action: passthrough}", "{host: \"127.**\", action: deny}"];
    let (scene, server, _jwks) = start(&routes);
    let url = |host: &str| format!("http://{host}:{}/", server.address().port());
    assert_eq!(scene.call_out(&url("localhost"), None).unwrap().status, 200);
    assert_eq!(scene.call_out(&url("127.0.0.1"), None).unwrap().status, 403);
    for host in ["1.2.3.4.5", "256.0.0.1", "a..b", "[::1%25lo]"] {
        assert_eq!(scene.call_out(&url(host), None).unwrap().status, 400, "{host}");
    }
}

#[test]
fn the_servers_of_the_sidecar_itself_are_reached_by_no_spelling() {
    let (scene, _server, _jwks) = start(&[]);
    for spelling in SPELLINGS {
        let url = format!("http://{spelling}:{}/config", scene.at.stats.port());
        assert_eq!(scene.call_out(&url, None).unwrap().status, 503, "{spelling}");
    }
}
