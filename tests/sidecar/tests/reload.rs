//! What a changed file changes while the sidecar runs, beside its pipelines: mTLS, where identities come from, sessions.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::Answer;
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{self, Connection, Request, Tls};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use countersign_sidecar_tests::spire::{Spire, X509Files};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);

/// Our own SVID in the layout of spiffe-helper.
fn files(svid: &X509Files) -> Folder {
    let folder = Folder::new("svid").unwrap();
    put(&folder, svid);
    folder
}

fn put(folder: &Folder, svid: &X509Files) {
    for (name, from) in
        [("svid.pem", &svid.chain), ("svid_key.pem", &svid.key), ("svid_bundle.pem", &svid.bundle)]
    {
        folder.write(name, std::fs::read_to_string(from).unwrap()).unwrap();
    }
}

fn blocks(folder: &Path, mode: &str, peers: &str) -> String {
    format!(
        "spiffe: {{files_dir: \"{}\"}}\nmtls: {{mode: {mode}, allowed_peers: [\"{peers}\"]}}",
        folder.display()
    )
}

/// A sidecar that speaks mTLS by an SVID in files, and a client that it admits at first.
struct Stage {
    scene: Scene,
    folder: Folder,
    tls: Tls,
    key: SigningKey,
    jwks: JwksServer,
    _spire: Spire,
}

const ISSUER: &str = "https://id.example";
const EVERYBODY: &str = "spiffe://example.org";
const TEAM1: &str = "spiffe://example.org/ns/team1/*";
const TEAM2: &str = "spiffe://example.org/ns/team2/*";

impl Stage {
    /// In a mode, or without mTLS.
    fn start(mode: Option<(&str, &str)>) -> Self {
        let spire = Spire::start("example.org").unwrap();
        let svid = spire.mint_x509("spiffe://example.org/ns/team1/sa/agent", "1h").unwrap();
        let folder = files(&svid);
        let key = SigningKey::p256("k1").unwrap();
        let jwks = JwksServer::start(&[&key]).unwrap();
        let tls = Tls::with_certificate(&svid.bundle, &svid.chain, &svid.key).unwrap();
        let scene = Scene::start(&settings(&jwks, &folder, mode), &Options::default()).unwrap();
        Self { scene, folder, tls, key, jwks, _spire: spire }
    }

    /// Changes the mode and whom it admits, and waits until that is in force.
    fn switch(&self, mode: &str, peers: &str) {
        let reloads = || self.scene.stats("/reload/status").map(|status| status["reloads_ok"].as_u64());
        let before = reloads().unwrap();
        self.scene.rewrite(&settings(&self.jwks, &self.folder, Some((mode, peers)))).unwrap();
        until("reload", LIMIT, || Ok(reloads()? > before)).unwrap();
    }

    fn open(&self) -> Connection {
        Connection::open(&self.scene.at.inbound.to_string()).unwrap()
    }

    fn open_tls(&self) -> Connection {
        Connection::open_tls(&self.scene.at.inbound.to_string(), &self.tls).unwrap()
    }

    /// What the agent saw since it forgot.
    fn seen(&self) -> Vec<String> {
        self.scene.agent.seen().into_iter().map(|seen| seen.target).collect()
    }
}

fn settings(jwks: &JwksServer, folder: &Folder, mode: Option<(&str, &str)>) -> Settings {
    let mtls = mode.map(|(mode, peers)| blocks(folder.path(), mode, peers)).unwrap_or_default();
    Settings {
        inbound: jwt_validation(ISSUER, &jwks.url(), "agent-a"),
        blocks: format!("{mtls}\nlimits: {{header_timeout: 5s}}"),
        ..Settings::default()
    }
}

#[test]
fn mtls_is_switched_on_made_strict_and_narrowed_without_a_restart() {
    let stage = Stage::start(None);
    let address = stage.scene.at.inbound.to_string();
    let request = Request::new("GET", "/healthz");
    let plain = || request.send(&address).is_ok_and(|reply| reply.status == 200);
    let mutual = || request.send_tls(&address, &stage.tls).is_ok_and(|reply| reply.status == 200);
    assert!(plain() && !mutual());

    stage.switch("permissive", EVERYBODY);
    until("mTLS", LIMIT, || Ok(mutual())).unwrap();
    assert!(plain(), "permissive serves both");

    let mut kept = stage.open();
    assert_eq!(kept.send(&request).unwrap().status, 200);
    stage.switch("strict", EVERYBODY);
    assert!(!plain() && mutual());
    assert!(kept.is_closed_within(LIMIT).unwrap(), "a plain connection from before is ended");

    let mut kept = stage.open_tls();
    assert_eq!(kept.send(&request).unwrap().status, 200);
    stage.switch("strict", TEAM2);
    assert!(!mutual());
    assert!(kept.is_closed_within(LIMIT).unwrap(), "a peer that is no longer admitted is ended");
}

