//! A caller of a proxy: HTTP/1.1 or HTTP/2, plain or over TLS, from an address of its choice.

use crate::backend::ANSWER_BYTES;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use countersign_sidecar_tests::http::{Request, Tls};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// Callers that share one connection of HTTP/2.
const STREAMS: usize = 10;

/// Addresses from which callers come by turns. One address has 28,000 ports, and each is taken for a minute after its
/// connection has ended (`TIME_WAIT`): a whole run makes more connections than that.
const SOURCES: u8 = 100;

fn next_source() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let next = |last: u8| Some((last + 1) % SOURCES);
    let last = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_else(|last| last);
    IpAddr::from([127, 0, 1, last + 1])
}

/// What is asked, and where.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    source: Option<&'static str>,
    question: Question,
    tls: Option<TlsConnector>,
}

#[derive(Clone)]
enum Question {
    Http1(Arc<[u8]>),
    Http2(Arc<hyper::Request<()>>),
}

/// One caller, with a connection or a share of one.
pub(crate) enum Client {
    Http1(Box<dyn Stream>, Arc<[u8]>),
    Http2(http2::SendRequest<Empty<Bytes>>, Arc<hyper::Request<()>>),
}

/// What carries requests.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    /// This request by HTTP/1.1, again and again.
    pub(crate) fn http1(address: SocketAddr, request: &Request) -> Self {
        let question = Question::Http1(request.bytes(&address.to_string()).into());
        Self { address, source: None, question, tls: None }
    }

    /// `GET` for a path by HTTP/2, with a token.
    pub(crate) fn http2(address: SocketAddr, path: &str, token: &str) -> Self {
        let request = hyper::Request::get(format!("http://{address}{path}"));
        let request = request.header("authorization", format!("Bearer {token}")).body(()).unwrap();
        Self { address, source: None, question: Question::Http2(request.into()), tls: None }
    }

    /// Over TLS.
    pub(crate) fn over(mut self, tls: &Tls) -> Self {
        let mut config = tls.config().as_ref().clone();
        if let Question::Http2(request) = &mut self.question {
            config.alpn_protocols = vec![b"h2".to_vec()];
            let uri = request.uri().to_string().replacen("http", "https", 1);
            *Arc::make_mut(request).uri_mut() = uri.parse().unwrap();
        }
        self.tls = Some(TlsConnector::from(Arc::new(config)));
        self
    }

    /// From one address of this machine, instead of many.
    pub(crate) fn from(mut self, source: &'static str) -> Self {
        self.source = Some(source);
        self
    }

    /// So many callers, each of whose connections has asked once.
    pub(crate) async fn callers(&self, count: usize) -> Result<Vec<Client>> {
        let mut callers = Vec::new();
        while callers.len() < count {
            let mut caller = self.caller().await?;
            // At once, because a proxy may end a connection that is silent for long.
            caller.ask().await?;
            if let Client::Http2(connection, request) = &caller {
                let room = (count - callers.len()).min(STREAMS) - 1;
                callers.extend((0..room).map(|_| Client::Http2(connection.clone(), Arc::clone(request))));
            }
            callers.push(caller);
        }
        Ok(callers)
    }

    /// One caller with a connection of its own.
    pub(crate) async fn caller(&self) -> Result<Client> {
        let stream = self.connect().await?;
        Ok(match &self.question {
            Question::Http1(bytes) => Client::Http1(stream, Arc::clone(bytes)),
            Question::Http2(request) => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Client::Http2(sender, Arc::clone(request))
            }
        })
    }

    /// Connects, asks, and leaves the answer to whoever has the connection.
    pub(crate) async fn call(&self) -> Result<Box<dyn Stream>> {
        let mut stream = self.connect().await?;
        let Question::Http1(bytes) = &self.question else { bail!("a call by HTTP/1.1") };
        stream.write_all(bytes).await?;
        Ok(stream)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>> {
        let socket = TcpSocket::new_v4()?;
        let source = self.source.map_or_else(|| Ok(next_source()), str::parse)?;
        socket.bind(SocketAddr::new(source, 0))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(connector) => {
                Box::new(connector.connect(ServerName::IpAddress(self.address.ip().into()), stream).await?)
            }
        })
    }
}

impl Client {
    /// Asks, and reads the answer to its end; an error unless it is the backend's.
    pub(crate) async fn ask(&mut self) -> Result<()> {
        match self {
            Self::Http1(stream, bytes) => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
                read_answer(stream).await
            }
            Self::Http2(sender, request) => {
                sender.ready().await?;
                let answer = sender.send_request(request.as_ref().clone().map(|()| Empty::new())).await?;
                ensure!(answer.status() == 200, "{}", answer.status());
                let length = answer.into_body().collect().await?.to_bytes().len();
                ensure!(length == ANSWER_BYTES, "{length} bytes");
                Ok(())
            }
        }
    }
}

async fn read_answer(stream: &mut Box<dyn Stream>) -> Result<()> {
    let (mut read, mut buffer) = (0, [0; 8192]);
    let mut end = None;
    while end.is_none_or(|end| read < end) {
        let length = stream.read(buffer.get_mut(read..).context("a long answer")?).await?;
        ensure!(length > 0, "the proxy closed a connection");
        read += length;
        if end.is_none()
            && let Some(head) = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n")
        {
            ensure!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
            end = Some(head + 4 + ANSWER_BYTES);
        }
    }
    Ok(())
}
