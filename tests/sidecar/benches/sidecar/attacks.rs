//! What an honest caller waits while one neighbour takes all that it can get. Each attack meets a fresh proxy.

use crate::backend::BIG;
use crate::client::Target;
use crate::contender::Contender;
use crate::load::{Load, Measured, median};
use crate::stage::{Kind, Stage};
use countersign_rig::record::Table;
use countersign_sidecar_tests::attack::{
    CLOSED_WINDOW_STREAMS, HONEST, Siege, Then, closed_window, endless_header_block, half_client_hello,
    half_head, whole_client_hello,
};
use countersign_sidecar_tests::http::Request;
use std::time::Duration;

/// Connections that one neighbour of AuthBridge may have as it is shipped, and some more than that.
const MOST: usize = 8192;
const MORE: usize = MOST + 64;
/// What the honest caller asks. It takes new connections all the time, as the neighbour does.
const LOAD: Load = Load { rate: Some(1000), time: Duration::from_secs(3), callers: 20, renewal: Some(10) };
const AGAIN: Then = Then::Holds(Duration::from_secs(1));

/// What the neighbour does.
#[derive(Clone, Copy)]
enum Attack {
    Nothing,
    Silent,
    NewOnes,
    HalfHeads,
    HalfHandshakes,
    Handshakes,
    ClosedWindows,
    HeaderBlocks,
    SlowReaders,
    Admin,
}

const ALL: [Attack; 10] = [
    Attack::Nothing,
    Attack::Silent,
    Attack::NewOnes,
    Attack::HalfHeads,
    Attack::HalfHandshakes,
    Attack::Handshakes,
    Attack::ClosedWindows,
    Attack::HeaderBlocks,
    Attack::SlowReaders,
    Attack::Admin,
];

/// One round beside one attack.
struct Round {
    measured: Measured,
    resident: f64,
    opened: usize,
}

/// Of AuthBridge, and of Envoy beside it, which has no limits for connections by itself.
/// `named` are words of the names of some attacks, or none for all; quiet is always there.
pub(crate) fn measure(stage: &Stage, table: &mut Table, rounds: u32, named: &[String]) {
    let is_named = |attack: &&Attack| {
        let is = |word: &String| attack.name().contains(word.as_str());
        named.is_empty() || matches!(attack, Attack::Nothing) || named.iter().any(is)
    };
    let cases: Vec<_> = ALL
        .iter()
        .filter(is_named)
        .flat_map(|attack| [(Kind::AuthBridge, attack), (Kind::Envoy, attack)])
        .collect();
    let mut all: Vec<Vec<Round>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((kind, attack), results) in cases.iter().zip(&mut all) {
            results.extend(round(stage, *kind, **attack));
        }
    }
    let of = |rounds: &[Round]| median(&rounds.iter().map(|round| round.measured).collect::<Vec<_>>());
    for (kind, quiet) in [(Kind::AuthBridge, 0), (Kind::Envoy, 1)] {
        let quiet = of(&all[quiet]).p99_millis;
        for ((of_kind, attack), results) in cases.iter().zip(&all) {
            let (true, Some(last)) = (*of_kind == kind, results.last()) else { continue };
            let Measured { busy, p50_millis, p99_millis, failed, .. } = of(results);
            let aim = match (kind, attack) {
                (Kind::AuthBridge, Attack::Nothing) | (Kind::Envoy | Kind::Bare, _) => "",
                (Kind::AuthBridge, _) => "p99 ≤ 2 × quiet, 0 failed",
            };
            let figure = format!(
                "p50 {p50_millis:.2} ms, p99 {p99_millis:.2} ms, {:.1} × quiet, {failed} failed; {:.0} % of the core, {:.0} MiB, \
                 {} connections opened",
                p99_millis / quiet,
                busy * 100.0,
                last.resident / 1024.0,
                last.opened,
            );
            table.row(&format!("{}: {}", kind.name(), attack.name()), aim, &figure);
        }
    }
}

/// None where a proxy has nothing of the kind.
fn round(stage: &Stage, kind: Kind, attack: Attack) -> Option<Round> {
    let contender = stage.start(kind);
    let request = Request::new("GET", "/x").bearer(&stage.token);
    let honest = Target::http1(contender.plain, &request).from(HONEST);
    let siege = match attack {
        Attack::Nothing => None,
        attack => Some(attack.start(stage, &contender)?),
    };
    // What was said last arrives.
    std::thread::sleep(Duration::from_secs(1));
    let measured = LOAD.run(&contender, &honest);
    let opened = siege.as_ref().map_or(0, Siege::opened);
    Some(Round { measured, resident: contender.resident(), opened })
}

impl Attack {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "an honest caller, in quiet",
            Self::Silent => "beside 8192 silent connections",
            Self::NewOnes => "beside silent connections, ever new ones",
            Self::HalfHeads => "beside 8192 half heads of 60 kB",
            Self::HalfHandshakes => "beside 8192 half TLS handshakes",
            Self::Handshakes => "beside TLS handshakes without end, 32 at a time",
            Self::ClosedWindows => "beside 1,600 streams of HTTP/2 whose window never opens",
            Self::HeaderBlocks => "beside 1,000 connections of HTTP/2 whose header never ends",
            Self::SlowReaders => "beside 256 slow readers of 1 MiB",
            Self::Admin => "beside silent connections to the health server, ever new ones",
        }
    }

    fn start(self, stage: &Stage, contender: &Contender) -> Option<Siege> {
        let (plain, tls) = (contender.plain, contender.tls);
        let ever = Then::Holds(Duration::ZERO);
        let (target, opening, connections, then) = match self {
            Self::Nothing => return None,
            Self::Silent => (plain, Vec::new(), MOST, AGAIN),
            Self::NewOnes => (plain, Vec::new(), MORE, ever),
            Self::HalfHeads => (plain, half_head(60_000), MOST, AGAIN),
            Self::HalfHandshakes => (tls, half_client_hello(&stage.tls).unwrap(), MOST, AGAIN),
            Self::Handshakes => (tls, whole_client_hello(&stage.tls).unwrap(), 32, Then::HangsUp),
            Self::ClosedWindows => (plain, closed_window(BIG, CLOSED_WINDOW_STREAMS), 16, AGAIN),
            Self::HeaderBlocks => (plain, endless_header_block(), 1000, AGAIN),
            Self::SlowReaders => (plain, Request::new("GET", BIG).bytes("a"), 256, Then::ReadsSlowly),
            Self::Admin => (contender.others?.health, Vec::new(), 128, ever),
        };
        Some(Siege::start(target, opening, connections, then).unwrap())
    }
}
