//! First bytes of a redirected connection of which its client sends some at once: HTTP/1 or another protocol. HTTP is
//! recognized as generously as servers read it, because what is not taken for it is passed on unread.

/// Most bytes read to tell: the largest header block of HTTP/1.1.
pub(super) const OPENING_BYTES: usize = 64 * 1024;

/// Protocol that begins a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// More bytes are needed.
    Incomplete,
    /// HTTP/1, or something that a server may take for it.
    Http1,
    /// Another protocol.
    Other,
}

/// Tells by the first line (RFC 9112 §3): a method, white space, and a target that is a path or a version of HTTP after it.
pub(super) fn parse_opening(bytes: &[u8]) -> Opening {
    let start = bytes.trim_ascii_start();
    let method = start.iter().take_while(|byte| is_token(**byte)).count();
    let (line, is_whole) = match start.iter().position(|byte| *byte == b'\n') {
        Some(end) => (start.get(..end).unwrap_or_default(), true),
        None => (start, false),
    };
    match start.get(method) {
        None if bytes.len() < OPENING_BYTES => return Opening::Incomplete,
        Some(b' ' | b'\t') if method > 0 => {}
        _ => return Opening::Other,
    }
    let rest = line.get(method..).unwrap_or_default().trim_ascii_start();
    if rest.starts_with(b"/") || rest.windows(5).any(|part| part.eq_ignore_ascii_case(b"http/")) {
        return Opening::Http1;
    }
    match (is_whole, bytes.len() < OPENING_BYTES) {
        (true, _) => Opening::Other,
        (false, true) => Opening::Incomplete,
        (false, false) => Opening::Http1,
    }
}

/// Byte of a method (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_may_read_as_http_is_http() {
        for bytes in [
            "GET / HTTP/1.1\r\n",
            "GET /half",
            "get\t/ http/1.0\n",
            "\r\n\n GET / HTTP/1.1\r\n",
            "PROPFIND tool.team1 HTTP/1.1\r\n",
            "POST http://tool/x HTTP/1.1\r\n",
            "CONNECT tool:443 HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "GET /\r\n",
        ] {
            assert_eq!(parse_opening(bytes.as_bytes()), Opening::Http1, "{bytes}");
        }
        let endless = ["GET ", &"x".repeat(OPENING_BYTES)].concat();
        assert_eq!(parse_opening(endless.as_bytes()), Opening::Http1);
    }

    #[test]
    fn other_protocols_are_told_apart() {
        for bytes in [
            // PostgreSQL: a request for TLS, and a startup message.
            &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f][..],
            &[0, 0, 0, 9, 0, 3, 0, 0, 0],
            b"*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"get key\r\n",
            b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n",
            b"INVITE sip:bob@example.org SIP/2.0\r\n",
            b"{\"jsonrpc\": \"2.0\"}",
            &[0x10, 0x1a, 0, 4, b'M', b'Q', b'T', b'T'],
        ] {
            assert_eq!(parse_opening(bytes), Opening::Other, "{bytes:?}");
        }
        for bytes in ["", "\r\n", "GET", "GET ", "PROPFIND tool.team1 HT"] {
            assert_eq!(parse_opening(bytes.as_bytes()), Opening::Incomplete, "{bytes}");
        }
    }
}
