//! Destination of a redirected connection before the redirection, as the kernel recorded it.

use socket2::SockRef;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;

/// Reads the original destination (`SO_ORIGINAL_DST`) in the family of the packets, which a socket for both families maps
/// into IPv6. `None` if the kernel has no record.
pub(crate) fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let found = match stream.local_addr().ok()?.ip().to_canonical() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    found.ok()?.as_socket()
}
