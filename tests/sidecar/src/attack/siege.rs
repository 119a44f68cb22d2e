//! Many connections of one neighbour at once, on a thread that leaves its core to whoever else needs it.
//! One that the server ends is opened again.

use super::NEIGHBOUR;
use crate::process::until;
use anyhow::Result;
use rustix::process::nice;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

/// Connections that are being made at a time: more than the kernel queues for a server would be sent again after 1 s.
const OPENING: usize = 256;
/// Pause after a connection that could not be opened.
const REFUSED: Duration = Duration::from_millis(10);
/// Receive buffer of a connection whose answer is read slowly, in bytes.
const SLOW_BUFFER: u32 = 4096;

/// How a connection goes on after its opening.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Says nothing more; if the server ends it, the next one follows after this pause.
    Holds(Duration),
    /// Reads 1 KiB each 100 ms.
    ReadsSlowly,
    /// Hangs up as soon as the server says something, and comes again at once.
    HangsUp,
}

/// A running attack, which ends when it is dropped, and with it all its connections.
pub struct Siege {
    opened: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Plan {
    target: SocketAddr,
    opening: Vec<u8>,
    then: Then,
    opened: Arc<AtomicUsize>,
    gate: Semaphore,
}

impl Siege {
    /// Opens so many connections to `target`, each of which says `opening`; waits until all were open once.
    pub fn start(target: SocketAddr, opening: Vec<u8>, connections: usize, then: Then) -> Result<Self> {
        let opened = Arc::new(AtomicUsize::new(0));
        let gate = Semaphore::new(OPENING);
        let plan = Arc::new(Plan { target, opening, then, opened: Arc::clone(&opened), gate });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            // Of this thread alone; only one that is lower already could be refused.
            let _ = nice(19);
            runtime.block_on(async move {
                for _ in 0..connections {
                    tokio::spawn(Arc::clone(&plan).run());
                }
                let _ = stopped.await;
            });
        });
        let siege = Self { opened, stop: Some(stop), thread: Some(thread) };
        until("the attack", Duration::from_mins(1), || Ok(siege.opened() >= connections))?;
        Ok(siege)
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Plan {
    async fn run(self: Arc<Self>) {
        loop {
            let Ok(stream) = self.open().await else {
                sleep(REFUSED).await;
                continue;
            };
            // However it ends, there is a next one.
            let _ = self.attack(stream).await;
            if let Then::Holds(pause) = self.then {
                sleep(pause).await;
            }
        }
    }

    /// One connection to its end.
    async fn attack(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.write_all(&self.opening).await?;
        let mut buffer = [0; 1024];
        match self.then {
            Then::Holds(_) => while stream.read(&mut buffer).await? > 0 {},
            Then::ReadsSlowly => {
                while stream.read(&mut buffer).await? > 0 {
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Then::HangsUp => drop(stream.read(&mut buffer).await?),
        }
        Ok(())
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let _permit = self.gate.acquire().await.map_err(io::Error::other)?;
        let socket = TcpSocket::new_v4()?;
        if matches!(self.then, Then::ReadsSlowly) {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        // A port that was hung up is free at once.
        socket.set_zero_linger()?;
        let source = NEIGHBOUR.parse().map_err(io::Error::other)?;
        socket.bind(SocketAddr::new(source, 0))?;
        let stream = socket.connect(self.target).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }
}
