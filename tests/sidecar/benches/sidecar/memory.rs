//! What a proxy takes of memory while it does nothing, and with connections that wait for their next request.

use crate::client::Target;
use crate::stage::{Kind, Stage};
use countersign_rig::record::Table;
use countersign_sidecar_tests::authbridge::program;
use countersign_sidecar_tests::http::Request;
use std::time::Duration;

const IDLE: u32 = 2_000;

/// Of all proxies, and the size of the program.
pub(crate) fn measure(stage: &Stage, table: &mut Table) {
    for kind in [Kind::Bare, Kind::AuthBridge, Kind::Envoy] {
        let aim = |aim| if kind == Kind::AuthBridge { aim } else { "" };
        let fresh = stage.start(kind);
        let before = fresh.resident();
        let name = kind.name();
        table.row(
            &format!("{name}: resident memory, started and idle"),
            aim("≤ 10 MiB"),
            &format!("{:.1} MiB", before / 1024.0),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let target = Target::http1(fresh.plain, &Request::new("GET", "/healthz"));
        let mut idle = runtime.block_on(target.callers(IDLE.try_into().unwrap())).unwrap();
        // And once more in a row, so that many of them are busy at a time.
        for caller in &mut idle {
            runtime.block_on(caller.ask()).unwrap();
        }
        // Connections give their buffers up after a second or two.
        std::thread::sleep(Duration::from_secs(4));
        let each = (fresh.resident() - before) / f64::from(IDLE);
        drop(idle);
        table.row(
            &format!("{name}: resident memory of {IDLE} connections that wait for their next request, each"),
            aim("≤ 5 KiB"),
            &format!("{each:.1} KiB"),
        );
    }
    let size = std::fs::metadata(program()).unwrap().len();
    let mib = f64::from(u32::try_from(size).unwrap()) / f64::from(1 << 20);
    table.row("AuthBridge: program, stripped", "≤ 10 MiB", &format!("{mib:.1} MiB"));
}
