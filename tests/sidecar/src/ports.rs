//! Free ports on the loopback address, for programs that must be told one.
//! Who can listen at port 0 should do that instead.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below the range from which the kernel takes ports for outgoing connections, so that none of those comes
/// between asking here and listening there.
const FIRST: u16 = 20_000;
const WINDOWS: u16 = 50;
/// Ports of a window, which one process has for itself.
const WINDOW: u16 = 200;

/// The windows of this process, whose locks last as long as it does, and what is left of the last one.
static OWN: Mutex<(Vec<File>, Range<u16>)> = Mutex::new((Vec::new(), 0..0));

/// A port of 127.0.0.1 at which nobody listens; it is not given out twice, whichever test programs run at once.
pub fn free() -> Result<u16> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let (locks, left) = &mut *own;
        if let Some(port) = left.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return Ok(port);
        }
        let (lock, window) = window()?;
        locks.push(lock);
        *left = window;
    }
}

/// A window that no other process has.
fn window() -> Result<(File, Range<u16>)> {
    let folder = std::env::temp_dir().join("countersign-ports");
    std::fs::create_dir_all(&folder)?;
    let begin = std::process::id() % u32::from(WINDOWS);
    for step in 0..WINDOWS {
        let number = (u16::try_from(begin)? + step) % WINDOWS;
        let lock = File::create(folder.join(number.to_string())).context("the lock of a window of ports")?;
        if lock.try_lock().is_ok() {
            let first = FIRST + number * WINDOW;
            return Ok((lock, first..first + WINDOW));
        }
    }
    bail!("every window of ports is taken; another run may hold them")
}

#[test]
fn no_two_callers_get_one_port() {
    let ports: std::collections::BTreeSet<u16> = (0..250).map(|_| free().unwrap()).collect();
    assert_eq!(ports.len(), 250);
}
