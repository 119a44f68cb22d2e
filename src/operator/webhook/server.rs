//! Connections of the webhook: TLS, then HTTP/1.1, each within its limits.

use super::arrivals::{Arrivals, Place};
use super::limits::{DRAIN, HANDSHAKE, HEAD_BYTES, IDLE, LINGER};
use super::request::Reviewer;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::serve::{Listener, ListenerExt};
use countersign_io::shutdown::{self, Shutdown};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Serves connections until a little after `stop`, and then those with a request in flight a little longer.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    reviewer: Arc<Reviewer>,
    stop: Shutdown,
) -> io::Result<()> {
    let mut listener = at_once(listener);
    let arrivals = Arrivals::default();
    let mut connections = JoinSet::new();
    let (close, closing) = shutdown::channel();
    let mut ended = pin!(async {
        stop.requested().await;
        sleep(LINGER).await;
    });
    loop {
        tokio::select! {
            () = ended.as_mut() => break,
            // axum's listener logs and waits when the process is out of file descriptors.
            (stream, peer) = Listener::accept(&mut listener) => {
                let Some(place) = arrivals.enter(peer.ip()) else {
                    tracing::debug!(%peer, "a connection was closed: there are too many, and none is idle");
                    continue;
                };
                let handshake = acceptor.clone();
                let (reviewer, stop, closing) = (Arc::clone(&reviewer), stop.clone(), closing.clone());
                connections.spawn(async move {
                    let served = connect(stream, handshake, reviewer, (&stop, &closing), &place).await;
                    if let Err(problem) = served {
                        tracing::debug!(%peer, %problem, "a connection of the webhook ended");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    close.request();
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("requests to the webhook were not answered in time");
    }
    Ok(())
}

/// Listener whose connections send what is written at once. Else the end of an answer in several segments waits until the API
/// server has confirmed those before (RFC 896), which it may put off for 40 ms.
fn at_once(listener: TcpListener) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("a connection of the webhook may be slow: {error}");
        }
    })
}

/// Serves one connection until it ends, or has to give its place to another.
async fn connect(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    reviewer: Arc<Reviewer>,
    (stop, closing): (&Shutdown, &Shutdown),
    place: &Place,
) -> Result<(), String> {
    let stream = tokio::select! {
        () = closing.requested() => return Ok(()),
        () = place.ended() => return Err("another needs the place".to_owned()),
        ended = timeout(HANDSHAKE, acceptor.accept(stream)) => {
            ended.map_err(|_| "the handshake took too long")?.map_err(|error| error.to_string())?
        }
    };
    let asked = Notify::new();
    let service = service_fn(|request| {
        asked.notify_one();
        let (busy, reviewer) = (place.busy(), &reviewer);
        async move {
            let mut answer = reviewer.respond(request, &place.bodies).await?;
            if stop.is_requested() {
                // The next request goes elsewhere. One that met this connection while it is closed would be lost.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(busy);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(|error| error.to_string()),
        () = place.ended() => return Err("another needs the place".to_owned()),
        () = asked.notified() => {}
        () = sleep(HANDSHAKE) => return Err("no request came".to_owned()),
        () = closing.requested() => {}
    }
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(|error| error.to_string()),
        () = place.ended() => return Err("another needs the place".to_owned()),
        () = closing.requested() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[tokio::test]
    async fn answers_do_not_wait_for_confirmations() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connected, (accepted, _)) = tokio::join!(TcpStream::connect(address), async {
            Listener::accept(&mut at_once(listener)).await
        });
        assert!(connected.is_ok() && accepted.nodelay().unwrap());
    }
}
