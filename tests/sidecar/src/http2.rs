//! One request by HTTP/2 without TLS, for what HTTP/1.1 cannot show: gRPC and its trailers.
//! For anything about framing see [`crate::http`].

use crate::backend::pairs;
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;

/// An answer by HTTP/2.
#[derive(Clone, Debug)]
pub struct Reply2 {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<(String, String)>,
}

/// Sends one request to `address` over a connection of its own.
pub fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply2> {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let exchange = tokio::time::timeout(Duration::from_secs(30), exchange(address, request));
        exchange.await.context("no answer by HTTP/2 within 30 s")?
    })
}

async fn exchange(address: &str, request: Request<Full<Bytes>>) -> Result<Reply2> {
    let tcp = tokio::net::TcpStream::connect(address).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp));
    let (mut sender, connection) = handshake.await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(|map: &HeaderMap| pairs(map)).unwrap_or_default();
    let (status, headers) = (head.status.as_u16(), pairs(&head.headers));
    Ok(Reply2 { status, headers, body: body.to_bytes().to_vec(), trailers })
}
