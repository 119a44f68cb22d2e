//! Connections of the agent, to the forward proxy or redirected by the kernel. The listener decides which, and nothing
//! in the bytes received.

use super::handler::OutboundHandler;
use crate::serve::{Arrival, Begins, Connection, Prefixed, serve_http};
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time for the first byte of a redirected connection.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// Serves a connection to the forward proxy.
pub(crate) async fn serve_proxy(outbound: Arc<OutboundHandler>, stream: TcpStream, arrival: Arrival) {
    let times = outbound.runtime().times();
    let connection = Arc::new(Connection::of_agent(arrival, None));
    serve_http(Prefixed::new(stream), connection, outbound, times).await;
}

/// Serves a connection that the kernel redirected. One made to the listener directly has no other destination than the
/// listener, and would loop, so it is closed.
pub(crate) async fn serve_redirected(outbound: Arc<OutboundHandler>, stream: TcpStream, arrival: Arrival) {
    let Some(destination) = original_destination(&stream) else {
        outbound.quiet.log("a connection was closed", "the kernel does not know where it was going");
        return;
    };
    if stream.local_addr().is_ok_and(|local| local == destination) {
        outbound.quiet.log("a connection was closed", "it was made to the transparent listener itself");
        return;
    }
    let mut stream = Prefixed::new(stream);
    match timeout(FIRST_BYTES, stream.begins()).await {
        Ok(Ok(Begins::Tls)) => outbound.pass_tls(stream, arrival, destination).await,
        Ok(Ok(Begins::Http1)) => {
            let times = outbound.runtime().times();
            let connection = Arc::new(Connection::of_agent(arrival, Some(destination)));
            serve_http(stream, connection, outbound, times).await;
        }
        Ok(Ok(Begins::Http2)) => {
            outbound.quiet.log("a connection was closed", "HTTP/2 without TLS is not redirected");
        }
        _ => {}
    }
}

fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let found = socket.original_dst_v4().or_else(|_| socket.original_dst_v6()).ok()?;
    found.as_socket()
}
