//! The table of a benchmark: printed row by row, and written into its place of a document at the end.

use anyhow::{Context, Result};
use std::path::Path;

/// Rows of a run.
pub struct Table {
    text: String,
}

impl Table {
    /// An empty table whose first column is headed `work`.
    pub fn new(work: &str) -> Self {
        let text = format!("| {work} | aim | measured |\n|---|---|---|\n");
        print!("{text}");
        Self { text: format!("\n{text}") }
    }

    /// Adds a row.
    pub fn row(&mut self, work: &str, aim: &str, figure: &str) {
        let row = format!("| {work} | {aim} | {figure} |\n");
        print!("{row}");
        self.text.push_str(&row);
    }

    /// Writes the table between the marks `NAME:begin` and `NAME:end` of a document of this repository. `sharing`
    /// says what ran on the machine besides.
    pub fn write(self, document: &str, name: &str, sharing: &str) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
        let text = std::fs::read_to_string(&path)?;
        let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
        let (before, rest) = text.split_once(&begin).with_context(|| format!("{document} has no {begin}"))?;
        let (_, after) = rest.split_once(&end).with_context(|| format!("{document} has no {end}"))?;
        let table = format!("{}\n{}\n", self.text, machine(sharing));
        Ok(std::fs::write(&path, format!("{before}{begin}\n{table}{end}{after}"))?)
    }
}

/// The shape of this machine.
fn machine(sharing: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    // Of the machine, not those on which this program may run.
    let cores = read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let gib =
        memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / (1024 * 1024);
    format!(
        "Measured once, on {cores} cores ({}) with {gib} GiB of memory, Linux {}; {sharing}",
        value(&read("/proc/cpuinfo"), "model name"),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}
