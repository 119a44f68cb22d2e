//! Figures of a run: what a process cost, and what the API server was asked to write.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// CPU time that a process used, of all its threads.
pub fn process_cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may contain spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().context("a stat line")?.split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    // Linux counts in hundredths of a second.
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}

/// Resident memory of a process, in KiB.
pub fn process_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// The writes in an audit log, after its first `skip` lines, that a client made: verb and resource of each.
pub fn audit_writes(log: &Path, skip: usize, agent: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(log)?;
    let mut writes = Vec::new();
    for line in text.lines().skip(skip) {
        let event: Value = serde_json::from_str(line)?;
        let verb = event["verb"].as_str().unwrap_or_default();
        let by = event["userAgent"].as_str().unwrap_or_default();
        if !matches!(verb, "get" | "list" | "watch") && by.starts_with(agent) {
            let about = &event["objectRef"];
            let part = about["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
            writes.push(format!("{verb} {}{part}", about["resource"].as_str().unwrap_or_default()));
        }
    }
    Ok(writes)
}
