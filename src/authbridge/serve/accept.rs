//! Listening sockets and the accept loop: each connection gets a place and a task, and nothing is read here.

use super::crowd::{Bounds, Crowd, Place};
use super::overload::refuse;
use super::waiting::Waiting;
use crate::config::ListenAddress;
use crate::limits::ACCEPTED_AT_ONCE;
use crate::stats::Stats;
use countersign_io::clock::instant;
use countersign_io::shutdown::Shutdown;
use socket2::{Domain, Protocol, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};

/// Connections that the kernel queues while this program does something else.
const BACKLOG: i32 = 1024;
/// Pause after a failed `accept`: without descriptors it fails at once, and the loop would spin.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// Shortest time between two log lines about failed accepts.
const QUIET: Duration = Duration::from_secs(10);

/// Binds an address. A port alone means every interface of both families, or of IPv4 where the machine has no IPv6.
pub(crate) fn bind(address: ListenAddress) -> io::Result<TcpListener> {
    match listen(address.address) {
        Err(_) if address.only_port && address.address.is_ipv6() => {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.address.port())))
        }
        bound => bound,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connection that was just accepted.
#[derive(Clone)]
pub(crate) struct Arrival {
    /// Address of the other end.
    pub(crate) address: SocketAddr,
    /// Its place, which is given back when all copies are dropped.
    pub(crate) place: Arc<Place>,
}

/// Accept loop of one listener, with the tasks of its connections.
pub(crate) struct Listeners {
    tasks: JoinSet<()>,
    crowd: Crowd,
    name: &'static str,
    complained: Option<Instant>,
    waiting: Waiting,
}

impl Listeners {
    /// A loop that serves connections within `bounds`.
    pub(crate) fn new(
        name: &'static str,
        bounds: impl Fn() -> Bounds + Send + Sync + 'static,
        stats: Stats,
    ) -> Self {
        let (tasks, crowd) = (JoinSet::new(), Crowd::new(bounds, stats));
        Self { tasks, crowd, name, complained: None, waiting: Waiting::default() }
    }

    /// Accepts until `stop` is requested, and then waits at most `drain` for open connections.
    pub(crate) async fn run<F>(
        mut self,
        listener: TcpListener,
        stop: Shutdown,
        drain: Duration,
        serve: impl Fn(TcpStream, Arrival) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut in_turn: usize = 0;
        loop {
            if in_turn == ACCEPTED_AT_ONCE {
                // Everybody who is ready goes first, and the kernel is asked who is.
                yield_now().await;
                in_turn = 0;
            }
            in_turn = in_turn.saturating_add(1);
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                (stream, address) = poll_fn(|cx| self.waiting.poll_next(cx)) => {
                    self.enters(stream, address, &serve);
                    continue;
                }
                () = stop.requested() => break,
                Some(_) = self.tasks.join_next() => continue,
            };
            let Some((stream, address)) = self.told(accepted).await else { continue };
            match self.crowd.must_replace(address) {
                Some((peer, most)) => {
                    if let Some(oldest) = self.waiting.push(stream, address, peer, most) {
                        self.crowd.refused();
                        refuse(&oldest);
                    }
                }
                None => self.enters(stream, address, &serve),
            }
        }
        drop(listener);
        for stream in std::mem::take(&mut self.waiting).into_streams() {
            self.crowd.refused();
            refuse(&stream);
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::warn!(listener = self.name, "connections were cut off at the end");
        }
    }

    /// Gives a connection its place and its task.
    fn enters<F>(&mut self, stream: TcpStream, address: SocketAddr, serve: impl Fn(TcpStream, Arrival) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Nagle's algorithm would hold back a small answer until the last one is acknowledged.
        let _ = stream.set_nodelay(true);
        let Some(place) = self.crowd.enter(address) else { return refuse(&stream) };
        let (key, place) = (place.key(), Arc::new(place));
        let task = self.tasks.spawn(serve(stream, Arrival { address, place }));
        self.crowd.runs(key, task);
    }

    /// Passes on an accepted connection; after a failure logs at most one line per [`QUIET`], and pauses.
    async fn told<T>(&mut self, accepted: io::Result<T>) -> Option<T> {
        let error = match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => error,
        };
        let now = instant();
        if self.complained.is_none_or(|last| now.duration_since(last) > QUIET) {
            self.complained = Some(now);
            tracing::warn!(listener = self.name, "a connection could not be accepted: {error}");
        }
        tokio::time::sleep(EXHAUSTED).await;
        None
    }
}
