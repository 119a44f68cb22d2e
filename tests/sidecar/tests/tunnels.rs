//! Tunnels and the way to servers: a tunnel ends with its token or after a silence, a half-closed one goes on, a vanished
//! end is noticed, and neither a dead address nor a long upload fails a request.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::ports;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ISSUER: &str = "https://id.example/realms/agents";

struct Stage {
    scene: Scene,
    key: SigningKey,
    _jwks: JwksServer,
}

fn stage(limits: &str, options: &Options) -> Stage {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let inbound = format!("{}\n    clock_skew: 1s", jwt_validation(ISSUER, &jwks.url(), "agent-a"));
    let settings = Settings { inbound, blocks: format!("limits: {{{limits}}}"), ..Settings::default() };
    Stage { scene: Scene::start(&settings, options).unwrap(), key, _jwks: jwks }
}

impl Stage {
    /// A token that is valid for so many seconds.
    fn token(&self, seconds: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = ordinary_claims(ISSUER, "agent-a", "alice");
        claims["exp"] = (now + seconds).into();
        self.key.sign(&claims).unwrap()
    }

    /// A tunnel of the agent to `server`.
    fn connect(&self, server: SocketAddr) -> Connection {
        connect(&self.scene, &server.to_string())
    }
}

/// A tunnel of the agent to `server`.
fn connect(scene: &Scene, server: &str) -> Connection {
    let mut connection = Connection::open(&scene.at.outbound.to_string()).unwrap();
    connection.write(format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n").as_bytes()).unwrap();
    let head = String::from_utf8(connection.read_until(b"\r\n\r\n").unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    connection
}

/// A server that does this with each of its connections.
fn serve(act: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || act(stream));
        }
    });
    address
}

#[test]
fn a_websocket_ends_with_its_token() {
    let stage = stage("", &Options::default());
    stage.scene.agent.answer(Answer::upgrade_and_echo("websocket"));
    let upgrade = Request::new("GET", "/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let open = |seconds| {
        let mut connection = Connection::open(&stage.scene.at.inbound.to_string()).unwrap();
        assert_eq!(connection.send(&upgrade.clone().bearer(&stage.token(seconds))).unwrap().status, 101);
        connection
    };
    let echoes = |connection: &mut Connection| {
        connection.write(b"hi").unwrap();
        assert_eq!(connection.read_exactly(2).unwrap(), b"hi");
    };
    let (mut short, mut long) = (open(4), open(600));
    echoes(&mut short);
    echoes(&mut long);
    assert!(short.is_closed_within(Duration::from_secs(10)).unwrap(), "it outlives its token");
    echoes(&mut long);
}

/// A WebSocket of the agent to `server`, whose handshake carries this token.
fn websocket(scene: &Scene, server: &Backend, token: Option<&str>) -> Connection {
    let mut handshake = Request::new("GET", &format!("{}/ws", server.url()));
    for (name, value) in
        [("Host", server.address().to_string().as_str()), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    {
        handshake = handshake.header(name, value);
    }
    let handshake = token.iter().fold(handshake, |handshake, token| handshake.bearer(token));
    let mut connection = Connection::open(&scene.at.outbound.to_string()).unwrap();
    assert_eq!(connection.send(&handshake).unwrap().status, 101);
    connection
}

fn echoes(connection: &mut Connection) {
    connection.write(b"hi").unwrap();
    assert_eq!(connection.read_exactly(2).unwrap(), b"hi");
}

#[test]
fn a_websocket_of_the_agent_ends_with_the_token_that_it_was_opened_with() {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let server = Backend::start(Answer::upgrade_and_echo("websocket")).unwrap();
    let inbound = format!("{}\n    clock_skew: 1s", jwt_validation(ISSUER, &jwks.url(), "agent-a"));
    let token = |seconds: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = ordinary_claims(ISSUER, "agent-a", "alice");
        claims["exp"] = (now + seconds).into();
        key.sign(&claims).unwrap()
    };
    let issues = |expires_in: Option<u64>, token: String| {
        let mut body = json!({ "access_token": token, "token_type": "Bearer" });
        if let Some(seconds) = expires_in {
            body["expires_in"] = seconds.into();
        }
        Backend::start(Answer::json(&body)).unwrap()
    };
    let exchange = "{host: 127.0.0.1, target_audience: tool}";
    let keeps = "{host: 127.0.0.1, action: passthrough}";
    let cases = [
        ("a kept token", keeps, None, 0, Some(4), true),
        ("a kept token that counts", keeps, None, 0, Some(600), false),
        ("no token", keeps, None, 0, None, false),
        ("an exchanged token", exchange, Some(4), 600, Some(600), true),
        ("an exchanged token that says its end itself", exchange, None, 4, Some(600), true),
        ("the token that was exchanged", exchange, Some(600), 600, Some(4), true),
        ("both count", exchange, Some(600), 600, Some(600), false),
    ];
    let case = |(name, route, expires_in, issued, subject, ends): (&str, _, _, _, Option<u64>, bool)| {
        let endpoint = issues(expires_in, token(issued));
        let outbound = token_exchange(&format!("{}/token", endpoint.url()), ("agent", "secret"), &[route]);
        let settings = Settings { inbound: inbound.clone(), outbound, ..Settings::default() };
        let scene = Scene::start(&settings, &Options::default()).unwrap();
        let mut open = websocket(&scene, &server, subject.map(token).as_deref());
        echoes(&mut open);
        assert_eq!(open.is_closed_within(Duration::from_secs(8)).unwrap(), ends, "{name}");
        if !ends {
            echoes(&mut open);
        }
    };
    std::thread::scope(|threads| cases.map(|one| drop(threads.spawn(move || case(one)))));
}

