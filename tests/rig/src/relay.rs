//! A way in: a loopback port of the machine that leads to an address inside a rig.
//! The listener is made outside; the thread that serves it then moves into the rig's network.

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A relay that serves until it is dropped.
pub struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Opens a free loopback port that leads to `target` in the network namespace `network`.
    pub(crate) fn open(network: File, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopping, (report, entered)) = (Arc::clone(&stop), std::sync::mpsc::channel());
        let thread = std::thread::spawn(move || {
            let moved = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
            let inside = moved.is_ok();
            // The opener waits for this message, so it is there to receive it.
            let _ = report.send(moved);
            if inside {
                serve(&listener, target, &stopping);
            }
        });
        entered.recv().context("the relay ended early")?.context("the relay could not enter the rig")?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread from its wait for the next connection.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, target: SocketAddr, stop: &AtomicBool) {
    while let Ok((outside, _)) = listener.accept() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        // A thread starts in the network of the thread that makes it.
        std::thread::spawn(move || {
            if let Ok(inside) = TcpStream::connect(target) {
                // Either side may hang up at any time; both then end.
                let _ = join(&outside, &inside);
            }
        });
    }
}

/// Copies both ways until each side has said its last.
fn join(outside: &TcpStream, inside: &TcpStream) -> io::Result<()> {
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    std::thread::scope(|scope| {
        scope.spawn(|| copy(outside, inside));
        copy(inside, outside);
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    if io::copy(&mut from, &mut to).is_ok() {
        let _ = to.shutdown(Shutdown::Write);
    } else {
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
