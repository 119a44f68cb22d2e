//! What waits costs nothing: a sidecar with many calls under way sleeps until something happens.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::Answer;
use countersign_sidecar_tests::http::{Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use std::time::Duration;

const CALLS: usize = 200;

/// How often the threads of a process have gone to sleep by themselves: each time something had woken them.
fn sleeps(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let sleeps = threads.map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    });
    sleeps.sum()
}

#[test]
fn calls_that_wait_for_the_agent_wake_nobody() {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let inbound = jwt_validation("https://id.example", &jwks.url(), "agent-a");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    scene.agent.answer(Answer::text("late").after(Duration::from_secs(20)));
    let request = Request::new("GET", "/healthz").bytes("a");
    let open = || {
        let mut connection = Connection::open(&scene.at.inbound.to_string()).unwrap();
        connection.write(&request).unwrap();
        connection
    };
    let mut calls: Vec<Connection> = (0..CALLS).map(|_| open()).collect();
    until("the calls", Duration::from_secs(10), || Ok(scene.agent.seen().len() == CALLS)).unwrap();
    let pid = scene.bridge.pid().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let before = sleeps(pid);
    std::thread::sleep(Duration::from_secs(3));
    let woken = sleeps(pid) - before;
    // The file of routes and the configuration are looked at meanwhile.
    assert!(woken < 60, "{woken} times in 3 s");

    // A call that is answered gives its buffers back, and its connection still serves.
    scene.agent.answer(Answer::text("soon"));
    for call in &mut calls[..5] {
        assert_eq!(call.read_reply(false).unwrap().text(), "late");
        std::thread::sleep(Duration::from_millis(100));
        call.write(&request).unwrap();
        assert_eq!(call.read_reply(false).unwrap().text(), "soon");
    }
}
