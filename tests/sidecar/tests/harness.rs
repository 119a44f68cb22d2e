//! What plays the peers of AuthBridge tells the truth about what it saw and sends what it is told.

use countersign_sidecar_tests::backend::{Answer, Backend, Step};
use countersign_sidecar_tests::certificates::Authority;
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{self, Connection, Request, Tls};
use countersign_sidecar_tests::http2;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{self, SigningKey};
use countersign_sidecar_tests::process::{Launch, Process, Signal, until};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_backend_keeps_the_bytes_and_the_meaning_of_what_came() {
    let backend = Backend::start(Answer::text("hello")).unwrap();
    let address = backend.address().to_string();
    let mut connection = Connection::open(&address).unwrap();
    let wire = b"POST /a%2fb//c?x=%20 HTTP/1.1\r\nHost: Agent.example\r\nX-Twice: 1\r\nX-twice: 2\r\n\
                 Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    connection.write(wire).unwrap();
    assert_eq!(connection.read_reply(false).unwrap().text(), "hello");
    let reply = connection.send(&Request::new("HEAD", "*")).unwrap();
    assert_eq!((reply.status, reply.header("Content-Length"), reply.body.len()), (200, Some("5"), 0));

    let seen = backend.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("POST", "/a%2fb//c?x=%20"));
    assert_eq!((seen[0].authority.as_str(), seen[0].text().as_str()), ("Agent.example", "abc"));
    assert_eq!(seen[0].all("x-twice").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(seen[1].connection, 0);
    assert!(backend.raw(0).starts_with(wire));
    assert_eq!((backend.connections(), backend.open_connections()), (1, 1));
    drop(connection);
    until("closed connection", Duration::from_secs(5), || Ok(backend.open_connections() == 0)).unwrap();
}

#[test]
fn a_backend_streams_breaks_and_upgrades_as_told() {
    let pause = Duration::from_millis(150);
    let backend = Backend::start(Answer::events(&["one", "two"], pause)).unwrap();
    let address = backend.address().to_string();
    let mut connection = Connection::open(&address).unwrap();
    connection.write(&Request::new("GET", "/events").bytes(&address)).unwrap();
    let begin = Instant::now();
    connection.read_until(b"data: one\n\n").unwrap();
    assert!(begin.elapsed() < 2 * pause, "the first event waited for the second");
    connection.read_until(b"data: two\n\n").unwrap();
    connection.read_until(b"0\r\n\r\n").unwrap();

    backend.answer(Answer::status(200).steps(vec![Step::Data(b"half".to_vec()), Step::Break]));
    assert!(Request::new("GET", "/").send(&address).is_err());

    backend.answer(Answer::upgrade_and_echo("websocket"));
    let upgrade = Request::new("GET", "/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut socket = Connection::open(&address).unwrap();
    let reply = socket.send(&upgrade).unwrap();
    assert_eq!(reply.status, 101);
    // The example of RFC 6455.
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    socket.write(&[0, 255, 10]).unwrap();
    assert_eq!(socket.read_exactly(3).unwrap(), [0, 255, 10]);
}

#[test]
fn a_backend_speaks_http2_with_trailers() {
    let backend = Backend::start(Answer::grpc(&[b"abc"], 0)).unwrap();
    let address = backend.address().to_string();
    let headers = [("te", "trailers"), ("content-type", "application/grpc")];
    let reply = http2::send(&address, "POST", "/service/Method?x", &headers, b"\0\0\0\0\0").unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"\0\0\0\0\x03abc".as_slice()));
    assert_eq!(reply.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    let seen = backend.last().unwrap();
    assert_eq!((seen.http2, seen.target.as_str(), seen.authority), (true, "/service/Method?x", address));
}

