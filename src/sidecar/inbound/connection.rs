//! One connection to the agent: TLS or not is decided by its first byte, in its own task and in limited time.

use super::handler::Inbound;
use crate::sidecar::config::MtlsMode;
use crate::sidecar::serve::{Begins, Link, Prefixed, Stream, serve_http};
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
    let plane = inbound.plane();
    let times = plane.times();
    let Some((terminator, mode)) = &plane.terminator else {
        drop(plane);
        return serve_plain(inbound, stream, address).await;
    };
    let (terminator, mode) = (terminator.clone(), *mode);
    drop(plane);
    let tls = &inbound.stats.tls;
    match timeout(FIRST_BYTES, stream.begins()).await {
        Ok(Ok(Begins::Tls)) => match timeout(times.header, terminator.accept(stream)).await {
            Ok(Ok((stream, peer))) => {
                tls.inbound_tls_accepted.inc();
                let link = Arc::new(Link::new(address, Some(Arc::new(peer)), None));
                serve_http(Prefixed::new(stream), link, inbound, times).await;
            }
            Ok(Err(error)) => {
                tls.inbound_tls_failed.inc();
                inbound.quiet.log("a TLS handshake failed", &error.to_string());
            }
            Err(_) => {
                tls.inbound_tls_failed.inc();
                inbound.quiet.log("a TLS handshake failed", "it took too long");
            }
        },
        Ok(Ok(Begins::Http1 | Begins::Http2)) if mode == MtlsMode::Permissive => {
            serve_plain(inbound, stream, address).await;
        }
        Ok(Ok(Begins::Http1 | Begins::Http2)) => {
            tls.inbound_plain_rejected.inc();
            inbound.quiet.log("a plain connection was closed", "mtls.mode is strict");
        }
        _ => {}
    }
}

async fn serve_plain<T: Stream + 'static>(inbound: Arc<Inbound>, stream: Prefixed<T>, address: SocketAddr) {
    inbound.stats.tls.inbound_plain_accepted.inc();
    let times = inbound.plane().times();
    serve_http(stream, Arc::new(Link::new(address, None, None)), inbound, times).await;
}