/// The halves of a request that are sent before and after a switch.
const HEAD: (&[u8], &[u8]) = (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", b"y\r\n\r\n");

/// A connection in each state in which it can wait, and what is sent on it after a switch.
fn waiting(open: impl Fn() -> Connection) -> Vec<(&'static str, Connection, Vec<u8>)> {
    let request = Request::new("GET", "/healthz");
    let whole = request.bytes("a");
    let after = |bytes: &[&[u8]]| {
        let mut connection = open();
        connection.write(&bytes.concat()).unwrap();
        connection
    };
    let kept = |more: &[u8]| {
        let mut connection = open();
        assert_eq!(connection.send(&request).unwrap().status, 200);
        connection.write(more).unwrap();
        connection
    };
    let served = || {
        let mut connection = after(&[frames::PREFACE, &frames::get(1, "/healthz")]);
        let silence = Duration::from_millis(500);
        assert_eq!(frames::body(&mut connection, 1, silence).unwrap(), "the agent");
        connection
    };
    let preface = |at: usize| frames::PREFACE.split_at(at);
    let second = frames::get(3, "/healthz");
    let mut states = vec![
        ("silent", open(), whole.clone()),
        ("one byte", after(&[&whole[..1]]), whole[1..].to_vec()),
        ("half a head", after(&[HEAD.0]), HEAD.1.to_vec()),
        ("kept alive", kept(b""), whole.clone()),
        ("kept alive, and half a head", kept(HEAD.0), HEAD.1.to_vec()),
        ("half a preface of HTTP/2", after(&[preface(9).0]), [preface(9).1, &second].concat()),
        ("HTTP/2 without a stream", after(&[frames::PREFACE]), second.clone()),
        ("HTTP/2", served(), second.clone()),
    ];
    // Whoever never acknowledges a shutdown may go on opening streams.
    let (head, rest) = second.split_at(12);
    let mut half = served();
    half.write(head).unwrap();
    states.push(("half a head of HTTP/2", half, rest.to_vec()));
    // Longer than a connection keeps its buffers.
    std::thread::sleep(Duration::from_millis(200));
    states
}

/// Ends what was begun on these connections; those on which it was answered by the agent.
fn answered(
    states: Vec<(&'static str, Connection, Vec<u8>)>,
) -> (Vec<&'static str>, Vec<(&'static str, Connection)>) {
    let mut open = Vec::new();
    // All at once, for a head may not take long.
    for (name, mut connection, rest) in states {
        // It may be closed already.
        let _ = connection.write(&rest);
        open.push((name, connection));
    }
    let mut answered = Vec::new();
    for (name, connection) in &mut open {
        let said = connection.read_rest(Duration::from_millis(500)).unwrap();
        if String::from_utf8_lossy(&said).contains("the agent") {
            answered.push(*name);
        }
    }
    (answered, open)
}

/// Nothing passes on these connections, and all of them end.
fn assert_ended(stage: &Stage, states: Vec<(&'static str, Connection, Vec<u8>)>) {
    stage.scene.agent.forget();
    let (answered, open) = answered(states);
    assert_eq!((answered, stage.seen()), (vec![], vec![]));
    for (name, mut connection) in open {
        assert!(connection.is_closed_within(LIMIT).unwrap(), "{name} stays open");
    }
}

#[test]
fn no_plain_connection_carries_a_request_past_the_switch_to_strict() {
    let stage = Stage::start(Some(("permissive", EVERYBODY)));
    let states = waiting(|| stage.open());
    let mut under_way = stage.open();
    stage.scene.agent.answer_with(|seen| {
        let slow = if seen.target == "/.well-known/slow" { Duration::from_secs(4) } else { Duration::ZERO };
        Answer::text("the agent").after(slow)
    });
    under_way.write(&Request::new("GET", "/.well-known/slow").bytes("a")).unwrap();
    until("a request under way", LIMIT, || Ok(stage.seen().contains(&"/.well-known/slow".to_owned())))
        .unwrap();

    stage.switch("strict", EVERYBODY);
    assert_ended(&stage, states);
    let reply = under_way.read_reply(false).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "the agent"), "a request under way is finished");
    assert!(under_way.is_closed_within(LIMIT).unwrap());
}

#[test]
fn a_peer_that_is_still_admitted_notices_nothing_of_a_change() {
    let stage = Stage::start(Some(("permissive", EVERYBODY)));
    let states = waiting(|| stage.open_tls());
    stage.switch("strict", TEAM1);
    let all: Vec<&str> = states.iter().map(|(name, ..)| *name).collect();
    assert_eq!(answered(states).0, all);
}

#[test]
fn a_peer_that_is_no_longer_admitted_sends_nothing_more() {
    let stage = Stage::start(Some(("strict", TEAM1)));
    let states = waiting(|| stage.open_tls());
    stage.switch("strict", TEAM2);
    assert_ended(&stage, states);
}