#[test]
fn tls_trusts_a_chain_and_nothing_else() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let server = authority.workload("server", "spiffe://example.org/server").unwrap();
    let backend = Backend::start_tls(server.server_config().unwrap(), |_| Answer::text("encrypted")).unwrap();
    let address = backend.address().to_string();
    let reply = Request::new("GET", "/").send_tls(&address, &Tls::trusting(&authority.root()).unwrap());
    assert_eq!(reply.unwrap().text(), "encrypted");
    assert!(Request::new("GET", "/").send_tls(&address, &Tls::trusting(&other.root()).unwrap()).is_err());
}

#[test]
fn tokens_are_signed_by_the_keys_that_are_published() {
    let claims = jwt::ordinary_claims("https://issuer.example", "agent", "alice");
    let (p256, ed25519) = (SigningKey::p256("a").unwrap(), SigningKey::ed25519("b").unwrap());
    let server = JwksServer::start(&[&p256]).unwrap();
    server.publish(&[&p256, &ed25519, &SigningKey::p384("c").unwrap(), &SigningKey::rsa("d").unwrap()]);
    let keys = http::get(&server.url()).unwrap().json().unwrap()["keys"].clone();
    assert_eq!(server.requests(), 1);
    assert_eq!(keys[3]["e"], "AQAB");
    let member = |key: usize, name: &str| decode(keys[key][name].as_str().unwrap()).unwrap();
    let (input, signature) = split(&p256.sign(&claims).unwrap()).unwrap();
    let point = [&[4], member(0, "x").as_slice(), &member(0, "y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(&input, &signature).unwrap();
    let (input, signature) = split(&ed25519.sign(&claims).unwrap()).unwrap();
    UnparsedPublicKey::new(&ED25519, member(1, "x")).verify(&input, &signature).unwrap();

    let lying = p256.sign_with(&json!({"alg": "RS256"}), &claims).unwrap();
    assert_eq!(jwt::header(&lying).unwrap(), json!({"alg": "RS256"}));
    assert!(jwt::unsigned(&json!({"alg": "none"}), &claims).ends_with('.'));
}

#[test]
fn a_process_runs_as_another_user_and_ends_even_if_it_is_paused() {
    let folder = Folder::new("process").unwrap();
    let arguments = ["-c", "id -u; id -G; exec sleep 100"].map(str::to_owned).to_vec();
    let launch = Launch {
        name: "sleeper".to_owned(),
        program: "sh".into(),
        arguments,
        user: Some(10_001),
        ..Launch::default()
    };
    let mut process = Process::start(launch, folder.path()).unwrap();
    until("output", Duration::from_secs(5), || Ok(process.log() == "10001\n10001\n")).unwrap();
    process.signal(Signal::STOP).unwrap();
    process.stop().unwrap();
    assert!(process.pid().is_none());
}

#[test]
fn nothing_outlives_a_test_program_that_is_killed() {
    let hold = "HARNESS_HOLDS";
    if std::env::var_os(hold).is_some() {
        // The program below: it has a process and a folder, and does not end soon.
        let folder = Folder::new("held").unwrap();
        let (program, arguments) = ("sleep".into(), vec!["100".to_owned()]);
        let launch = Launch { name: "held".to_owned(), program, arguments, ..Launch::default() };
        let process = Process::start(launch, folder.path()).unwrap();
        println!("held {} {}", process.pid().unwrap(), folder.path().display());
        return std::thread::sleep(Duration::from_mins(1));
    }
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--nocapture", "--exact", "nothing_outlives_a_test_program_that_is_killed"])
        .env(hold, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The runner writes the name of the test before it, in the same line.
    let line = lines.find_map(|line| Some(line.split_once("held ")?.1.to_owned())).unwrap();
    let (pid, folder) = line.split_once(' ').unwrap();
    // Empty before the program is loaded, and once it has ended, be it waited for or not.
    let runs = || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    until("process", Duration::from_secs(5), || Ok(runs() && Path::new(folder).is_dir())).unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
    until("end of both", Duration::from_secs(5), || Ok(!runs() && !Path::new(folder).exists())).unwrap();
}

fn split(token: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (input, signature) = token.rsplit_once('.')?;
    Some((input.as_bytes().to_vec(), decode(signature)?))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}
