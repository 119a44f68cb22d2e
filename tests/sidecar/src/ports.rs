//! Free ports on the loopback address, for programs that must be told one.
//! Who can listen at port 0 should do that instead.

use anyhow::{Result, bail};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes ports for outgoing connections, so that none of those comes
/// between asking here and listening there.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 at which nobody listens; it is not given out twice by one process.
pub fn free() -> Result<u16> {
    // Test programs that run at once begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(COUNT))?.wrapping_mul(37) % COUNT;
    for _ in 0..COUNT {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1")
}
