//! One neighbour where there are few open files. The limit belongs to the whole process, so these tests have a program of their
//! own.

use countersign_sidecar_tests::attack::{HONEST, NEIGHBOUR, closed_window};
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::Answer;
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One test at a time: they share the files of this process.
static FILES: Mutex<()> = Mutex::new(());

/// A sidecar that may have so many files, whose agent takes its time for an answer on `/.well-known/slow`.
fn start() -> (Scene, JwksServer) {
    let files = Some(2048);
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let inbound = jwt_validation("https://id.example", &jwks.url(), "agent");
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    scene.agent.answer_with(|seen| match seen.target.as_str() {
        "/.well-known/slow" => Answer::text("slow").after(Duration::from_secs(20)),
        _ => Answer::text("the agent"),
    });
    (scene, jwks)
}

fn open(scene: &Scene, source: &str) -> Connection {
    Connection::open_from(source, &scene.at.inbound.to_string()).unwrap()
}

/// What an honest caller gets.
fn honest(scene: &Scene) -> String {
    let mut connection = open(scene, HONEST);
    connection.write(&Request::new("GET", "/healthz").bytes("a")).unwrap();
    let rest = connection.read_rest(Duration::from_secs(3)).unwrap_or_default();
    String::from_utf8_lossy(&rest).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn one_neighbour_does_not_take_all_places() {
    let _files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let (scene, _jwks) = start();
    let slow = Request::new("GET", "/.well-known/slow").bytes("a");
    let mut busy: Vec<_> = (0..600).map(|_| open(&scene, NEIGHBOUR)).collect();
    for connection in &mut busy {
        let _ = connection.write(&slow);
    }
    std::thread::sleep(Duration::from_secs(2));
    let under_way = scene.agent.seen().len();
    assert_eq!(honest(&scene), "HTTP/1.1 200 OK", "{under_way} requests of the neighbour are under way");
}

#[test]
fn streams_of_one_neighbour_do_not_take_all_descriptors() {
    let _files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let (scene, _jwks) = start();
    let mut busy = Vec::new();
    for _ in 0..20 {
        let mut connection = open(&scene, NEIGHBOUR);
        let mut bytes = frames::PREFACE.to_vec();
        for number in 0..120 {
            bytes.extend(frames::get(2 * number + 1, "/.well-known/slow"));
        }
        connection.write(&bytes).unwrap();
        busy.push(connection);
    }
    std::thread::sleep(Duration::from_secs(3));
    let under_way = scene.agent.seen().len();
    assert_eq!(honest(&scene), "HTTP/1.1 200 OK", "{under_way} requests of the neighbour are under way");
    assert_eq!(under_way, 180, "half of those for which there are descriptors");
    let told = String::from_utf8_lossy(&busy[19].read_rest(Duration::from_millis(200)).unwrap()).into_owned();
    assert!(told.contains("request.overloaded"), "{told}");
}

#[test]
fn closed_windows_of_one_neighbour_do_not_take_all_descriptors() {
    let _files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let (scene, _jwks) = start();
    scene.agent.answer(Answer::status(200).body(vec![b'x'; 7000]));
    let mut busy: Vec<_> = (0..22).map(|_| open(&scene, NEIGHBOUR)).collect();
    for connection in &mut busy {
        connection.write(&closed_window("/healthz", 100)).unwrap();
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(honest(&scene), "HTTP/1.1 200 OK");
    let files = std::fs::read_dir(format!("/proc/{}/fd", scene.bridge.pid().unwrap())).unwrap().count();
    assert!(files < 1024, "{files} descriptors");
}
