//! What a request costs: CPU time of the proxy, on schedule and as fast as it goes, and the time that a caller waits.

use crate::client::Target;
use crate::contender::Contender;
use crate::load::{Load, Measured, median};
use crate::stage::{Kind, Stage};
use countersign_rig::record::Table;
use countersign_sidecar_tests::http::Request;
use std::time::Duration;

/// Callers on schedule, whose requests may all be under way at once.
const CALLERS: u32 = 100;
/// Callers that ask as fast as it goes: as many as in the measurement of the existing AuthBridge.
const FAST_CALLERS: u32 = 16;
/// The work that all proxies do.
const PLAIN: &str = "path without token";

/// How a proxy is asked for some work.
type Asks<'a> = &'a dyn Fn(&Contender) -> Target;

/// One kind of request to one proxy.
struct Case<'a> {
    work: &'static str,
    kind: Kind,
    contender: &'a Contender,
    target: Target,
}

/// All kinds of requests, to all proxies that know them.
pub(crate) fn measure(stage: &Stage, table: &mut Table, (rate, seconds, rounds): (u32, u32, u32)) {
    let [bare, bridge, envoy] = [Kind::Bare, Kind::AuthBridge, Kind::Envoy].map(|kind| stage.start(kind));
    let cases = cases(stage, [&bare, &bridge, &envoy]);
    let time = Duration::from_secs(seconds.into());
    let scheduled = Load { rate: Some(rate), time, callers: CALLERS, renewal: None };
    let scheduled = all_rounds(&cases, scheduled, rounds);
    let fast = Load { rate: None, time: time / 2, callers: FAST_CALLERS, renewal: None };
    let fast = all_rounds(&cases, fast, rounds);
    let costs = |at: usize| [scheduled[at].cpu_micros, fast[at].cpu_micros];
    for (at, case) in cases.iter().enumerate() {
        let [on_schedule, as_it_goes] = costs(at);
        let ratio = |other: usize| {
            let [scheduled, fast] = costs(other);
            format!("{:.2} and {:.2}", on_schedule / scheduled, as_it_goes / fast)
        };
        let same = |other: &Case<'_>| other.kind == Kind::Envoy && other.work == case.work;
        let (aim, ratios) = match (case.kind, cases.iter().position(same)) {
            (Kind::AuthBridge, Some(envoy)) => {
                ("≤ 0.5 of Envoy", format!("; {} of Envoy, {} of bare", ratio(envoy), ratio(0)))
            }
            (Kind::AuthBridge, None) => ("≤ 2 of bare", format!("; {} of bare", ratio(0))),
            (Kind::Bare | Kind::Envoy, _) => ("", String::new()),
        };
        let figure = format!(
            "{on_schedule:.0} µs of CPU on schedule, {as_it_goes:.0} µs as fast as it goes; p50 {:.2} ms, p99 {:.2} ms, {} \
             failed{ratios}",
            scheduled[at].p50_millis,
            scheduled[at].p99_millis,
            scheduled[at].failed + fast[at].failed,
        );
        table.row(&format!("{}: {}", case.kind.name(), case.work), aim, &figure);
    }
}

/// The bare proxy first.
fn cases<'a>(stage: &Stage, [bare, bridge, envoy]: [&'a Contender; 3]) -> Vec<Case<'a>> {
    let plain = Request::new("GET", "/healthz");
    let with_token = Request::new("GET", "/x").bearer(&stage.token);
    let http2 = |address| Target::http2(address, "/x", &stage.token);
    let works: [(&str, Asks<'_>); 5] = [
        (PLAIN, &|proxy| Target::http1(proxy.plain, &plain)),
        ("RS256 token seen before", &|proxy| Target::http1(proxy.plain, &with_token)),
        ("the same over mTLS", &|proxy| Target::http1(proxy.tls, &with_token).over(&stage.tls)),
        ("the same by HTTP/2", &|proxy| http2(proxy.plain)),
        ("the same by HTTP/2 over mTLS", &|proxy| http2(proxy.tls).over(&stage.tls)),
    ];
    let case = |work, kind, contender, target| Case { work, kind, contender, target };
    let mut cases = vec![case(PLAIN, Kind::Bare, bare, Target::http1(bare.plain, &plain))];
    for (work, asks) in works {
        cases.push(case(work, Kind::AuthBridge, bridge, asks(bridge)));
        cases.push(case(work, Kind::Envoy, envoy, asks(envoy)));
    }
    let host = stage.backend.address.to_string();
    let out = Request::new("GET", &format!("http://{host}/x")).header("Host", &host).bearer("subject");
    let out = Target::http1(bridge.others.unwrap().outbound, &out);
    cases.push(case("outbound, token exchanged before", Kind::AuthBridge, bridge, out));
    cases
}

/// The medians of all cases. Rounds go through all of them, so that a change of the machine's speed meets them all.
fn all_rounds(cases: &[Case<'_>], load: Load, rounds: u32) -> Vec<Measured> {
    let mut measured: Vec<Vec<Measured>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (case, results) in cases.iter().zip(&mut measured) {
            results.push(load.run(case.contender, &case.target));
        }
    }
    measured.iter().map(|results| median(results)).collect()
}
