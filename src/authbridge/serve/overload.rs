//! Answer to a connection for which there is no room, written without reading what it asks for.

use crate::denial::{Code, Denial};

/// Response in HTTP/1.1. A client that speaks TLS or HTTP/2 takes it for an end of the connection, which follows.
pub(super) fn overloaded_response() -> Vec<u8> {
    let body = Denial::new(Code::Overloaded, "requests are under way on all connections; try again").body();
    let length = body.len();
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close";
    format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}
