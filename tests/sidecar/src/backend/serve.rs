//! How a server of tests serves: one task per connection, one record per request.
//! It reads a request to its end before it answers, and then does what the answer says.

use super::answer::Answer;
use super::body::{Steps, headers};
use super::seen::{Records, Seen, pairs};
use super::tee::Tee;
use base64::Engine as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::io::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Answerer = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// What all connections share.
pub(super) struct Service {
    pub(super) answer: Mutex<Answerer>,
    pub(super) records: Mutex<Records>,
    pub(super) connections: AtomicUsize,
    pub(super) open: AtomicUsize,
}

impl Service {
    pub(super) fn new(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            answer: Mutex::new(Arc::new(answer)),
            records: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        }
    }

    /// Changes the record of one request, unless it was forgotten meanwhile.
    fn change(&self, at: usize, of: usize, change: impl FnOnce(&mut Seen)) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = records.seen.get_mut(at).filter(|seen| seen.connection == of) {
            change(seen);
        }
    }
}

/// Accepts connections for ever.
pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, service: Arc<Service>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let connection = service.connections.fetch_add(1, Ordering::SeqCst);
        service.open.fetch_add(1, Ordering::SeqCst);
        let (service, tls) = (Arc::clone(&service), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(tcp, connection, &service).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve(stream, connection, &service).await;
                    }
                }
            }
            service.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve<S>(stream: S, connection: usize, service: &Arc<Service>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let tee = Tee { stream, connection, service: Arc::clone(service) };
    let respond = service_fn(move |request| {
        let service = Arc::clone(service);
        async move { respond(request, connection, &service).await }
    });
    let builder = Builder::new(TokioExecutor::new());
    // A broken connection is the client's affair, which the test sees there.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(tee), respond).await;
}

async fn respond(
    mut request: Request<Incoming>,
    connection: usize,
    service: &Service,
) -> Result<Response<Steps>, Error> {
    let seen = Seen::of(&request, connection);
    let at = {
        let mut records = service.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.seen.push(seen.clone());
        records.seen.len() - 1
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let seen = read(request.into_body(), seen, at, service).await?;
    let answer = Arc::clone(&*service.answer.lock().unwrap_or_else(PoisonError::into_inner));
    let answer = answer(&seen);
    tokio::time::sleep(answer.delay).await;
    if answer.echo {
        tokio::spawn(async move {
            let Ok(stream) = upgrade.await else { return };
            let (mut read, mut write) = tokio::io::split(TokioIo::new(stream));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
    }
    let mut response = Response::new(Steps::new(answer.steps));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(Error::other)?;
    *response.headers_mut() = headers(&answer.headers)?;
    if let (true, Some(key)) = (answer.echo, seen.header("sec-websocket-key")) {
        let name = HeaderName::from_static("sec-websocket-accept");
        response.headers_mut().insert(name, websocket_accept(key).map_err(Error::other)?);
    }
    Ok(response)
}

/// Reads a body to its end; the record grows with it.
async fn read(mut body: Incoming, mut seen: Seen, at: usize, service: &Service) -> Result<Seen, Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Error::other)?;
        if let Some(data) = frame.data_ref() {
            seen.body.extend_from_slice(data);
            service.change(at, seen.connection, |record| record.body.extend_from_slice(data));
        } else if let Some(trailers) = frame.trailers_ref() {
            seen.trailers = pairs(trailers);
        }
    }
    seen.complete = true;
    service.change(at, seen.connection, |record| {
        record.trailers.clone_from(&seen.trailers);
        record.complete = true;
    });
    Ok(seen)
}

/// The answer to a WebSocket's key (RFC 6455, section 4.2.2).
fn websocket_accept(key: &str) -> Result<HeaderValue, hyper::header::InvalidHeaderValue> {
    let hash =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    HeaderValue::from_str(&base64::engine::general_purpose::STANDARD.encode(hash))
}
