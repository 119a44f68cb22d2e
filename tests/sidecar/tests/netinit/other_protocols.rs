//! Redirected connections that are neither HTTP/1.1 nor TLS, with real servers and clients: they pass where the routes
//! allow the address, and are counted and told.

use crate::pod::{OTHER, Pod, SERVER, at, call, listen};
use crate::proxied::{Proxied, settings};
use countersign_sidecar_tests::attack::whole_client_hello;
use countersign_sidecar_tests::certificates::Authority;
use countersign_sidecar_tests::http::{Connection, Request, Tls};
use countersign_sidecar_tests::opentelemetry::Collector;
use countersign_sidecar_tests::postgres::Postgres;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

impl Proxied {
    /// How many connections were passed on unread.
    fn unread(&self) -> u64 {
        let request = Request::new("GET", "/metrics");
        let reply = self.pod.inside.inside(None, || request.send(&self.scene.at.stats.to_string()));
        let metrics = reply.unwrap().unwrap().text();
        let line = metrics.lines().find(|line| line.contains("other_protocol")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    fn told(&self, words: &str) -> usize {
        self.scene.bridge.log().lines().filter(|line| line.contains(words)).count()
    }
}

#[test]
fn postgresql_passes_where_its_address_is_allowed() {
    let proxied = Proxied::start(0);
    let postgres = proxied.pod.beyond(|| Postgres::start(at(OTHER[0], 5432))).unwrap();
    let ask = || proxied.pod.as_agent(|| postgres.query("select 40 + 2"));
    for _ in 0..2 {
        assert_eq!(ask().unwrap(), "42", "{}", proxied.scene.bridge.log());
    }
    assert!(proxied.unread() >= 2);
    assert_eq!(proxied.told("passed on unread"), 1, "{}", proxied.scene.bridge.log());

    // Under mTLS nothing goes out unencrypted but what a route says.
    let strict = |route: &str| {
        let mut settings = settings(&proxied.jwks, &[route]);
        settings.blocks = "spiffe: {files_dir: /nonexistent}\nmtls: {mode: strict}".to_owned();
        settings
    };
    proxied.rewrite(&strict(&format!("{{host: \"{}\", action: passthrough}}", OTHER[0])));
    ask().unwrap_err();
    assert_eq!(proxied.told("`tls: plain` allows that"), 1, "{}", proxied.scene.bridge.log());
    proxied.rewrite(&strict(&format!("{{host: \"{}\", action: passthrough, tls: plain}}", OTHER[0])));
    assert_eq!(ask().unwrap(), "42");

    let deny = format!("{{host: \"{}\", action: deny}}", OTHER[0]);
    proxied.rewrite(&settings(&proxied.jwks, &[&deny]));
    ask().unwrap_err();
}

#[test]
fn traces_pass_by_otlp_over_plain_grpc_where_their_address_is_allowed() {
    let proxied = Proxied::start(0);
    let collector = proxied.pod.beyond(|| Collector::start(at(OTHER[0], 4317))).unwrap();
    proxied.pod.as_agent(|| collector.export("allowed")).unwrap();
    assert!(collector.got("allowed"));
    let deny = format!("{{host: \"{}\", action: deny}}", OTHER[0]);
    proxied.rewrite(&settings(&proxied.jwks, &[&deny]));
    proxied.pod.as_agent(|| collector.export("denied")).unwrap_err();
    assert!(!collector.got("denied"));
}

#[test]
fn a_server_may_begin_and_a_client_that_begins_late_is_judged_by_what_it_says() {
    for family in [0, 1] {
        let proxied = Proxied::start(family);
        let (pod, other, server) = (&proxied.pod, proxied.other.0, proxied.server.0);
        listen(&pod.outside, "greets", 2525);
        let greeting = pod.as_agent(|| call(at(other, 2525)));
        assert_eq!(greeting, format!("greets {}", at(other, 2525)));
        assert_eq!(proxied.unread(), 1);
        // The route for this address exchanges tokens, so nothing passes unread.
        assert_eq!(pod.as_agent(|| call(at(server, 2525))), "");
        // Late, and HTTP all the same: its token is exchanged, and its route found.
        let mut late = pod.as_agent(|| Connection::open(&at(server, 80).to_string())).unwrap();
        let mut denied = pod.as_agent(|| Connection::open(&at(other, 80).to_string())).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let request = Request::new("GET", "/x").bearer("subject");
        assert_eq!(late.send(&request).unwrap().text(), "server");
        assert_eq!(proxied.server.1.last().unwrap().bearer(), Some("exchanged"));
        proxied.rewrite(&settings(&proxied.jwks, &["{host: bad.example, action: deny}"]));
        assert_eq!(denied.send(&request.header("Host", "bad.example")).unwrap().status, 403);
        assert_eq!(proxied.unread(), 1);
        // Both were silent while the rules were replaced, and the server begins too late.
        let slow = pod.beyond(|| TcpListener::bind(at(other, 2526))).unwrap();
        let mut waiting = pod.as_agent(|| Connection::open(&at(other, 2526).to_string())).unwrap();
        let (mut server, _) = slow.accept().unwrap();
        let deny = format!("{{host: \"{other}\", action: deny}}");
        proxied.rewrite(&settings(&proxied.jwks, &[&deny]));
        server.write_all(b"too late\n").unwrap();
        assert_eq!(waiting.read_rest(Duration::from_secs(1)).unwrap(), b"");
        assert_eq!(proxied.unread(), 1);
    }
}

#[test]
fn open_tunnels_end_when_a_route_denies_their_address() {
    let proxied = Proxied::start(0);
    let (pod, other) = (&proxied.pod, proxied.other.0);
    let listener = pod.beyond(|| TcpListener::bind(at(other, 2527))).unwrap();
    let hello = whole_client_hello(&Tls::trusting(&Authority::new().unwrap().root()).unwrap()).unwrap();
    let mut tunnels = Vec::new();
    for (name, opening) in
        [("the server begins", &b""[..]), ("the client begins", b"PING\r\n"), ("TLS", &hello)]
    {
        let mut client = pod.as_agent(|| Connection::open(&at(other, 2527).to_string())).unwrap();
        client.write(opening).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.read_exact(&mut vec![0; opening.len()]).unwrap();
        server.write_all(b"a").unwrap();
        assert_eq!(client.read_exactly(1).unwrap(), b"a", "{name}");
        tunnels.push((name, client, server));
    }
    proxied.rewrite(&settings(&proxied.jwks, &["{host: bad.example, action: deny}"]));
    for (name, client, server) in &mut tunnels {
        server.write_all(b"b").unwrap();
        assert_eq!(client.read_exactly(1).unwrap(), b"b", "{name}");
    }
    proxied.rewrite(&settings(&proxied.jwks, &[&format!("{{host: \"{other}\", action: deny}}")]));
    for (name, client, _) in &mut tunnels {
        assert!(client.is_closed_within(Duration::from_secs(5)).unwrap(), "{name}");
    }
}

#[test]
fn excluded_ports_are_left_alone_in_the_mode_that_confines() {
    let pod = Pod::new();
    listen(&pod.outside, "server", 7000);
    listen(&pod.outside, "server", 7001);
    listen(&pod.inside, "proxy", 8082);
    pod.netinit(&["--mode", "enforce-redirect", "--outbound-ports-exclude", "7000"]);
    for family in [0, 1] {
        let [excluded, other] = [7000, 7001].map(|port| pod.as_agent(|| call(at(SERVER[family], port))));
        assert!(excluded.starts_with("server ") && other.starts_with("proxy "), "{excluded} {other}");
    }
}
