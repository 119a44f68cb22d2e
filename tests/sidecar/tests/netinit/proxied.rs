//! The whole way: an agent's connection, redirected by the rules, through a real AuthBridge to a server.

use crate::pod::{OTHER, PROXY, Pod, SERVER, at};
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::certificates::Authority;
use countersign_sidecar_tests::http::{Connection, Reply, Request, Tls};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::net::TcpListener;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);

/// A pod whose sidecar takes redirected connections and exchanges tokens for one server of a family, with that
/// server, another one and a token endpoint outside.
pub(crate) struct Proxied {
    pub(crate) pod: Pod,
    pub(crate) scene: Scene,
    token: Backend,
    pub(crate) server: (&'static str, Backend),
    pub(crate) other: (&'static str, Backend),
    pub(crate) jwks: JwksServer,
}

/// Settings with these routes.
pub(crate) fn settings(jwks: &JwksServer, routes: &[&str]) -> Settings {
    Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        outbound: token_exchange("http://10.77.0.1:9999/token", ("agent", "s"), routes),
        // A port alone is bound on the loopback address of each family.
        listener: "transparent_proxy_addr: \":8082\"".to_owned(),
        ..Settings::default()
    }
}

impl Proxied {
    pub(crate) fn start(family: usize) -> Self {
        let pod = Pod::new();
        let serve = |address: &str, port, answer: Answer| {
            pod.beyond(|| Backend::start_at(at(address, port), answer)).unwrap()
        };
        let granted = json!({ "access_token": "exchanged", "token_type": "Bearer", "expires_in": 300 });
        let token = serve("10.77.0.1", 9999, Answer::json(&granted));
        let server = (SERVER[family], serve(SERVER[family], 80, Answer::text("server")));
        let other = (OTHER[family], serve(OTHER[family], 80, Answer::text("other")));
        let route = format!("{{host: \"{}\", target_audience: tool}}", server.0);
        let start = || {
            let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
            let options = Options { user: Some(PROXY), ..Options::default() };
            (Scene::start(&settings(&jwks, &[&route]), &options).unwrap(), jwks)
        };
        let (scene, jwks) = pod.inside.inside(None, start).unwrap();
        pod.enforce();
        Self { pod, scene, token, server, other, jwks }
    }

