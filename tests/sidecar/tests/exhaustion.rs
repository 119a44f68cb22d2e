//! One neighbour takes all that it can get, and an honest caller from another address is served all the same.

use countersign_sidecar_tests::attack::{
    HONEST, NEIGHBOUR, Siege, Then, closed_window, endless_header_block, half_head,
};
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Step};
use countersign_sidecar_tests::frames;
use countersign_sidecar_tests::http::{Connection, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::process::{Signal, until};
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use std::time::{Duration, Instant};

/// What an honest caller waits for an answer, on a machine with other work.
const SOON: Duration = Duration::from_secs(3);

/// A sidecar with these limits, whose agent answers after some time on `/.well-known/slow`.
fn start(limits: &str) -> (Scene, JwksServer) {
    let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
    let settings = Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        blocks: format!("limits: {{{limits}}}"),
        ..Settings::default()
    };
    let scene = Scene::start(&settings, &Options::default()).unwrap();
    scene.agent.answer_with(|seen| match seen.target.as_str() {
        "/.well-known/slow" => Answer::text("slow").after(Duration::from_secs(4)),
        _ => Answer::text("the agent"),
    });
    (scene, jwks)
}

fn open(scene: &Scene, source: &str) -> Connection {
    Connection::open_from(source, &scene.at.inbound.to_string()).unwrap()
}

/// Asks the agent as somebody else than the neighbour.
fn ask(scene: &Scene) -> (u16, Duration) {
    let began = Instant::now();
    let reply = open(scene, HONEST).send(&Request::new("GET", "/healthz")).unwrap();
    (reply.status, began.elapsed())
}

fn is_served(scene: &Scene) {
    let (status, time) = ask(scene);
    assert!(status == 200 && time < SOON, "{status} after {time:?}");
}

