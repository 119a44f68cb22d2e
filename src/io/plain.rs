//! One GET over plain HTTP/1.1 to an address that the caller knows, on a connection of its own.
//! Nothing but hyper's parser and a socket, because every agent is asked again and again.

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

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlainError {
    /// No connection within the time for it.
    #[error("no connection within {0:?}")]
    Slow(Duration),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    /// The answer is not HTTP, or ends too early.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The caller does not want it.
    #[error("{0}")]
    Unwanted(Refusal),
}

/// Where to connect, and with which limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    /// Whom to connect to.
    pub(super) address: SocketAddr,
    /// The longest wait for the connection.
    pub(super) connect: Duration,
    /// Most header lines of an answer.
    pub(super) headers: usize,
}

/// Sends `request`, and reads its answer into `body` if `accept` says so; false if it did not.
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
        // Trailers are of no interest.
        if let Ok(data) = frame?.into_data() {
            body.push(&data).map_err(PlainError::Unwanted)?;
        }
    }
    Ok(true)
}

/// Lets a connection work until the exchange over it is done.
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
    // The connection gave all that it had.
    exchange.await
}
