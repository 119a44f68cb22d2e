//! Server name of a TLS `ClientHello` (RFC 8446 §4.1.2, RFC 6066 §3), to select the route of a connection that stays
//! encrypted. The name is not authenticated: no route adds a token to such a connection, so a false one gains nothing.

/// Most bytes read for a `ClientHello`: one full record with its header (RFC 8446 §5.1).
pub const CLIENT_HELLO_BYTES: usize = 5 + (1 << 14);

/// Result of parsing the first bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The record is not complete; more bytes are needed.
    Incomplete,
    /// A `ClientHello`, with the server name if it has one.
    Name(Option<String>),
    /// Not a `ClientHello`, or one that is split over several records.
    Other,
}

/// Cursor over bytes; reading past the end gives `None`.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, length: usize) -> Option<usize> {
        let bytes = self.take(length)?;
        Some(bytes.iter().fold(0, |value: usize, byte| value.wrapping_shl(8) | usize::from(*byte)))
    }

    /// A vector with its length in front (RFC 8446 §3.4).
    fn vector(&mut self, length: usize) -> Option<Self> {
        let length = self.number(length)?;
        self.take(length).map(Self)
    }
}

/// Parses the first bytes of a connection.
pub fn parse_client_hello(bytes: &[u8]) -> Hello {
    const HANDSHAKE: u8 = 22;
    let mut record = Bytes(bytes);
    match bytes {
        [] | [HANDSHAKE] | [HANDSHAKE, 3] => return Hello::Incomplete,
        [HANDSHAKE, 3, ..] => {}
        _ => return Hello::Other,
    }
    let (Some(_), Some(length)) = (record.take(3), record.number(2)) else { return Hello::Incomplete };
    if length > CLIENT_HELLO_BYTES.saturating_sub(5) {
        return Hello::Other;
    }
    match record.take(length) {
        None => Hello::Incomplete,
        Some(fragment) => read_message(Bytes(fragment)).unwrap_or(Hello::Other),
    }
}

/// Parses the handshake message in a record; `None` if it is not a whole `ClientHello`.
fn read_message(mut message: Bytes<'_>) -> Option<Hello> {
    const CLIENT_HELLO: usize = 1;
    if message.number(1)? != CLIENT_HELLO {
        return None;
    }
    let mut hello = message.vector(3)?;
    hello.take(2 + 32)?;
    hello.vector(1)?;
    hello.vector(2)?;
    hello.vector(1)?;
    if hello.0.is_empty() {
        return Some(Hello::Name(None));
    }
    let mut extensions = hello.vector(2)?;
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let contents = extensions.vector(2)?;
        if kind == 0 {
            if found.is_some() {
                return None;
            }
            found = Some(server_name(contents)?);
        }
    }
    Some(Hello::Name(found))
}

/// The one host name of the extension.
fn server_name(mut contents: Bytes<'_>) -> Option<String> {
    let mut list = contents.vector(2)?;
    let kind = list.number(1)?;
    let name = list.vector(2)?.0;
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let only = list.0.is_empty() && contents.0.is_empty();
    if kind != 0 || !only || !plain || name.is_empty() || name.len() > 255 {
        return None;
    }
    std::str::from_utf8(name).ok().map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(size: usize, contents: &[u8]) -> Vec<u8> {
        let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
        [&length[4_usize.strict_sub(size)..], contents].concat()
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[]),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, extensions),
        ]
        .concat();
        let message = [&[1][..], &vector(3, &body)].concat();
        [&[22, 3, 1][..], &vector(2, &message)].concat()
    }

    fn name(name: &[u8]) -> Vec<u8> {
        let list = vector(2, &[&[0][..], &vector(2, name)].concat());
        [&[0, 0][..], &vector(2, &list)].concat()
    }

    #[test]
    fn the_name_is_read_once_all_of_it_is_there() {
        let whole = hello(&[&[0, 43, 0, 1, 9][..], &name(b"Tool.Example")].concat());
        assert_eq!(parse_client_hello(&whole), Hello::Name(Some("tool.example".to_owned())));
        for length in 0..whole.len() {
            assert_eq!(parse_client_hello(&whole[..length]), Hello::Incomplete, "{length}");
        }
        assert_eq!(parse_client_hello(&hello(&[])), Hello::Name(None));
    }

    #[test]
    fn what_is_no_single_name_is_no_client_hello() {
        for bytes in [
            b"GET / HTTP/1.1".to_vec(),
            vec![22, 2, 0, 0, 0],
            vec![22, 3, 1, 0xff, 0xff],
            hello(&[name(b"a"), name(b"b")].concat()),
            hello(&name(b"a b")),
            hello(&name(b"")),
            hello(&[0, 0, 0, 9]),
            [&[22, 3, 1][..], &vector(2, &[2, 0, 0, 0])].concat(),
        ] {
            assert_eq!(parse_client_hello(&bytes), Hello::Other, "{bytes:?}");
        }
    }
}
