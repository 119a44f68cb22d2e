//! Answer to a connection for which there is no room, whatever it asks for.

use crate::denial::{Code, Denial};
use crate::limits::REFUSED_BYTES;
use socket2::SockRef;
use std::io::Read;
use tokio::net::TcpStream;

/// Response in HTTP/1.1.
pub(super) fn overloaded_response() -> Vec<u8> {
    let body = Denial::new(Code::Overloaded, "there is no room for this connection now; try again").body();
    let length = body.len();
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close";
    format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Closes a connection for which there is no room, with an answer if it speaks HTTP/1.1.
pub(super) fn refuse(stream: &TcpStream) {
    // Past tokio, which has not heard yet what the new socket can do. What does not fit into its buffer is lost, so that
    // nobody is waited for.
    let socket = SockRef::from(stream);
    // Read because the kernel resets a connection whose bytes were not, and the answer may be lost by that.
    let mut said = [0; REFUSED_BYTES];
    let length = (&*socket).read(&mut said).unwrap_or(0);
    if may_be_http1(said.get(..length).unwrap_or_default()) {
        let _ = socket.send(&overloaded_response());
    }
}

/// True if a client that begins so may understand an answer in HTTP/1.1, also if it has said nothing yet. TLS and most other
/// protocols do not begin with a letter.
fn may_be_http1(said: &[u8]) -> bool {
    said.first().is_none_or(u8::is_ascii_alphabetic) && !said.starts_with(b"PRI ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn who_speaks_http1_is_told_and_nobody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (said, is_told) in [
            (b"".as_slice(), true),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (b"POST /", true),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false),
            (b"\x16\x03\x01\x00\x05", false),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", false),
            (b"*1\r\n$4\r\nPING\r\n", false),
        ] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            client.write_all(said).await.unwrap();
            refuse(&stream);
            drop(stream);
            let mut read = Vec::new();
            // An error would be a reset.
            client.read_to_end(&mut read).await.unwrap();
            let expected = if is_told { overloaded_response() } else { Vec::new() };
            assert_eq!(read, expected, "{said:?}");
        }
    }
}
