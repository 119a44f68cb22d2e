//! The limit on open files. It belongs to the whole process, so this test has a program of its own.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn as_many_files_are_opened_as_the_hard_limit_allows() {
    let own = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(512), ..own }).unwrap();
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let inbound = jwt_validation("https://id.example", &jwks.url(), "agent");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    setrlimit(Resource::Nofile, own).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", scene.bridge.pid().unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
}
