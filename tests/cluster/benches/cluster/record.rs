//! The table of a run: printed row by row, and written into docs/benchmarks.md at the end.

use crate::stage::Running;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

const BEGIN: &str = "<!-- cluster:begin -->";
const END: &str = "<!-- cluster:end -->";

/// Rows of a run.
pub struct Table {
    text: String,
}

impl Table {
    /// An empty table; `quiet` is named in its head.
    pub fn new(quiet: Duration) -> Self {
        let mut text =
            format!("| work (quiet time: {} s) | aim | measured |\n|---|---|---|\n", quiet.as_secs());
        print!("{text}");
        text.insert(0, '\n');
        Self { text }
    }

    /// Adds a row.
    pub fn row(&mut self, work: &str, aim: &str, figure: &str) {
        let row = format!("| {work} | {aim} | {figure} |\n");
        print!("{row}");
        self.text.push_str(&row);
    }

    /// Writes the table into the document.
    pub fn write(mut self) {
        let _ = write!(self.text, "\n{}\n", machine());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
        let document = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = document.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        std::fs::write(&path, format!("{before}{BEGIN}\n{}{END}{after}", self.text)).unwrap();
    }
}

/// The shape of this machine.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let gib =
        memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / (1024 * 1024);
    format!(
        "Measured once, on {cores} cores ({}) with {gib} GiB of memory, Linux {}; operator, API server, etcd, \
         controller manager, agents and the measuring itself share them.",
        value(&read("/proc/cpuinfo"), "model name"),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// Seconds, with as many decimals as the figure deserves.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Resident memory.
pub fn mib(operator: &Running<'_>) -> String {
    format!("{:.1} MiB", operator.memory() / 1024.0)
}
