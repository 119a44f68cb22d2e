//! What a process cost so far.

use anyhow::{Context, Result};
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
    memory(pid, "VmRSS:")
}

/// Largest resident memory that a process has had so far, in KiB.
pub fn process_peak(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("memory")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
