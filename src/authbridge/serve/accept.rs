//! Listening sockets and the accept loop: each connection gets a permit and a task, and nothing is read here.

use crate::config::ListenAddress;
use countersign_io::clock::instant;
use countersign_io::shutdown::Shutdown;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// How many connections the kernel keeps for us.
const BACKLOG: i32 = 1024;
/// The pause after the kernel had no descriptor for a connection.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// How often a flood of the same failure is logged.
const QUIET: Duration = Duration::from_secs(10);

/// Binds an address; every interface means both families where the machine has both.
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

/// The connections of one listener.
pub(crate) struct Listeners {
    tasks: JoinSet<()>,
    permits: Arc<Semaphore>,
    name: &'static str,
    complained: Option<Instant>,
}

impl Listeners {
    /// At most `connections` at a time; more wait in the kernel.
    pub(crate) fn new(name: &'static str, connections: usize) -> Self {
        let permits = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
        Self { tasks: JoinSet::new(), permits, name, complained: None }
    }

    /// Accepts until the end is asked for, and then waits at most `drain` for what still runs.
    pub(crate) async fn run<F>(
        mut self,
        listener: TcpListener,
        stop: Shutdown,
        drain: Duration,
        serve: impl Fn(TcpStream, SocketAddr) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &self.permits) => accepted,
                () = stop.requested() => break,
                Some(_) = self.tasks.join_next() => continue,
            };
            let Some((stream, peer, permit)) = self.told(accepted).await else { continue };
            // Small answers must not wait for more to come.
            let _ = stream.set_nodelay(true);
            let served = serve(stream, peer);
            self.tasks.spawn(async move {
                served.await;
                drop(permit);
            });
        }
        drop(listener);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::warn!(listener = self.name, "connections were cut off at the end");
        }
    }

    /// Pauses after a failure, and logs one of many.
    async fn told(&mut self, accepted: io::Result<AcceptedSocket>) -> Option<AcceptedSocket> {
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

type AcceptedSocket = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Takes a permit before accepting, so that excess connections wait in the backlog of the kernel and cost no memory here.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<AcceptedSocket> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}
