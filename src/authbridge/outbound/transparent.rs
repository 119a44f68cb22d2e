//! Connections of the agent, to the forward proxy or redirected by the kernel. The listener decides which, and nothing
//! in the bytes received.

use super::handler::OutboundHandler;
use super::opening::Opening;
use super::redirected::{First, opening};
use crate::serve::{Arrival, Begins, Connection, Prefixed, original_destination, serve_http};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time after which a client that has sent nothing may wait for its server to begin. Clients of HTTP and TLS send at once.
const CLIENT_FIRST: Duration = Duration::from_millis(300);

/// Serves a connection to the forward proxy.
pub(crate) async fn serve_proxy(outbound: Arc<OutboundHandler>, stream: TcpStream, arrival: Arrival) {
    let times = outbound.runtime().times();
    times.tunnel.probe(&stream);
    let connection = Arc::new(Connection::of_agent(arrival, None));
    serve_http(Prefixed::new(stream), connection, outbound, times).await;
}

/// Serves a connection that the kernel redirected. One made to the listener directly has no other destination than the
/// listener, and would loop, so it is closed.
pub(crate) async fn serve_redirected(outbound: Arc<OutboundHandler>, stream: TcpStream, arrival: Arrival) {
    outbound.runtime().times().tunnel.probe(&stream);
    let Some(destination) = original_destination(&stream) else {
        outbound.quiet.log("a connection was closed", "the kernel does not know where it was going");
        return;
    };
    if stream.local_addr().is_ok_and(|local| local == destination) {
        outbound.quiet.log("a connection was closed", "it was made to the transparent listener itself");
        return;
    }
    let mut stream = Prefixed::new(stream);
    let begins = match timeout(CLIENT_FIRST, stream.begins()).await {
        Ok(Ok(begins)) => begins,
        Ok(Err(_)) => return,
        // Boxed, as what follows: a connection that idles between requests must not reserve the state of all that it could
        // have been.
        Err(_) => match Box::pin(outbound.first(&mut stream, &arrival, destination)).await {
            First::Client(begins) => begins,
            First::Over => return,
        },
    };
    match begins {
        Begins::Closed => return,
        Begins::Tls => return Box::pin(outbound.pass_tls(stream, arrival, destination)).await,
        // Only by its destination, as everything that is not read.
        Begins::Http2 => {}
        Begins::Http1 => {
            let times = outbound.runtime().times();
            let (begun, told) = Box::pin(opening(stream, times.header)).await;
            stream = begun;
            if told == Opening::Http1 {
                let connection = Arc::new(Connection::of_agent(arrival, Some(destination)));
                return serve_http(stream, connection, outbound, times).await;
            }
        }
    }
    Box::pin(outbound.pass_other(stream, arrival, destination)).await;
}
