//! HTTP/2 by the frame (RFC 9113 §4), over any connection: for clients that do what no library does.
//! Heads are written without compression, and bodies read as they come.

use crate::http::Connection;
use anyhow::Result;
use std::time::Duration;

/// What a connection of HTTP/2 begins with, and empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// `END_STREAM` and `END_HEADERS`.
const WHOLE: u8 = 0x5;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a request without a body, pseudo-headers first.
pub fn request(stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [length(text.len()), text.as_bytes().to_vec()].concat();
    // A literal that is not to be remembered (RFC 7541 §6.2.2).
    let field = |&(name, value): &(&str, &str)| [&[0][..], &text(name), &text(value)].concat();
    frame(HEADERS, WHOLE, stream, &headers.iter().flat_map(field).collect::<Vec<u8>>())
}

/// The length of a text without Huffman code: an integer of seven bits, or more (RFC 7541 §5.1).
fn length(bytes: usize) -> Vec<u8> {
    if bytes < 127 {
        return vec![u8::try_from(bytes).unwrap_or(0)];
    }
    let (mut rest, mut all) = (bytes - 127, vec![127]);
    while rest >= 128 {
        all.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
        rest /= 128;
    }
    all.push(u8::try_from(rest).unwrap_or(0));
    all
}

/// `GET` for a path.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    let headers = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)];
    request(stream, &headers)
}

/// Reads until the other side closes or falls silent; the body that came on `stream`, if any came.
pub fn body(connection: &mut Connection, stream: u32, silence: Duration) -> Result<String> {
    let read = connection.read_rest(silence)?;
    let (mut rest, mut body) = (read.as_slice(), Vec::new());
    while let Some((head, more)) = rest.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, more)) = more.split_at_checked(length) else { break };
        if head[3] == DATA && head[5..] == stream.to_be_bytes() {
            body.extend_from_slice(payload);
        }
        rest = more;
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
