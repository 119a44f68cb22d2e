//! Nothing outlives a test process, not even one that is killed, and not what a `static` holds.
//! A shell waits for the end of a pipe that only this process holds, and then clears up.

use anyhow::{Context, Result, anyhow};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

static PIPE: OnceLock<Result<Mutex<ChildStdin>, String>> = OnceLock::new();

/// Tells it of a `process` or `folder`, or that one has `ended` or was `left`.
pub(crate) fn tell(what: &str, value: &str) -> Result<()> {
    let pipe = PIPE.get_or_init(|| start().map(Mutex::new).map_err(|error| format!("{error:#}")));
    let pipe = pipe.as_ref().map_err(|error| anyhow!("{error}"))?;
    writeln!(pipe.lock().unwrap_or_else(PoisonError::into_inner), "{what} {value}")?;
    Ok(())
}

fn start() -> Result<ChildStdin> {
    let mut command = Command::new("sh");
    command.args(["-c", include_str!("reaper.sh")]).stdin(Stdio::piped()).stdout(Stdio::null());
    // An interrupt from the keyboard goes to the group of the tests, and must not reach it.
    let mut child = command.stderr(Stdio::null()).process_group(0).spawn().context("no shell")?;
    child.stdin.take().context("the shell has no pipe")
}
