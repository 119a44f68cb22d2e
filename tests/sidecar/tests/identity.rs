//! Who may connect, whom the sidecar connects to, and whom it takes itself for, by SPIRE or by files.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::certificates::{Authority, Certificate};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{self, Connection, Reply, Request, Tls};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use countersign_sidecar_tests::spire::{Spire, X509Files};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

const SOON: Duration = Duration::from_secs(15);
/// A path for which no token is needed, so that only the connection is judged.
const OPEN: &str = "/healthz";

static SPIRE: OnceLock<Spire> = OnceLock::new();
static JWKS: OnceLock<JwksServer> = OnceLock::new();

fn spire() -> &'static Spire {
    SPIRE.get_or_init(|| Spire::start("example.org").unwrap())
}

/// A strict sidecar with these members of `mtls` and `spiffe`.
fn settings(mtls: &str, spiffe: &str) -> Settings {
    let jwks = JWKS.get_or_init(|| JwksServer::start(&[&SigningKey::p256("k").unwrap()]).unwrap());
    Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        blocks: format!("mtls: {{mode: strict{mtls}}}\nspiffe: {{{spiffe}}}"),
        ..Settings::default()
    }
}

/// The sidecar of a workload of SPIRE.
fn workload(spire: &Spire, id: &str, user: u32, mtls: &str, spiffe: &str) -> (Settings, Options) {
    spire.register(id, user).unwrap();
    let settings = settings(mtls, &format!("socket: \"{}\"{spiffe}", spire.address()));
    (settings, Options { user: Some(user), ..Options::default() })
}

fn tls(files: &X509Files) -> Tls {
    Tls::with_certificate(&files.bundle, &files.chain, &files.key).unwrap()
}

fn get(scene: &Scene, tls: &Tls) -> anyhow::Result<Reply> {
    Request::new("GET", OPEN).send_tls(&scene.at.inbound.to_string(), tls)
}

/// How many connections became of this kind.
fn connections(scene: &Scene, kind: &str) -> u64 {
    scene.stats("/stats").unwrap()["tls"][kind].as_u64().unwrap()
}

/// The certificate that a sidecar shows.
fn shown(scene: &Scene, tls: &Tls) -> Vec<u8> {
    Connection::open_tls(&scene.at.inbound.to_string(), tls).unwrap().server_certificate().unwrap()
}

/// A server that shows an SVID and asks for nothing.
fn server(files: &X509Files) -> Backend {
    let certificate = Certificate { chain: files.chain.clone(), key: files.key.clone() };
    Backend::start_tls(certificate.server_config().unwrap(), |_| Answer::text("served")).unwrap()
}

fn error(reply: &Reply) -> (u16, Value) {
    (reply.status, reply.json().map_or(Value::Null, |body| body["error"].clone()))
}

fn wrong_peer() -> (u16, Value) {
    (502, json!("upstream.wrong-peer"))
}

#[test]
fn only_the_peers_on_the_list_may_connect() {
    let ids = ["ns/one/sa/listed", "ns/one/sa/listed-not", "ns/one-more/sa/stranger"];
    let clients =
        ids.map(|id| tls(&spire().mint_x509(&format!("spiffe://example.org/{id}"), "10m").unwrap()));
    for (user, peers, expected) in [
        (12_001, ", allowed_peers: [\"spiffe://example.org/ns/one/sa/listed\"]", [true, false, false]),
        (12_002, ", allowed_peers: [\"spiffe://example.org/ns/one/*\"]", [true, true, false]),
        (12_003, ", allowed_peers: [\"spiffe://example.org\"]", [true, true, true]),
        (12_004, ", allowed_peers: [\"spiffe://other.org\"]", [false, false, false]),
        (12_005, "", [true, true, true]),
    ] {
        let (settings, options) = workload(spire(), "spiffe://example.org/ns/one/sa/me", user, peers, "");
        let scene = Scene::start(&settings, &options).unwrap();
        let admitted = clients.each_ref().map(|tls| get(&scene, tls).is_ok_and(|reply| reply.status == 200));
        assert_eq!(admitted, expected, "{peers}");
        let count = expected.iter().filter(|admitted| **admitted).count();
        assert_eq!(scene.agent.seen().len(), count);
        assert_eq!(connections(&scene, "inbound_tls_failed"), u64::try_from(3 - count).unwrap());
    }
}