#[test]
fn tunnels_of_the_agent_end_when_a_route_denies_them() {
    let files = Folder::new("routes").unwrap();
    let write = |routes: &str| files.write("routes.yaml", routes.as_bytes()).unwrap();
    let server = Backend::start(Answer::upgrade_and_echo("websocket")).unwrap();
    let echo = serve(|mut stream| {
        let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
    });
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let inbound = jwt_validation(ISSUER, &jwks.url(), "agent-a");
    let with = |rules: &[&str]| {
        let plugin = token_exchange("http://127.0.0.1:1/token", ("agent", "secret"), rules);
        let file = files.path().join("routes.yaml").display().to_string();
        let outbound = plugin.replace("/nonexistent/routes.yaml", &file);
        Settings { outbound, inbound: inbound.clone(), ..Settings::default() }
    };
    write("[]\n");
    for by_file in [false, true] {
        let settings = with(&[]);
        let scene = Scene::start(&settings, &Options::default()).unwrap();
        let mut tunnels = [websocket(&scene, &server, None), connect(&scene, &echo.to_string())];
        // Named otherwise, and at the same address.
        let other = format!("localhost:{}", echo.port());
        let mut named = connect(&scene, &other);
        tunnels.iter_mut().chain([&mut named]).for_each(echoes);
        if by_file {
            write("- {host: 127.0.0.1, action: deny}\n");
        } else {
            scene.rewrite(&with(&["{host: elsewhere.example, action: deny}"])).unwrap();
            let reloads = |count: u64| {
                let loaded = || Ok(scene.stats("/reload/status")?["reloads_ok"] == count);
                until("reload", Duration::from_secs(15), loaded).unwrap();
            };
            reloads(1);
            tunnels.iter_mut().chain([&mut named]).for_each(echoes);
            scene.rewrite(&with(&["{host: 127.0.0.1, action: deny}"])).unwrap();
            reloads(2);
        }
        for (name, tunnel) in
            ["WebSocket", "CONNECT", "by name"].iter().zip(tunnels.iter_mut().chain([&mut named]))
        {
            assert!(tunnel.is_closed_within(Duration::from_secs(8)).unwrap(), "{name}, by file: {by_file}");
        }
    }
}

#[test]
fn a_tunnel_ends_after_a_silence_and_not_while_it_is_in_use() {
    let stage = stage("tunnel_idle_timeout: 2s, half_close_timeout: 1s", &Options::default());
    let echo = serve(|mut stream| {
        let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
    });
    let (mut used, mut silent) = (stage.connect(echo), stage.connect(echo));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        used.write(b"a").unwrap();
        assert_eq!(used.read_exactly(1).unwrap(), b"a");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(silent.is_closed_within(Duration::from_secs(2)).unwrap(), "a silent one stays open");
    used.write(b"b").unwrap();
    assert_eq!(used.read_exactly(1).unwrap(), b"b");
}

#[test]
fn a_half_closed_tunnel_brings_the_answer_and_then_waits_for_a_while() {
    let stage = stage("tunnel_idle_timeout: 1m, half_close_timeout: 1s", &Options::default());
    let answers = serve(|mut stream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(&question).unwrap();
    });
    let mut half = stage.connect(answers);
    half.write(b"question").unwrap();
    half.finish_writing().unwrap();
    assert_eq!(half.read_rest(Duration::from_secs(5)).unwrap(), b"question");

    let waits = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        std::thread::sleep(Duration::from_mins(1));
    });
    let mut left = stage.connect(waits);
    left.finish_writing().unwrap();
    assert!(left.is_closed_within(Duration::from_secs(4)).unwrap(), "a half-closed one stays open");
}

