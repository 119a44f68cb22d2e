//! TLS of the metrics server, with a certificate from files, loaded every minute, or a self-signed one.
//! Handshakes run concurrently, so that a stalled one delays no other caller.

use crate::flags::ServingCertificate;
use axum::serve::Listener;
use countersign_io::files::read_file;
use countersign_io::shutdown::Shutdown;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Maximum size of a certificate or key file, in bytes.
const PEM_BYTES: usize = 64 * 1024;
/// Period of loading certificate files.
const RELOAD: Duration = Duration::from_mins(1);
/// Maximum time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Maximum number of connections between accept and answer.
const WAITING: usize = 16;

/// Listener for connections after a finished handshake.
pub(super) struct TlsListener {
    connections: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

/// Certificate in use, replaced on reload.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Starts accepting TLS connections on `listener` until `shutdown`; fails if the certificate cannot be loaded.
pub(super) fn listen(
    listener: TcpListener,
    certificate: ServingCertificate,
    shutdown: &Shutdown,
) -> io::Result<TlsListener> {
    let address = listener.local_addr()?;
    let current = Arc::new(Current(RwLock::new(Arc::new(load(&certificate)?))));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(current.clone());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (sender, connections) = mpsc::channel(WAITING);
    if let ServingCertificate::Files { .. } = certificate {
        tokio::spawn(until(shutdown.clone(), reload(certificate, current)));
    }
    tokio::spawn(until(shutdown.clone(), accept(listener, TlsAcceptor::from(Arc::new(config)), sender)));
    Ok(TlsListener { connections, address })
}

async fn until(shutdown: Shutdown, work: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.requested() => {}
        () = work => {}
    }
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

async fn reload(certificate: ServingCertificate, current: Arc<Current>) {
    loop {
        sleep(RELOAD).await;
        match load(&certificate) {
            Ok(key) => *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key),
            Err(error) => tracing::warn!("the metrics certificate stays as it was: {error}"),
        }
    }
}

fn load(certificate: &ServingCertificate) -> io::Result<CertifiedKey> {
    let (chain, key) = match certificate {
        ServingCertificate::SelfSigned => {
            let made =
                rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
            (vec![made.cert.der().clone()], key)
        }
        ServingCertificate::Files { certificate, key } => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
            let chain = chain.map_err(|error| unusable(certificate, &error))?;
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, &error))?;
            (chain, key)
        }
    };
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(io::Error::other)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_file(path, PEM_BYTES).map_err(io::Error::other)
}

fn unusable(path: &Path, error: &impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{} is not usable PEM: {error}", path.display()))
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