#[test]
fn who_proves_no_workload_of_the_trust_domain_is_refused() {
    let (own, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let files = Folder::new("svid").unwrap();
    put(&files, &own, &own.workload("me", "spiffe://example.org/me").unwrap());
    let scene = Scene::start(&settings("", &files_dir(&files)), &Options::default()).unwrap();
    assert_eq!(get(&scene, &client(&own, "a", Some("spiffe://example.org/a"))).unwrap().status, 200);
    let stranger = other.workload("e", "spiffe://example.org/a").unwrap();
    let refused = [
        ("no certificate", Tls::trusting(&own.root()).unwrap()),
        ("no SPIFFE ID", client(&own, "web", None)),
        ("another URI", client(&own, "b", Some("https://example.org/a"))),
        ("no workload", client(&own, "c", Some("spiffe://example.org"))),
        ("another trust domain", client(&own, "d", Some("spiffe://other.org/a"))),
        ("another authority", Tls::with_certificate(&own.root(), &stranger.chain, &stranger.key).unwrap()),
    ];
    for (count, (what, tls)) in (1..).zip(&refused) {
        assert!(get(&scene, tls).is_err(), "{what}");
        assert_eq!(connections(&scene, "inbound_tls_failed"), count, "{what}");
    }
    let plain = Request::new("GET", OPEN).bytes("agent");
    assert_eq!(http::raw(&scene.at.inbound.to_string(), &plain).unwrap(), b"", "plain");
    assert_eq!(connections(&scene, "inbound_plain_rejected"), 1);
    assert_eq!(scene.agent.seen().len(), 1);
}

#[test]
fn an_impostor_gets_neither_request_nor_token() {
    let mint = |id: &str| spire().mint_x509(&format!("spiffe://example.org/{id}"), "10m").unwrap();
    let tool = server(&mint("ns/two/sa/tool"));
    let neighbour = server(&mint("ns/two/sa/neighbour"));
    let rival = server(&mint("ns/rival/sa/rival-tool"));
    let web = Authority::new().unwrap().server("web").unwrap().server_config().unwrap();
    let web = Backend::start_tls(web, |_| Answer::text("served")).unwrap();
    let plain = Backend::start(Answer::text("served")).unwrap();

    let (settings, options) = workload(spire(), "spiffe://example.org/ns/two/sa/me", 12_011, "", "");
    // By its number the tool is named; `localhost`, a name without a namespace, is in the sidecar's own.
    let route =
        "{host: 127.0.0.1, action: passthrough, server_spiffe_id: \"spiffe://example.org/ns/two/sa/tool\"}";
    let outbound = token_exchange("http://127.0.0.1:1/token", ("me", "secret"), &[route]);
    let scene = Scene::start(&Settings { outbound, ..settings }, &options).unwrap();
    let call = |host: &str, server: &Backend| {
        scene.call_out(&format!("http://{host}:{}/", server.address().port()), Some("precious")).unwrap()
    };
    for (host, server) in [("127.0.0.1", &tool), ("localhost", &tool), ("localhost", &neighbour)] {
        assert_eq!(call(host, server).text(), "served");
        assert_eq!(server.last().unwrap().bearer(), Some("precious"));
        server.forget();
    }
    for (what, host, server) in [
        ("another workload", "127.0.0.1", &neighbour),
        ("a workload of another namespace", "127.0.0.1", &rival),
        ("a workload of another namespace", "localhost", &rival),
        ("a server of the web", "127.0.0.1", &web),
        ("a server of the web", "localhost", &web),
        ("a server without TLS", "127.0.0.1", &plain),
    ] {
        assert_eq!(error(&call(host, server)), wrong_peer(), "{what} at {host}");
        assert!(server.seen().is_empty(), "{what} at {host} got the request");
    }
}

/// Shows a certificate for this URI, or only for a host, and trusts the servers of this authority.
fn client(authority: &Authority, name: &str, uri: Option<&str>) -> Tls {
    let certificate = match uri {
        Some(uri) => authority.workload(name, uri),
        None => authority.server(name),
    };
    let certificate = certificate.unwrap();
    Tls::with_certificate(&authority.root(), &certificate.chain, &certificate.key).unwrap()
}

/// The settings that name a folder with an SVID.
fn files_dir(files: &Folder) -> String {
    format!("files_dir: \"{}\"", files.path().display())
}

/// Puts an SVID and the bundle of its authority into a folder, one after the other.
fn put(files: &Folder, authority: &Authority, svid: &Certificate) {
    for (name, from) in
        [("svid.pem", &svid.chain), ("svid_key.pem", &svid.key), ("svid_bundle.pem", &authority.root())]
    {
        files.write(name, std::fs::read(from).unwrap()).unwrap();
    }
}

fn first_certificate(file: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(file).unwrap().to_vec()
}

#[test]
fn replaced_files_are_taken_over_as_soon_as_they_fit_together() {
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let friend = Some("spiffe://example.org/friend");
    let (friend_of_old, friend_of_new) = (client(&old, "friend", friend), client(&new, "friend", friend));
    let issue =
        |authority: &Authority, name: &str| authority.workload(name, "spiffe://example.org/me").unwrap();
    let (first, second, third) = (issue(&old, "first"), issue(&old, "second"), issue(&new, "third"));
    let files = Folder::new("svid").unwrap();
    put(&files, &old, &first);
    let scene = Scene::start(&settings("", &files_dir(&files)), &Options::default()).unwrap();
    assert_eq!(shown(&scene, &friend_of_old), first_certificate(&first.chain));

    // A certificate whose key has not come yet, and one that was not written to its end.
    let whole = std::fs::read(&second.chain).unwrap();
    for half in [whole.as_slice(), &whole[..whole.len() / 2]] {
        let warnings = |scene: &Scene| scene.bridge.log().matches("the identity was not renewed").count();
        let before = warnings(&scene);
        files.write("svid.pem", half).unwrap();
        until("a look at the files", SOON, || Ok(warnings(&scene) > before)).unwrap();
        assert_eq!(get(&scene, &friend_of_old).unwrap().status, 200);
        assert_eq!(shown(&scene, &friend_of_old), first_certificate(&first.chain));
        assert_eq!(scene.readiness().unwrap().0, 200);
    }
    put(&files, &old, &second);
    let renewed = || Ok(shown(&scene, &friend_of_old) == first_certificate(&second.chain));
    until("the second SVID", SOON, renewed).unwrap();

    let mut open = Connection::open_tls(&scene.at.inbound.to_string(), &friend_of_old).unwrap();
    assert_eq!(open.send(&Request::new("GET", OPEN)).unwrap().status, 200);
    put(&files, &new, &third);
    until("the third SVID", SOON, || Ok(get(&scene, &friend_of_new).is_ok())).unwrap();
    assert!(get(&scene, &friend_of_old).is_err(), "the old authority still counts");
    assert!(open.is_closed_within(SOON).unwrap());
    let Scene { agent, mut bridge, .. } = scene;
    drop(agent);
    bridge.stop().unwrap();
}

#[test]
fn a_websocket_of_the_agent_ends_when_its_server_is_no_longer_trusted() {
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let issue = |authority: &Authority, name: &str, id: &str| {
        authority.workload(name, &format!("spiffe://example.org/{id}")).unwrap()
    };
    for by_route in [true, false] {
        let files = Folder::new("svid").unwrap();
        put(&files, &old, &issue(&old, "me", "ns/a/sa/me"));
        let tool = issue(&old, "tool", "ns/a/sa/tool").server_config().unwrap();
        let tool = Backend::start_tls(tool, |_| Answer::upgrade_and_echo("websocket")).unwrap();
        let with = |id: &str| {
            let route = format!(
                "{{host: 127.0.0.1, action: passthrough, server_spiffe_id: \"spiffe://example.org/{id}\"}}"
            );
            let outbound = token_exchange("http://127.0.0.1:1/token", ("me", "secret"), &[&route]);
            Settings { outbound, ..settings("", &files_dir(&files)) }
        };
        let scene = Scene::start(&with("ns/a/*"), &Options::default()).unwrap();
        let handshake = Request::new("GET", &format!("http://{}/ws", tool.address()));
        let handshake = handshake.header("Host", &tool.address().to_string());
        let handshake = handshake.header("Connection", "Upgrade").header("Upgrade", "websocket");
        let mut websocket = Connection::open(&scene.at.outbound.to_string()).unwrap();
        assert_eq!(websocket.send(&handshake).unwrap().status, 101);
        let mut echoes = || {
            websocket.write(b"hi").unwrap();
            assert_eq!(websocket.read_exactly(2).unwrap(), b"hi");
        };
        echoes();
        let reloads = |count: u64| {
            until("reload", SOON, || Ok(scene.stats("/reload/status")?["reloads_ok"] == count)).unwrap();
        };
        scene.rewrite(&with("ns/a/sa/tool")).unwrap();
        reloads(1);
        // A renewed SVID of its own changes nothing.
        put(&files, &old, &issue(&old, "again", "ns/a/sa/me"));
        until("the second SVID", SOON, || Ok(scene.bridge.log().matches("identity renewed").count() >= 2))
            .unwrap();
        echoes();
        if by_route {
            scene.rewrite(&with("ns/a/sa/other")).unwrap();
        } else {
            put(&files, &new, &issue(&new, "third", "ns/a/sa/me"));
        }
        assert!(websocket.is_closed_within(SOON).unwrap(), "by its route: {by_route}");
    }
}

#[test]
fn a_certificate_that_ran_out_ends_requests_and_no_websocket() {
    let authority = Authority::new().unwrap();
    let files = Folder::new("svid").unwrap();
    put(&files, &authority, &authority.workload("me", "spiffe://example.org/me").unwrap());
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let with = |peers: &str| {
        let inbound = jwt_validation("https://id.example", &jwks.url(), "agent");
        Settings { inbound, ..settings(&format!(", allowed_peers: [\"{peers}\"]"), &files_dir(&files)) }
    };
    let scene = Scene::start(&with("spiffe://example.org"), &Options::default()).unwrap();
    // Clocks may differ by a minute, so that this one counts for some seconds more.
    let end = SystemTime::now() - Duration::from_secs(50);
    let friend = authority.workload_until("friend", "spiffe://example.org/friend", end).unwrap();
    let friend = Tls::with_certificate(&authority.root(), &friend.chain, &friend.key).unwrap();
    let open = || Connection::open_tls(&scene.at.inbound.to_string(), &friend).unwrap();

    let mut http2 = open();
    http2.write(frames::PREFACE).unwrap();
    let mut stream = 1;
    let mut get = || -> anyhow::Result<String> {
        http2.write(&frames::get(stream, OPEN))?;
        let said = frames::body(&mut http2, stream, Duration::from_millis(300))?;
        stream += 2;
        Ok(said)
    };
    assert_eq!(get().unwrap(), "the agent");
    let token = key.sign(&ordinary_claims("https://id.example", "agent", "alice")).unwrap();
    scene.agent.answer(Answer::upgrade_and_echo("websocket"));
    let mut websocket = open();
    let handshake = Request::new("GET", "/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(websocket.send(&handshake.bearer(&token)).unwrap().status, 101);
    scene.agent.answer(Answer::text("the agent"));
    // It never acknowledges that it should go.
    until("the end of its requests", SOON, || Ok(get()?.contains("policy.forbidden"))).unwrap();

    let reloads = |count: u64| {
        until("reload", SOON, || Ok(scene.stats("/reload/status")?["reloads_ok"] == count)).unwrap();
    };
    scene.rewrite(&with("spiffe://example.org/friend")).unwrap();
    reloads(1);
    websocket.write(b"hi").unwrap();
    assert_eq!(websocket.read_exactly(2).unwrap(), b"hi");
    scene.rewrite(&with("spiffe://example.org/other")).unwrap();
    reloads(2);
    assert!(websocket.is_closed_within(SOON).unwrap());
}