/// Hundredths of a second until the kernel probes the connections of this process's peer at a local port, by
/// `/proc/net/tcp`; nothing for those that are never probed.
fn probes(local: Option<u16>, remote: Option<u16>) -> Vec<Option<u64>> {
    let port = |address: &str| u16::from_str_radix(address.split(':').nth(1).unwrap(), 16).unwrap();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let wanted = rows.filter(|row| {
        let is = |wanted: Option<u16>, at: &str| wanted.is_none_or(|wanted| wanted == port(at));
        row[3] == "01" && is(local, row[1]) && is(remote, row[2])
    });
    wanted
        .map(|row| {
            let (timer, when) = row[5].split_once(':').unwrap();
            (timer == "02").then(|| u64::from_str_radix(when, 16).unwrap())
        })
        .collect()
}

#[test]
fn the_kernel_probes_both_ends_of_what_is_silent() {
    let stage = stage("keepalive: 77s", &Options::default());
    let waits = serve(|_stream| std::thread::sleep(Duration::from_mins(1)));
    let _inward = Connection::open(&stage.scene.at.inbound.to_string()).unwrap();
    let _outward = stage.connect(waits);
    // Past the delayed acknowledgement, which has the same timer.
    std::thread::sleep(Duration::from_secs(1));
    for (name, rows) in [
        ("caller", probes(Some(stage.scene.at.inbound.port()), None)),
        ("agent", probes(Some(stage.scene.at.outbound.port()), None)),
        ("server", probes(None, Some(waits.port()))),
    ] {
        let probed = |row: &Option<u64>| row.is_some_and(|left| (7_000..=7_700).contains(&left));
        assert!(!rows.is_empty() && rows.iter().all(probed), "{name}: {rows:?}");
    }
}

#[test]
fn an_upload_that_takes_longer_than_an_answer_may_is_answered() {
    let stage = stage("response_timeout: 3s", &Options::default());
    let tool = Backend::start(Answer::text("the tool")).unwrap();
    let token = stage.token(600);
    let address = tool.address();
    for (name, to, target, host) in [
        ("inbound", stage.scene.at.inbound, "/upload".to_owned(), "a".to_owned()),
        ("outbound", stage.scene.at.outbound, format!("http://{address}/upload"), address.to_string()),
    ] {
        let open = |length: usize| {
            let mut connection = Connection::open(&to.to_string()).unwrap();
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
            );
            connection.write(head.as_bytes()).unwrap();
            connection
        };
        let mut upload = open(5_000);
        for _ in 0..25 {
            upload.write(&[b'a'; 200]).unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
        let reply = upload.read_reply(false).unwrap();
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        // Whoever sends nothing more is not waited for.
        let mut stalled = open(3_000);
        stalled.write(b"a").unwrap();
        let began = Instant::now();
        assert_eq!(stalled.read_reply(false).unwrap().status, 504, "{name}");
        assert!(began.elapsed() < Duration::from_secs(7), "{name}: {:?}", began.elapsed());
    }
}

/// A listener that answers no SYN: its queue is full.
struct Dead {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

fn dead(address: SocketAddr) -> Dead {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        socket.listen(0).unwrap().into_std().unwrap()
    });
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
    let queued: Vec<TcpStream> = std::iter::from_fn(|| connect().ok()).collect();
    Dead { _listener: listener, _queued: queued }
}

#[test]
fn a_server_is_reached_at_whichever_of_its_addresses_answers() {
    let port = ports::free().unwrap();
    let at = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
    let _tool = Backend::start_at(at(9), Answer::text("the tool")).unwrap();
    // The resolver prefers the address that is closest to its own (RFC 6724 §5, rule 9).
    let _dead = [dead(at(1)), dead(at(2))];
    let hosts =
        "127.0.0.1 one.test two.test gone.test\n127.0.0.2 two.test gone.test\n127.0.0.9 one.test two.test\n";
    let options = Options { hosts: Some(hosts.to_owned()), ..Options::default() };
    let stage = stage("", &options);
    for name in ["one.test", "two.test"] {
        for scheme in ["http", "connect"] {
            let began = Instant::now();
            if scheme == "http" {
                let reply = stage.scene.call_out(&format!("http://{name}:{port}/x"), None).unwrap();
                assert_eq!((reply.status, reply.text().as_str()), (200, "the tool"), "{name}");
            } else {
                let mut tunnel = Connection::open(&stage.scene.at.outbound.to_string()).unwrap();
                let connect = format!("CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n");
                tunnel.write(connect.as_bytes()).unwrap();
                assert_eq!(tunnel.read_until(b"\r\n\r\n").unwrap()[..12], *b"HTTP/1.1 200", "{name}");
            }
            assert!(began.elapsed() < Duration::from_secs(4), "{name} {scheme}: {:?}", began.elapsed());
        }
    }
    // All of them dead: one time for one address, and not for each.
    let began = Instant::now();
    let reply = stage.scene.call_out(&format!("http://gone.test:{port}/x"), None).unwrap();
    assert_eq!(reply.status, 503);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
