//! One connection to the agent: TLS or not is decided by its first byte, in its own task and in limited time.

use super::handler::Inbound;
use crate::sidecar::config::MtlsMode;
use crate::sidecar::serve::{Begins, Link, Prefixed, serve_http};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may stay silent at first, where its first byte decides.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// Serves a connection to its end.
pub(crate) async fn serve(inbound: Arc<Inbound>, stream: TcpStream, address: SocketAddr) {
    let mut stream = Prefixed::new(stream);
    if let Some(mode) = inbound.mtls() {
        let Ok(Ok(begins)) = timeout(FIRST_BYTES, stream.begins()).await else { return };
        match (begins, mode) {
            // What only TLS needs is boxed, so that a plain connection stays small.
            (Begins::Tls, _) => return Box::pin(serve_tls(inbound, stream, address)).await,
            (Begins::Closed, _) => return,
            (Begins::Http1 | Begins::Http2, MtlsMode::Permissive) => {}
            (Begins::Http1 | Begins::Http2, MtlsMode::Strict) => {
                inbound.stats.tls.inbound_plain_rejected.inc();
                return inbound.quiet.log("a plain connection was closed", "mtls.mode is strict");
            }
        }
    }
    inbound.stats.tls.inbound_plain_accepted.inc();
    let (times, generation) = inbound.terms();
    serve_http(stream, Arc::new(Link::new(address, None, None, generation)), inbound, times).await;
}

async fn serve_tls(inbound: Arc<Inbound>, stream: Prefixed<TcpStream>, address: SocketAddr) {
    let plane = inbound.plane();
    let (times, generation) = inbound.terms();
    let Some((terminator, _)) = plane.terminator.clone() else { return };
    drop(plane);
    let problem = match timeout(times.header, terminator.accept(stream)).await {
        Ok(Ok((stream, peer))) => {
            inbound.stats.tls.inbound_tls_accepted.inc();
            let link = Arc::new(Link::new(address, Some(Arc::new(peer)), None, generation));
            return serve_http(Prefixed::new(stream), link, inbound, times).await;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    inbound.stats.tls.inbound_tls_failed.inc();
    inbound.quiet.log("a TLS handshake failed", &problem);
}
