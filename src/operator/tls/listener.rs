//! Listener of connections after their handshake. Handshakes run concurrently, so that a stalled one delays no other caller.

use axum::serve::Listener;
use countersign_io::shutdown::Shutdown;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Maximum time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Maximum number of connections between accept and answer.
const WAITING: usize = 16;

/// Listener for connections after a finished handshake.
pub(crate) struct TlsListener {
    connections: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

/// Starts accepting TLS connections on `listener` until `shutdown`.
pub(crate) fn listen(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shutdown: Shutdown,
) -> io::Result<TlsListener> {
    let address = listener.local_addr()?;
    let (sender, connections) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.requested() => {}
            () = accept(listener, acceptor, sender) => {}
        }
    });
    Ok(TlsListener { connections, address })
}

async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    loop {
        // A slot is reserved before accepting, so that excess connections wait in the kernel's backlog.
        let Ok(slot) = ready.clone().reserve_owned().await else { return };
        // axum's listener logs and waits when the process is out of file descriptors.
        let (stream, peer) = Listener::accept(&mut listener).await;
        let handshake = acceptor.accept(stream);
        tokio::spawn(async move {
            match timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => {
                    slot.send((stream, peer));
                }
                Ok(Err(error)) => tracing::debug!(%peer, "TLS handshake failed: {error}"),
                Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            // The sender is gone after `shutdown`, which ends the waiting server by itself.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
