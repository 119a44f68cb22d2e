//! One GET over plain HTTP/1.1 to a known address, on a connection of its own.
//! The module uses hyper's parser and a socket alone: every agent is fetched from every 30 s, so cost counts.

use super::body::BoundedBody;
use countersign_core::refusal::Refusal;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Bytes};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A failed exchange.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlainError {
    /// Connecting took longer than the limit.
    #[error("no connection within {0:?}")]
    Slow(Duration),
    /// Connecting failed.
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    /// The response is not HTTP, or ends too early.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The caller refused the response.
    #[error("{0}")]
    Unwanted(Refusal),
}

/// The address to connect to, with limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    /// The address and port of the server.
    pub(super) address: SocketAddr,
    /// Longest time to connect.
    pub(super) connect: Duration,
    /// Most header lines of a response.
    pub(super) headers: usize,
}

/// Sends `request` and returns the result of `accept`; if true, the response was read into `body`.
pub(super) async fn get(
    dial: Dial,
    request: Request<Empty<Bytes>>,
    accept: impl FnOnce(StatusCode, &HeaderMap) -> Result<bool, Refusal>,
    body: &mut BoundedBody,
) -> Result<bool, PlainError> {
    let connected = timeout(dial.connect, TcpStream::connect(dial.address)).await;
    let stream = connected.map_err(|_| PlainError::Slow(dial.connect))??;
    let (sender, connection) =
        Builder::new().max_headers(dial.headers).handshake(TokioIo::new(stream)).await?;
    let exchange = exchange(sender, request, accept, body);
    drive(connection, exchange).await
}

async fn exchange(
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    accept: impl FnOnce(StatusCode, &HeaderMap) -> Result<bool, Refusal>,
    body: &mut BoundedBody,
) -> Result<bool, PlainError> {
    let mut response = sender.send_request(request).await?;
    if !accept(response.status(), response.headers()).map_err(PlainError::Unwanted)? {
        return Ok(false);
    }
    body.expect(response.body().size_hint().exact()).map_err(PlainError::Unwanted)?;
    while let Some(frame) = response.frame().await {
        // Trailers are ignored: the headers alone were checked (rule 2).
        if let Ok(data) = frame?.into_data() {
            body.push(&data).map_err(PlainError::Unwanted)?;
        }
    }
    Ok(true)
}

/// Runs a connection until the exchange over it ends.
async fn drive<T>(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    exchange: impl Future<Output = Result<T, PlainError>>,
) -> Result<T, PlainError> {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        ended = &mut connection => ended?,
    }
    // The server has closed the connection; the exchange may still have received bytes to read.
    exchange.await
}
