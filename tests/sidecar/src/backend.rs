//! A server for tests, HTTP/1.1 and HTTP/2 without TLS at one port of loopback: what an agent, a peer or an issuer is.
//! It keeps every request as it came and answers as it is told.

mod answer;
mod body;
mod seen;
mod serve;
mod tee;

pub use answer::{Answer, Step};
pub use seen::Seen;

use anyhow::{Context, Result};
use seen::Records;
pub(crate) use seen::pairs;
use serve::Service;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A running server; it ends when it is dropped, and with it all its connections.
pub struct Backend {
    address: SocketAddr,
    service: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Starts one that gives the same answer to all.
    pub fn start(answer: Answer) -> Result<Self> {
        Self::start_with(move |_| answer.clone())
    }

    /// Starts one that answers as `answer` says, once a request has been read to its end.
    pub fn start_with(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Self::listen("127.0.0.1:0", answer, None)
    }

    /// Starts one with TLS, whose answers are like those of [`Self::start_with`].
    pub fn start_tls(
        settings: Arc<rustls::ServerConfig>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::listen("127.0.0.1:0", answer, Some(settings.into()))
    }

    /// Starts one at an address that was used before, so that a peer comes back where it was.
    pub fn start_at(address: SocketAddr, answer: Answer) -> Result<Self> {
        Self::listen(&address.to_string(), move |_| answer.clone(), None)
    }

    fn listen(
        address: &str,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("{address} is not free"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(answer));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&service);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = serve::accept(listener, tls, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, service, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its `http://` URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives this answer from now on.
    pub fn answer(&self, answer: Answer) {
        self.answer_with(move |_| answer.clone());
    }

    /// Answers as `answer` says from now on.
    pub fn answer_with(&self, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        *self.service.answer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(answer);
    }

    /// The requests so far, in order of their heads; those being read are not `complete`.
    pub fn seen(&self) -> Vec<Seen> {
        self.records(|records| records.seen.clone())
    }

    /// The latest request.
    pub fn last(&self) -> Result<Seen> {
        self.seen().pop().context("the backend saw no request")
    }

    /// Forgets the requests and bytes so far.
    pub fn forget(&self) {
        self.records(|records| {
            records.seen.clear();
            records.raw.clear();
        });
    }

    /// All bytes that came over each connection, by its number, as they came (within TLS, if there is any).
    pub fn raw(&self, connection: usize) -> Vec<u8> {
        self.records(|records| records.raw.get(&connection).cloned().unwrap_or_default())
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.service.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.service.open.load(Ordering::SeqCst)
    }

    fn records<T>(&self, look: impl FnOnce(&mut Records) -> T) -> T {
        look(&mut self.service.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