fn overloaded(scene: &Scene) -> u64 {
    let metrics = Request::new("GET", "/metrics").send(&scene.at.stats.to_string()).unwrap().text();
    let line = metrics.lines().find(|line| line.contains("request.overloaded")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// The resident memory of the sidecar in KiB.
fn resident(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.bridge.pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn silent_connections_of_one_neighbour_lock_nobody_out() {
    for limits in ["connections: 64", "connections: 64, connections_per_peer: 16"] {
        let (scene, _jwks) = start(limits);
        let mut kept = open(&scene, HONEST);
        let request = Request::new("GET", "/healthz");
        assert_eq!(kept.send(&request).unwrap().status, 200);
        let mut waiting = open(&scene, HONEST);
        waiting.write(&Request::new("GET", "/.well-known/slow").bytes("a")).unwrap();
        // Fewer than may wait, so that none is refused.
        let _silent: Vec<_> = (0..140).map(|_| open(&scene, NEIGHBOUR)).collect();
        is_served(&scene);
        // Neither what is under way nor what is kept of others was ended for it.
        assert_eq!(waiting.read_reply(false).unwrap().text(), "slow", "{limits}");
        assert_eq!(kept.send(&request).unwrap().status, 200, "{limits}");
        assert_eq!(overloaded(&scene), 0, "{limits}");
    }
}

#[test]
fn who_has_requests_under_way_on_all_connections_is_told_and_others_are_served() {
    let (scene, _jwks) = start("connections: 64, connections_per_peer: 8");
    let slow = Request::new("GET", "/.well-known/slow").bytes("a");
    let mut busy: Vec<_> = (0..8).map(|_| open(&scene, NEIGHBOUR)).collect();
    for connection in &mut busy {
        connection.write(&slow).unwrap();
    }
    until("requests under way", SOON, || Ok(scene.agent.seen().len() == 8)).unwrap();
    let reply = open(&scene, NEIGHBOUR).read_reply(false).unwrap();
    assert_eq!((reply.status, reply.json().unwrap()["error"].as_str()), (503, Some("request.overloaded")));
    assert_eq!(overloaded(&scene), 1);
    is_served(&scene);
    for mut connection in busy {
        assert_eq!(connection.read_reply(false).unwrap().text(), "slow");
    }
}

#[test]
fn ever_new_connections_of_one_peer_cost_little_and_delay_no_burst_of_another() {
    let (scene, _jwks) = start("connections: 2048, connections_per_peer: 256");
    for (name, opening) in [("silent", Vec::new()), ("half heads", half_head(100))] {
        let _siege = Siege::start(scene.at.inbound, opening, 320, Then::Holds(Duration::ZERO)).unwrap();
        let began = Instant::now();
        // A pool of clients that starts again, from one address.
        let mut burst: Vec<_> = (0..200).map(|_| open(&scene, HONEST)).collect();
        for connection in &mut burst {
            connection.write(&Request::new("GET", "/healthz").bytes("a")).unwrap();
        }
        for connection in &mut burst {
            assert_eq!(connection.read_reply(false).unwrap().status, 200, "{name}");
        }
        assert!(began.elapsed() < SOON, "{name}: {:?}", began.elapsed());
        // Whoever shares the address of the neighbour, behind NAT, is answered too.
        for _ in 0..5 {
            let began = Instant::now();
            let reply = open(&scene, NEIGHBOUR).send(&Request::new("GET", "/healthz")).unwrap();
            assert!(reply.status == 200 && began.elapsed() < SOON, "{name}: {:?}", began.elapsed());
        }
    }
}

#[test]
fn silent_arrivals_end_no_connection_of_their_peer_at_once_and_one_that_speaks_is_served() {
    for limits in ["connections: 2048, connections_per_peer: 64", "connections: 64"] {
        silent_arrivals_wait(limits);
    }
}

/// Sees that silent arrivals wait under these limits, which let a neighbour have 64 connections.
fn silent_arrivals_wait(limits: &str) {
    let (scene, _jwks) = start(limits);
    let (arrivals, soon) = (40, Duration::from_millis(50));
    // Again where other work on this machine took the time.
    for _ in 0..10 {
        let mut first: Vec<_> = (0..64).map(|_| open(&scene, NEIGHBOUR)).collect();
        std::thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        let _silent: Vec<_> = (0..arrivals).map(|_| open(&scene, NEIGHBOUR)).collect();
        let mut speaks = open(&scene, NEIGHBOUR);
        assert_eq!(speaks.send(&Request::new("GET", "/healthz")).unwrap().status, 200);
        std::thread::sleep(soon);
        // The idlest ones, which would end first. The one that was ended closes in its own time.
        let mut closed = vec![false; 15];
        while began.elapsed() < Duration::from_millis(240) {
            for (connection, closed) in first.iter_mut().zip(&mut closed) {
                *closed = *closed || connection.is_closed_within(Duration::from_millis(1)).unwrap();
            }
            let ended = closed.iter().filter(|closed| **closed).count();
            if ended > 0 && began.elapsed() < Duration::from_millis(240) {
                return assert_eq!(ended, 1, "{limits}: one was ended, for the one that speaks");
            }
        }
    }
    panic!("this machine is too slow");
}

#[test]
fn lower_limits_count_for_connections_that_are_open() {
    let (scene, jwks) = start("connections: 64");
    let mut early: Vec<_> = (0..20).map(|_| open(&scene, NEIGHBOUR)).collect();
    is_served(&scene);
    let next = Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        blocks: "limits: {connections: 8}".to_owned(),
        ..Settings::default()
    };
    scene.rewrite(&next).unwrap();
    until("reload", Duration::from_secs(15), || Ok(scene.stats("/reload/status")?["reloads_ok"] == 1))
        .unwrap();
    let _late = open(&scene, NEIGHBOUR);
    is_served(&scene);
    let is_closed =
        |connection: &mut Connection| connection.is_closed_within(Duration::from_millis(50)).unwrap();
    let closed = early.iter_mut().map(is_closed).filter(|closed| *closed).count();
    assert!(closed >= 12, "{closed} of 20 were closed");
}

#[test]
fn half_headers_take_no_more_memory_than_is_configured() {
    let (scene, _jwks) = start("memory: 4194304, header_timeout: 60s");
    is_served(&scene);
    let before = resident(&scene);
    let half = half_head(60_000);
    let mut all: Vec<_> = (0..600).map(|_| open(&scene, NEIGHBOUR)).collect();
    for connection in &mut all {
        // Those that end meanwhile cannot be written to.
        let _ = connection.write(&half);
    }
    is_served(&scene);
    let more = resident(&scene) - before;
    assert!(more < 12 * 1024, "{more} KiB more for 36 MB of half headers");
}

#[test]
fn silent_connections_to_the_health_server_do_not_hide_it() {
    let (scene, _jwks) = start("");
    let health = scene.at.health.to_string();
    let silent: Vec<_> = (0..1000).map(|_| Connection::open_from(NEIGHBOUR, &health).unwrap()).collect();
    assert_eq!(scene.readiness().unwrap().0, 200);
    let files = || std::fs::read_dir(format!("/proc/{}/fd", scene.bridge.pid().unwrap())).unwrap().count();
    assert!(files() < 300, "{} descriptors", files());
    drop(silent);
}

#[test]
fn an_http2_connection_on_which_nothing_moves_is_ended() {
    let (scene, _jwks) = start("idle_timeout: 2s, header_timeout: 1s");
    let part = Step::Data(vec![b'x'; 64 * 1024]);
    scene.agent.answer(Answer::status(200).steps(vec![part; 64]));
    let limit = Duration::from_secs(12);
    // It takes no byte of the answer. It is alive, and says so.
    let mut greedy = open(&scene, NEIGHBOUR);
    greedy.write(&closed_window("/healthz", 1)).unwrap();
    let mut half = open(&scene, NEIGHBOUR);
    half.write(&endless_header_block()).unwrap();
    // It asks and reads by HTTP/1.1, and stops reading.
    let mut stopped = open(&scene, NEIGHBOUR);
    stopped.write(&Request::new("GET", "/healthz").bytes("a")).unwrap();
    for (name, connection) in [("no window", &mut greedy), ("half a header", &mut half)] {
        let began = Instant::now();
        while answers_pings(connection) {
            assert!(began.elapsed() < limit, "{name} is still open");
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    let rest = stopped.read_rest(limit).unwrap_or_default();
    assert!(rest.len() < 64 * 64 * 1024, "who does not read got the whole answer");
}

/// Acknowledges the PINGs of a while (RFC 9113 §6.7); false if the connection is closed.
fn answers_pings(connection: &mut Connection) -> bool {
    let read = connection.read_rest(Duration::from_millis(200)).unwrap_or_default();
    let (mut rest, mut answers) = (read.as_slice(), Vec::new());
    while let Some((head, more)) = rest.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, more)) = more.split_at_checked(length) else { break };
        if head[3] == 6 && head[4] == 0 {
            answers.extend(frames::frame(6, 1, 0, payload));
        }
        rest = more;
    }
    // A PING of its own shows in the next round whether the connection is closed.
    answers.extend(frames::frame(6, 0, 0, b"8 octets"));
    connection.write(&answers).is_ok()
}

#[test]
fn arrivals_that_wait_for_nothing_are_told_and_counted() {
    let (scene, _jwks) = start("connections: 64");
    let _first: Vec<_> = (0..64).map(|_| open(&scene, NEIGHBOUR)).collect();
    let mut arrivals: Vec<_> = (0..400).map(|_| open(&scene, NEIGHBOUR)).collect();
    let mut told = 0;
    until("too many wait", SOON, || {
        told += count_told(&mut arrivals);
        Ok(told > 0 && told == overloaded(&scene))
    })
    .unwrap();
    // Those that wait at the end.
    let mut last: Vec<_> = (0..50).map(|_| open(&scene, NEIGHBOUR)).collect();
    scene.bridge.signal(Signal::TERM).unwrap();
    until("the end", SOON, || Ok(Connection::open_from(NEIGHBOUR, &scene.at.inbound.to_string()).is_err()))
        .unwrap();
    let told_last = count_told(&mut last);
    assert!(told_last > 0);
    assert_eq!(told + count_told(&mut arrivals) + told_last, overloaded(&scene));
}

/// How many of these were answered that there is no room.
fn count_told(connections: &mut [Connection]) -> u64 {
    let is_told = |connection: &mut Connection| {
        let rest = connection.read_rest(Duration::from_millis(1)).unwrap_or_default();
        String::from_utf8_lossy(&rest).contains("request.overloaded")
    };
    let told = connections.iter_mut().map(is_told).filter(|told| *told).count();
    u64::try_from(told).unwrap()
}

#[test]
fn the_next_request_of_a_resting_http2_connection_does_not_end_that_connection() {
    // A gateway has nine connections of HTTP/2 that rest, and seven callers that are slow with their heads: 16 of 16 units.
    let (scene, _jwks) = start("memory: 1048576, header_timeout: 60s");
    let mut kept: Vec<_> = (0..9).map(|_| open(&scene, HONEST)).collect();
    for connection in &mut kept {
        connection.write(frames::PREFACE).unwrap();
        answers_by_http2(connection, 1);
    }
    let mut slow: Vec<_> = (0..7).map(|_| open(&scene, HONEST)).collect();
    for connection in &mut slow {
        connection.write(&half_head(100)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    answers_by_http2(&mut kept[0], 3);
}

#[test]
fn answers_that_are_not_taken_count_for_the_memory_that_is_configured() {
    // 64 units, of which a connection of HTTP/2 takes eight until its answers are written, and one unit then.
    let (scene, _jwks) = start("memory: 4194304");
    scene.agent.answer(Answer::status(200).body(vec![b'x'; 7000]));
    is_served(&scene);
    let before = resident(&scene);
    let mut all = Vec::new();
    for count in 1..=50 {
        let mut connection = open(&scene, NEIGHBOUR);
        // Windows of one byte: hyper has each whole answer, and cannot write it.
        let mut bytes = frames::PREFACE[..24].to_vec();
        bytes.extend(frames::frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]));
        for number in 0..120 {
            bytes.extend(frames::get(2 * number + 1, "/healthz"));
        }
        connection.write(&bytes).unwrap();
        // What is under way is ended for nobody, so that each has its answers before the next one comes.
        until("its requests at the agent", SOON, || Ok(scene.agent.seen().len() > 120 * count)).unwrap();
        let _ = connection.read_rest(Duration::from_millis(50));
        all.push(connection);
    }
    std::thread::sleep(Duration::from_millis(500));
    let more = resident(&scene) - before;
    assert!(more < 20 * 1024, "{more} KiB more for 41 MiB of answers");
    until("all but eight to end", SOON, || {
        is_served(&scene);
        all.retain_mut(|connection| !connection.is_closed_within(Duration::from_millis(1)).unwrap());
        Ok(all.len() <= 8)
    })
    .unwrap();
}

#[test]
fn http2_connections_between_requests_do_not_end_for_half_heads_of_a_neighbour() {
    // 64 units, of which seven connections of HTTP/2 that are read take 56.
    let (scene, _jwks) = start("memory: 4194304, header_timeout: 60s");
    let mut kept: Vec<_> = (0..7).map(|_| open(&scene, HONEST)).collect();
    for connection in &mut kept {
        connection.write(frames::PREFACE).unwrap();
        answers_by_http2(connection, 1);
    }
    // What comes between requests is no request: an idle connection stays idle.
    for connection in &mut kept {
        assert!(answers_pings(connection));
    }
    std::thread::sleep(Duration::from_millis(300));
    for halves in [20, 100] {
        let half = half_head(1000);
        let mut all: Vec<_> = (0..halves).map(|_| open(&scene, NEIGHBOUR)).collect();
        for connection in &mut all {
            let _ = connection.write(&half);
        }
        is_served(&scene);
        for (number, connection) in kept.iter_mut().enumerate() {
            assert!(!connection.is_closed_within(Duration::from_millis(5)).unwrap(), "{halves}: {number}");
        }
    }
    for connection in &mut kept {
        answers_by_http2(connection, 3);
    }
}

/// Sees that a connection of HTTP/2 is answered.
fn answers_by_http2(connection: &mut Connection, stream: u32) {
    connection.write(&frames::get(stream, "/healthz")).unwrap();
    let body = frames::body(connection, stream, Duration::from_millis(200)).unwrap();
    assert_eq!(body, "the agent", "{stream}");
}
