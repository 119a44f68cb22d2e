//! One connection to the agent. Its first byte decides between TLS and plain HTTP, in its own task and in limited time.

use super::handler::InboundHandler;
use crate::config::MtlsMode;
use crate::serve::{Arrival, Begins, Connection, HeadCost, Prefixed, Times, serve_http};
use crate::tls::Terminator;
use hyper::http::uri::Authority;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time for the first byte of a connection, where it decides.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// Serves a connection to its end. Its requests go to `agent`, or else where the configuration says.
///
/// No async fn, which would keep its arguments twice: connections idle here.
pub(crate) fn serve(
    inbound: Arc<InboundHandler>,
    stream: TcpStream,
    arrival: Arrival,
    agent: Option<Authority>,
) -> impl Future<Output = ()> + Send {
    inbound.active.current().times().tunnel.probe(&stream);
    let mut stream = Prefixed::new(stream);
    async move {
        let mut begins = Begins::Http1;
        if inbound.active.current().terminator.is_some() {
            let Ok(Ok(found)) = timeout(FIRST_BYTES, stream.begins()).await else { return };
            begins = found;
        }
        // Read only after the first byte: a client that connected early and stayed silent must not be admitted by a
        // configuration that was replaced meanwhile.
        let (runtime, epoch) = inbound.active.current_with_epoch();
        let times = runtime.times();
        match (begins, &runtime.terminator) {
            (Begins::Closed, _) | (Begins::Tls, None) => return,
            (Begins::Tls, Some((terminator, _))) => {
                let terminator = terminator.clone();
                drop(runtime);
                // Boxed, so that the task of a plain connection does not reserve the state of a handshake.
                return Box::pin(serve_tls(inbound, stream, (arrival, agent), terminator, (times, epoch)))
                    .await;
            }
            (Begins::Http1 | Begins::Http2, Some((_, MtlsMode::Strict))) => {
                inbound.stats.tls.inbound_plain_rejected.inc();
                return inbound.quiet.log("a plain connection was closed", "mtls.mode is strict");
            }
            (Begins::Http1 | Begins::Http2, Some((_, MtlsMode::Permissive)) | None) => {}
        }
        drop(runtime);
        inbound.stats.tls.inbound_plain_accepted.inc();
        serve_http(stream, Arc::new(Connection::to_agent(arrival, agent, None, epoch)), inbound, times).await;
    }
}

async fn serve_tls(
    inbound: Arc<InboundHandler>,
    stream: Prefixed<TcpStream>,
    (arrival, agent): (Arrival, Option<Authority>),
    terminator: Terminator,
    (times, epoch): (Times, u64),
) {
    let place = Arc::clone(&arrival.place);
    let Some(head) = place.read(HeadCost::One, times.header).await else { return };
    // Boxed, because thousands may wait above for memory, and idle below.
    let accepted = Box::pin(async {
        let hello = Terminator::hello(stream).await?;
        inbound.handshakes.take(place.peer(), terminator.accept(hello)).await
    });
    let problem = match timeout(times.header, accepted).await {
        Ok(Ok((stream, peer))) => {
            drop(head);
            inbound.stats.tls.inbound_tls_accepted.inc();
            // The epoch from before the handshake: if it changed meanwhile, the first request authorizes the connection
            // again.
            let connection = Arc::new(Connection::to_agent(arrival, agent, Some(Arc::new(peer)), epoch));
            return Box::pin(serve_http(Prefixed::new(stream), connection, inbound, times)).await;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    inbound.stats.tls.inbound_tls_failed.inc();
    inbound.quiet.log("a TLS handshake failed", &problem);
}
