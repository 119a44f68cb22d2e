//! The proxy itself: accepts, asks the rules, and passes on to the API server.

use super::body::{Answer, pass, whole};
use super::{Fault, Rule};
use crate::control_plane::{API, NODE};
use crate::pki::Pki;
use anyhow::Result;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the connections share.
pub(super) struct State {
    rules: Mutex<Vec<Rule>>,
    injected: AtomicUsize,
    /// Changes when watches are to break; each open watch holds a receiver.
    pub(super) cut: watch::Sender<u64>,
    server: Arc<ServerConfig>,
    /// Connects as the proxy's user.
    as_user: Arc<ClientConfig>,
    /// Connects as nobody, for requests that bring a token: a certificate would win over it.
    as_nobody: Arc<ClientConfig>,
}

impl State {
    /// `name` is that of the user's certificate.
    pub(super) fn new(pki: &Pki, name: &str) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let chain = |name: &str| -> Result<Vec<CertificateDer<'static>>> {
            Ok(CertificateDer::pem_file_iter(pki.path(&format!("{name}.crt")))?.collect::<Result<_, _>>()?)
        };
        let key = |name: &str| PrivateKeyDer::from_pem_file(pki.path(&format!("{name}.key")));
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain("apiserver")?, key("apiserver")?)?;
        let mut roots = RootCertStore::empty();
        for authority in chain("ca")? {
            roots.add(authority)?;
        }
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        Ok(Self {
            rules: Mutex::default(),
            injected: AtomicUsize::new(0),
            cut: watch::Sender::new(0),
            server: Arc::new(server),
            as_user: Arc::new(client.clone().with_client_auth_cert(chain(name)?, key(name)?)?),
            as_nobody: Arc::new(client.with_no_client_auth()),
        })
    }

    pub(super) fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        // A panic of another thread does not make the list wrong.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn injected(&self) -> usize {
        self.injected.load(Ordering::Acquire)
    }

    /// The fault that meets this request, counted.
    fn fault(&self, method: &str, path: &str, watch: bool) -> Option<Fault> {
        let mut rules = self.rules();
        let rule = rules.iter_mut().find(|rule| rule.matches(method, path, watch))?;
        rule.left = rule.left.map(|left| left.saturating_sub(1));
        self.injected.fetch_add(1, Ordering::AcqRel);
        Some(rule.fault)
    }
}

/// Serves until it is told to stop.
pub(super) fn run(state: &Arc<State>, listeners: [TcpListener; 2], stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| {
        runtime.block_on(async {
            for listener in listeners {
                listener.set_nonblocking(true)?;
                tokio::spawn(accept(Arc::clone(state), tokio::net::TcpListener::from_std(listener)?));
            }
            // It also ends when its owner forgets it.
            let _ = stopped.await;
            Ok(())
        })
    });
    if let Err(error) = served {
        eprintln!("the proxy of faults ended: {error}");
    }
}

async fn accept(state: Arc<State>, listener: tokio::net::TcpListener) {
    let acceptor = TlsAcceptor::from(Arc::clone(&state.server));
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let stream = acceptor.accept(stream).await?;
            let serve = service_fn(|request| answer(&state, request));
            // An error here is a hang-up by either side, or one of the faults.
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
            let _ = served.await;
            io::Result::Ok(())
        });
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> io::Result<Response<Answer>> {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let watch = path.contains("watch=true") || path.contains("watch=1");
    let mut left = None;
    match state.fault(request.method().as_str(), &path, watch) {
        None => {}
        Some(Fault::HangUp) => return Err(io::Error::other("hung up by the rig")),
        Some(Fault::Status(code)) => return status(code),
        Some(Fault::WatchError(code)) => {
            return json(200, format!(r#"{{"type":"ERROR","object":{}}}"#, object(code)));
        }
        Some(Fault::Truncate(bytes)) => left = Some(bytes),
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
    }
    // Taken before the request goes out, so that no watch slips through `drop_watches`.
    let cut = watch.then(|| state.cut.subscribe());
    let token = request.headers().contains_key(AUTHORIZATION);
    let config = if token { &state.as_nobody } else { &state.as_user };
    let stream = TcpStream::connect(API).await?;
    let name = ServerName::try_from(NODE).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok(response.map(|body| pass(body, left, cut)))
}

fn status(code: u16) -> io::Result<Response<Answer>> {
    let mut response = json(code, object(code))?;
    if code == 429 {
        response.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn json(code: u16, text: String) -> io::Result<Response<Answer>> {
    let response = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    response.body(whole(text)).map_err(io::Error::other)
}

/// The `Status` object that goes with a code.
fn object(code: u16) -> String {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "",
    };
    serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("a fault of the rig: {code}"), "reason": reason, "code": code})
    .to_string()
}
