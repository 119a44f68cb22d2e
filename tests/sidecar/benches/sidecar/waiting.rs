//! Calls that wait for the agent, as long polling does: what they take of CPU and memory, and what another request beside
//! them costs.

use crate::backend::LATE;
use crate::client::Target;
use crate::load::{Load, Measured, median, middle};
use crate::stage::{Kind, Stage};
use countersign_rig::record::Table;
use countersign_sidecar_tests::attack::HONEST;
use countersign_sidecar_tests::http::Request;
use countersign_sidecar_tests::process::until;
use std::time::{Duration, Instant};

const CALLS: u32 = 5_000;
/// What else is asked, before and beside them.
const LOAD: Load = Load { rate: Some(1000), time: Duration::from_secs(3), callers: 50, renewal: None };
/// How long the calls are left alone.
const QUIET: Duration = Duration::from_secs(5);

/// One round with one proxy.
struct Round {
    quiet: Measured,
    beside: Measured,
    cpu_millis: f64,
    kib: f64,
}

/// Of all proxies.
pub(crate) fn measure(stage: &Stage, table: &mut Table, rounds: u32) {
    let kinds = [Kind::Bare, Kind::AuthBridge, Kind::Envoy];
    let mut all: [Vec<Round>; 3] = Default::default();
    for _ in 0..rounds {
        for (kind, results) in kinds.iter().zip(&mut all) {
            results.push(round(stage, *kind));
        }
    }
    for (kind, results) in kinds.iter().zip(&all) {
        let of = |part: fn(&Round) -> Measured| median(&results.iter().map(part).collect::<Vec<_>>());
        let (quiet, beside) = (of(|round| round.quiet), of(|round| round.beside));
        let figure = format!(
            "{:.1} ms of CPU per second, {:.1} KiB for each call; another request {:.0} µs of CPU, p99 {:.2} ms (without the calls \
             {:.0} µs, {:.2} ms)",
            middle(results.iter().map(|round| round.cpu_millis)),
            middle(results.iter().map(|round| round.kib)),
            beside.cpu_micros,
            beside.p99_millis,
            quiet.cpu_micros,
            quiet.p99_millis,
        );
        let aim = if *kind == Kind::AuthBridge { "below Envoy" } else { "" };
        table.row(&format!("{}: {CALLS} calls that wait for the agent", kind.name()), aim, &figure);
    }
}

fn round(stage: &Stage, kind: Kind) -> Round {
    let contender = stage.start(kind);
    let ordinary = Request::new("GET", "/x").bearer(&stage.token);
    let ordinary = Target::http1(contender.plain, &ordinary).from(HONEST);
    let quiet = LOAD.run(&contender, &ordinary);
    let before = contender.resident();
    let target = Target::http1(contender.plain, &Request::new("GET", LATE).bearer(&stage.token));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calls = usize::try_from(CALLS).unwrap();
    let mut open = Vec::new();
    for _ in 0..calls {
        open.push(runtime.block_on(target.call()).unwrap());
    }
    let limit = Duration::from_secs(20);
    until("the calls", limit, || Ok(stage.backend.held() == calls)).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let (cpu, began) = (contender.cpu(), Instant::now());
    std::thread::sleep(QUIET);
    let cpu = contender.cpu().saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let kib = (contender.resident() - before) / f64::from(CALLS);
    let beside = LOAD.run(&contender, &ordinary);
    drop(open);
    drop(contender);
    until("the end of the calls", limit, || Ok(stage.backend.held() == 0)).unwrap();
    Round { quiet, beside, cpu_millis: cpu * 1e3, kib }
}