#[test]
fn a_peer_whose_authority_is_gone_sends_nothing_more() {
    let stage = Stage::start(Some(("strict", TEAM1)));
    let other = Spire::start("example.org").unwrap();
    let svid = other.mint_x509("spiffe://example.org/ns/team1/sa/agent", "1h").unwrap();
    let trusted = Tls::with_certificate(&svid.bundle, &svid.chain, &svid.key).unwrap();
    let states = waiting(|| stage.open_tls());
    put(&stage.folder, &svid);
    let request = Request::new("GET", "/healthz");
    let address = stage.scene.at.inbound.to_string();
    let taken = || Ok(request.send_tls(&address, &trusted).is_ok_and(|reply| reply.status == 200));
    until("the other authority", LIMIT, taken).unwrap();
    assert_ended(&stage, states);
}

#[test]
fn a_websocket_ends_with_what_let_its_connection_in() {
    let stage = Stage::start(Some(("permissive", EVERYBODY)));
    stage.scene.agent.answer(Answer::upgrade_and_echo("websocket"));
    let token = stage.key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
    let upgrade = Request::new("GET", "/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let joined = |mut connection: Connection| {
        assert_eq!(connection.send(&upgrade.clone().bearer(&token)).unwrap().status, 101);
        connection
    };
    let echoes = |connection: &mut Connection| {
        connection.write(b"hi").unwrap();
        assert_eq!(connection.read_exactly(2).unwrap(), b"hi");
    };
    let (mut plain, mut mutual) = (joined(stage.open()), joined(stage.open_tls()));
    echoes(&mut plain);
    stage.switch("strict", TEAM1);
    assert!(plain.is_closed_within(LIMIT).unwrap(), "a plain one stays open");
    echoes(&mut mutual);
    stage.switch("strict", TEAM2);
    assert!(mutual.is_closed_within(LIMIT).unwrap(), "that of a peer who is not admitted stays open");
}

#[test]
fn connections_of_the_agent_go_on_by_the_new_configuration() {
    let stage = Stage::start(Some(("permissive", EVERYBODY)));
    let url = format!("{}/x", stage.scene.agent.url());
    let request = Request::new("GET", &url).header("Host", &stage.scene.agent.address().to_string());
    let mut kept = Connection::open(&stage.scene.at.outbound.to_string()).unwrap();
    assert_eq!(kept.send(&request).unwrap().status, 200);
    stage.switch("strict", EVERYBODY);
    // Strict means mTLS towards servers, which this one does not speak.
    let reply = kept.send(&request).unwrap();
    assert_eq!(reply.json().unwrap()["error"], "upstream.wrong-peer");
}

#[test]
fn sessions_are_switched_off_and_bounded_without_a_restart() {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let with = |blocks: &str| Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent-a"),
        blocks: blocks.to_owned(),
        ..Settings::default()
    };
    let scene = Scene::start(&with(""), &Options::default()).unwrap();
    let sessions = || http::get(&format!("http://{}/v1/sessions", scene.at.sessions)).unwrap();
    for _ in 0..10 {
        assert_eq!(scene.call(&Request::new("GET", "/healthz")).unwrap().status, 200);
    }
    assert_eq!(sessions().json().unwrap()["sessions"][0]["events"], 20);
    scene.rewrite(&with("session: {max_events: 5}")).unwrap();
    let bounded = || {
        assert_eq!(scene.call(&Request::new("GET", "/healthz"))?.status, 200);
        Ok(sessions().json()?["sessions"][0]["events"] == 5)
    };
    until("a smaller store", LIMIT, bounded).unwrap();
    scene.rewrite(&with("session: {enabled: false}")).unwrap();
    until("no store", LIMIT, || Ok(sessions().status == 404)).unwrap();
}

#[test]
fn a_reload_that_asks_for_more_connections_than_there_are_descriptors_is_told() {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let settings = |connections: usize| Settings {
        inbound: jwt_validation(ISSUER, &jwks.url(), "agent"),
        blocks: format!("limits: {{connections: {connections}, connections_per_peer: 1}}"),
        ..Settings::default()
    };
    let mut scene = Scene::start(&settings(16), &Options::default()).unwrap();
    assert!(!scene.bridge.log().contains("limit on open files"), "{}", scene.bridge.log());
    scene.rewrite(&settings(1_048_576)).unwrap();
    scene.bridge.wait_log("limits.connections is 1048576, and the limit on open files allows ").unwrap();
}

#[test]
fn a_reload_comes_while_somebody_writes_into_the_folder() {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let settings = |connections: u32| Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        blocks: format!("limits: {{connections: {connections}}}"),
        ..Settings::default()
    };
    let scene = Scene::start(&settings(64), &Options::default()).unwrap();
    let (log, stop) = (scene.bridge.folder().join("other.log"), AtomicBool::new(false));
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = std::fs::File::create(log).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"a line\n").unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        scene.rewrite(&settings(8)).unwrap();
        let taken = until("reload", LIMIT, || Ok(scene.stats("/reload/status")?["reloads_ok"] == 1));
        stop.store(true, Ordering::Relaxed);
        taken
    });
    taken.unwrap();
}