    /// A request of the agent to `address`, which names `host`.
    fn send(&self, address: &str, host: &str) -> Reply {
        let request = Request::new("GET", "/x").header("Host", host).bearer("subject");
        self.pod.as_agent(|| request.send(&at(address, 80).to_string())).unwrap()
    }
}

/// An address as a `Host` header has it.
fn host(address: &str) -> String {
    at(address, 80).to_string().trim_end_matches(":80").to_owned()
}

#[test]
fn a_redirected_request_gets_its_token_and_arrives_where_it_was_going() {
    for family in [0, 1] {
        let proxied = Proxied::start(family);
        let (address, server) = &proxied.server;
        let reply = proxied.send(address, &host(address));
        assert_eq!((reply.status, reply.text().as_str()), (200, "server"), "{}", proxied.scene.bridge.log());
        assert_eq!(server.last().unwrap().bearer(), Some("exchanged"), "{address}");
        assert_eq!(proxied.token.seen().len(), 1);
        let (address, other) = &proxied.other;
        assert_eq!(proxied.send(address, &host(address)).text(), "other");
        assert_eq!(other.last().unwrap().bearer(), Some("subject"), "{address}");
    }
}

#[test]
fn a_redirected_request_that_names_another_host_than_it_goes_to_gets_no_token() {
    for family in [0, 1] {
        let proxied = Proxied::start(family);
        let (named, going) = (host(proxied.server.0), proxied.other.0);
        for forged in [named.clone(), format!("{named}:80"), format!("{named}.")] {
            let reply = proxied.send(going, &forged);
            assert!(matches!(reply.status, 400 | 403), "{forged}: {}", reply.status);
        }
        assert_eq!(proxied.send(going, &named).status, 403);
        assert_eq!(proxied.token.connections(), 0);
        assert!(proxied.other.1.seen().is_empty() && proxied.server.1.seen().is_empty());
    }
}

/// The first bytes of a TLS client that names `host`.
fn client_hello(host: &str) -> Vec<u8> {
    let authority = Authority::new().unwrap();
    let config = Tls::trusting(&authority.root()).unwrap().config();
    let mut hello = Vec::new();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

impl Proxied {
    /// Puts other settings in force.
    pub(crate) fn rewrite(&self, settings: &Settings) {
        let reloads = || {
            let status = self.pod.inside.inside(None, || self.scene.stats("/reload/status"))??;
            Ok::<_, anyhow::Error>(status["reloads_ok"].as_u64())
        };
        let before = reloads().unwrap();
        self.scene.rewrite(settings).unwrap();
        until("reload", LIMIT, || Ok(reloads()? > before)).unwrap();
    }
}

#[test]
fn no_name_in_a_redirected_connection_opens_an_address_that_the_routes_do_not_allow() {
    for family in [0, 1] {
        let proxied = Proxied::start(family);
        let (named, going) = (host(proxied.server.0), proxied.other.0);
        let tls = |name: &str| {
            let mut connection =
                proxied.pod.as_agent(|| Connection::open(&at(going, 80).to_string())).unwrap();
            connection.write(&client_hello(name)).unwrap();
            connection.read_rest(Duration::from_secs(2)).unwrap()
        };
        let reached = || (proxied.server.1.connections(), proxied.other.1.connections());

        // The address is denied, whatever the bytes claim, and no host is skipped here.
        let deny = format!("{{host: \"{going}\", action: deny}}");
        let mut denying = settings(&proxied.jwks, &[&deny]);
        denying.listener += "\nskip_hosts: [\"*.skipped\"]";
        proxied.rewrite(&denying);
        for claimed in ["any.example", "a.skipped", &named] {
            assert_eq!(proxied.send(going, claimed).status, 403, "{claimed}");
        }
        for claimed in ["any.example", "a.skipped"] {
            assert_eq!(tls(claimed), b"", "{claimed}");
        }
        assert_eq!(reached(), (0, 0));

        // Only what is named is allowed, so the name must be true: its own server is asked.
        let allow = format!("{{host: \"{}\", action: passthrough}}", proxied.server.0);
        let by_name = "{host: \"*.allowed\", action: passthrough}";
        let mut strict = settings(&proxied.jwks, &[&allow, by_name]);
        strict.outbound += "\n    default_policy: deny";
        proxied.rewrite(&strict);
        assert_eq!(proxied.send(going, &named).text(), "server");
        assert_eq!(proxied.send(proxied.server.0, &named).text(), "server");
        assert_eq!(proxied.send(going, "any.example").status, 403);
        assert_eq!(tls("a.allowed"), b"");
        assert_eq!(reached().1, 0, "the address that nobody allowed was not reached");
    }
}

#[test]
fn a_connection_through_the_proxy_survives_a_second_run() {
    let proxied = Proxied::start(0);
    let address = at(proxied.server.0, 80).to_string();
    let mut connection = proxied.pod.as_agent(|| Connection::open(&address)).unwrap();
    let request = Request::new("GET", "/x").bearer("subject");
    assert_eq!(connection.send(&request).unwrap().status, 200);
    proxied.pod.enforce();
    assert_eq!(connection.send(&request).unwrap().status, 200);
    assert_eq!(proxied.server.1.connections(), 1);
    assert_eq!(proxied.server.1.seen().len(), 2);
}

#[test]
fn a_connection_to_the_transparent_listener_itself_is_closed() {
    for (family, address) in ["127.0.0.1:8082", "[::1]:8082"].into_iter().enumerate() {
        let proxied = Proxied::start(family);
        let request = Request::new("GET", "/x").header("Host", address);
        let reply = proxied.pod.as_agent(|| request.send(address));
        assert!(reply.is_err(), "{address}: {reply:?}");
        assert!(proxied.scene.bridge.log().contains("made to the transparent listener itself"));
    }
}

#[test]
fn a_tls_connection_that_was_silent_across_a_change_passes_by_the_new_routes() {
    let proxied = Proxied::start(0);
    let (address, server) = &proxied.other;
    let hello = client_hello("late.example");
    let (begin, end) = hello.split_at(40);
    let connect = || proxied.pod.as_agent(|| Connection::open(&at(address, 80).to_string())).unwrap();
    let open = || {
        let mut connection = connect();
        connection.write(begin).unwrap();
        connection
    };
    let mut passed = open();
    passed.write(end).unwrap();
    // Who is there does not speak TLS, and says so.
    passed.read_until(b"400 Bad Request").unwrap();
    assert_eq!(server.connections(), 1);

    let (mut silent, mut half) = (connect(), open());
    let denying = settings(&proxied.jwks, &["{host: late.example, action: deny}"]);
    proxied.scene.rewrite(&denying).unwrap();
    let reloads = || {
        let status = proxied.pod.inside.inside(None, || proxied.scene.stats("/reload/status"))??;
        Ok(status["reloads_ok"] == 1)
    };
    until("reload", LIMIT, reloads).unwrap();
    silent.write(&hello).unwrap();
    half.write(end).unwrap();
    for (name, mut connection) in [("silent", silent), ("half a ClientHello", half)] {
        assert_eq!(connection.read_rest(LIMIT).unwrap(), b"", "{name} is answered");
    }
    // The silent client waited for its server to begin, which got no byte of it.
    let connections = 0..=server.connections();
    assert_eq!(connections.filter(|number| !server.raw(*number).is_empty()).count(), 1);
}

#[test]
fn a_tunnel_ends_by_a_route_for_its_name_also_where_one_for_its_address_let_it_pass() {
    let proxied = Proxied::start(0);
    let going = at(proxied.other.0, 8443);
    let server = proxied.pod.beyond(|| TcpListener::bind(going)).unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let allow = format!("{{host: \"{}\", action: passthrough}}", proxied.other.0);
    proxied.rewrite(&settings(&proxied.jwks, &[&allow]));
    let mut tunnel = proxied.pod.as_agent(|| Connection::open(&going.to_string())).unwrap();
    let mut passes = |bytes: &[u8]| {
        tunnel.write(bytes).unwrap();
        assert_eq!(tunnel.read_exactly(bytes.len()).unwrap(), bytes);
    };
    passes(&client_hello("late.example"));
    let deny = |name: &str| format!("{{host: {name}, action: deny}}");
    // Another name, and the same behind the route that decides.
    for routes in [[deny("other.example"), allow.clone()], [allow.clone(), deny("late.example")]] {
        proxied.rewrite(&settings(&proxied.jwks, &[&routes[0], &routes[1]]));
        passes(b"more");
    }
    proxied.rewrite(&settings(&proxied.jwks, &[&deny("late.example"), &allow]));
    assert!(tunnel.is_closed_within(LIMIT).unwrap(), "it is open still");
}
