//! Changes of protocol (RFC 9110 §7.8). Only WebSocket is passed on: after a change to another protocol, such as h2c,
//! further requests could follow on the connection without passing the gate.

use super::connection_header::connection_options;
use super::denial::{Code, Denial};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Method, Request, Version};

const WEBSOCKET: &str = "websocket";

/// Proof that a request is the opening handshake of a WebSocket. Only [`WebSocket::requested`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WebSocket(());

impl WebSocket {
    /// Recognizes the opening handshake of a WebSocket (RFC 6455 §4.1). A request with any other `Upgrade`, such as h2c,
    /// is served as if the header were absent, which RFC 9110 §7.8 allows.
    pub(crate) fn requested<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let opens = request.version() == Version::HTTP_11 && request.method() == Method::GET;
        // The new protocol begins where the request ends. With a body two readers could see that end differently, and
        // bytes of the one protocol would be read as the other (request smuggling).
        let has_body = headers.contains_key(TRANSFER_ENCODING)
            || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
        let named = listed(headers) && protocols(headers).any(|name| name.eq_ignore_ascii_case(WEBSOCKET));
        (opens && !has_body && named).then_some(Self(()))
    }
}

/// Writes the request for the change, or its acceptance, into headers that were stripped of hop-by-hop fields.
pub(crate) fn write_upgrade(upgrade: Option<WebSocket>, headers: &mut HeaderMap) {
    if upgrade.is_some() {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    }
}

/// Verifies that a 101 answer changes to the protocol that was requested. A server that changes unasked would leave a
/// connection on which requests pass without the gate.
pub(crate) fn verify_change(upgrade: Option<WebSocket>, answer: &HeaderMap) -> Result<(), Denial> {
    let wrong = |message: &str| Err(Denial::new(Code::WrongProtocol, message));
    if upgrade.is_none() {
        return wrong("the other end changes the protocol, and nobody asked for it");
    }
    let mut protocols = protocols(answer);
    match (protocols.next(), protocols.next()) {
        (Some(name), None) if name.eq_ignore_ascii_case(WEBSOCKET) && listed(answer) => Ok(()),
        _ => wrong("the other end changes to another protocol than the WebSocket that it was asked for"),
    }
}

/// True if `Connection` lists `Upgrade`; otherwise the header was meant for another hop (RFC 9110 §7.8).
fn listed(headers: &HeaderMap) -> bool {
    connection_options(headers).any(|option| option.eq_ignore_ascii_case(UPGRADE.as_str()))
}

/// The protocols of all `Upgrade` headers. A value that is not text becomes `?`, which matches no protocol, rather than
/// none at all.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(UPGRADE).iter();
    values.flat_map(|value| value.to_str().unwrap_or("?").split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, version: Version, headers: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::new(());
        (*request.method_mut(), *request.version_mut()) = (method, version);
        for &(name, value) in headers {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn a_websocket_is_asked_for_by_its_handshake_alone() {
        let is_request = |method, version, headers: &[(&'static str, &'static str)]| {
            WebSocket::requested(&request(method, version, headers)).is_some()
        };
        let (listed, upgrade) = (("connection", "Upgrade"), ("upgrade", "websocket"));
        for (headers, expected) in [
            (&[listed, upgrade][..], true),
            (&[("connection", "keep-alive, upgrade"), ("upgrade", "WebSocket")], true),
            (&[("connection", "close"), listed, upgrade], true),
            (&[listed, ("upgrade", "h2c"), upgrade], true),
            (&[listed, ("upgrade", "h2c ,\twebsocket")], true),
            (&[upgrade], false),
            (&[listed], false),
            (&[("connection", "x-upgrade"), upgrade], false),
            (&[listed, ("upgrade", "h2c")], false),
            (&[listed, ("upgrade", "websocket/13")], false),
            (&[listed, ("upgrade", "web socket")], false),
            (&[listed, ("upgrade", "")], false),
            (&[listed, upgrade, ("content-length", "0")], true),
            (&[listed, upgrade, ("content-length", "1")], false),
            (&[listed, upgrade, ("transfer-encoding", "chunked")], false),
        ] {
            assert_eq!(is_request(Method::GET, Version::HTTP_11, headers), expected, "{headers:?}");
        }
        assert!(!is_request(Method::POST, Version::HTTP_11, &[listed, upgrade]));
        assert!(!is_request(Method::GET, Version::HTTP_10, &[listed, upgrade]));
        assert!(!is_request(Method::GET, Version::HTTP_2, &[listed, upgrade]));
    }

    #[test]
    fn a_change_is_the_one_that_was_asked_for_or_an_error() {
        let (listed, websocket) = (("connection", "upgrade"), ("upgrade", "WebSocket"));
        let verified = |upgrade, headers: &[(&'static str, &'static str)]| {
            let answer = request(Method::GET, Version::HTTP_11, headers);
            verify_change(upgrade, answer.headers()).map_err(|denial| denial.code)
        };
        let upgrade = Some(WebSocket(()));
        assert_eq!(verified(upgrade, &[listed, websocket]), Ok(()));
        assert_eq!(verified(None, &[listed, websocket]), Err(Code::WrongProtocol));
        for headers in [
            &[listed][..],
            &[websocket],
            &[listed, ("upgrade", "h2c")],
            &[listed, ("upgrade", "")],
            &[listed, websocket, ("upgrade", "h2c")],
            &[listed, ("upgrade", "websocket, h2c")],
        ] {
            assert_eq!(verified(upgrade, headers), Err(Code::WrongProtocol), "{headers:?}");
        }
    }
}
