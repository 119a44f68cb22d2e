//! Passing a request on: what belongs to one connection stays behind, and the rest goes through as it came.

use super::body::ProxyBody;
use super::denial::{Code, Denial};
use super::serve::{Connection, Stream, Tunnel};
use super::upgrade::{WebSocket, verify_change, write_upgrade};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::time::Duration;

/// Headers of one connection (RFC 9110 §7.6.1) beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
];
/// Belongs to an offer of HTTP/2 (RFC 7540 §3.2.1), which is never passed on; callers need not list it.
pub(crate) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Marks of the sidecar itself; nobody else may set them.
pub(crate) const OWN_PREFIX: &str = "x-authbridge-";

/// Refuses a request that names two hosts, or none. What is wrong with its framing hyper refuses, and what is only
/// doubtful ends its connection (see `serve`).
pub(crate) fn refuse_ambiguity<B>(request: &Request<B>) -> Result<(), Denial> {
    let bad = |message: &str| Err(Denial::new(Code::BadRequest, message));
    let headers = request.headers();
    if headers.get_all(HOST).iter().count() > 1 {
        return bad("the request has several Host headers");
    }
    let named = headers.contains_key(HOST) || request.uri().authority().is_some();
    if !named && request.version() != Version::HTTP_10 {
        return bad("the request has no Host header");
    }
    match request.uri().authority() {
        Some(authority) if request.version() != Version::HTTP_2 => refuse_two_hosts(headers, authority),
        _ => Ok(()),
    }
}

/// Refuses a target and a Host header that name different hosts.
pub(crate) fn refuse_two_hosts(headers: &HeaderMap, target: &Authority) -> Result<(), Denial> {
    let plain = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.strip_suffix(":80").map(str::to_owned).unwrap_or(text)
    };
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or_default());
    match host {
        Some(host) if plain(host) != plain(target.as_str()) => {
            Err(Denial::new(Code::BadRequest, "the target and the Host header name different hosts"))
        }
        _ => Ok(()),
    }
}

/// What all `Connection` headers list.
pub(super) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
}

/// Takes off what belongs to the connection, and what only the sidecar may say. `TE: trailers` stays, because gRPC
/// asks for it.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let trailers = headers.get(TE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            connection_options(headers).filter_map(|option| option.parse().ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(OWN_PREFIX)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Sends a request and waits for the head of the answer.
pub(crate) async fn send<C>(
    client: &Client<C, ProxyBody>,
    request: Request<ProxyBody>,
    patience: Duration,
) -> Result<Response<Incoming>, Denial>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    match tokio::time::timeout(patience, client.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(unreachable_because(&error)),
        Err(_) => Err(Denial::new(Code::Timeout, "the other end did not answer in time")),
    }
}

/// Connection errors speak of addresses and certificates, not of requests; still the caller gets only their kind.
fn unreachable_because(error: &hyper_util::client::legacy::Error) -> Denial {
    let mut inner: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = inner {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            tracing::debug!("a server was refused: {tls}");
            return Denial::new(Code::WrongPeer, "the other end could not prove who it is");
        }
        // What an I/O error wraps is not its source but its inner error.
        inner = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    tracing::debug!("a request could not be passed on: {error:?}");
    let what = if error.is_connect() { "the other end cannot be reached" } else { "the other end broke off" };
    Denial::new(Code::Unreachable, what)
}

/// The answer as it goes back: the same without what belongs to the connection, or the change of protocol that was
/// `asked` for, after which the two connections are joined.
pub(crate) fn answer(
    mut response: Response<Incoming>,
    upgrade: Option<WebSocket>,
    connection: &Connection,
) -> Result<Response<ProxyBody>, Denial> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        verify_change(upgrade, response.headers())?;
        let upgraded = hyper::upgrade::on(&mut response);
        let tunnel: Tunnel = Box::pin(async move {
            let stream: Box<dyn Stream> = Box::new(TokioIo::new(upgraded.await.ok()?));
            Some(stream)
        });
        connection.join(tunnel);
        let (mut parts, _) = response.into_parts();
        strip(&mut parts.headers);
        write_upgrade(upgrade, &mut parts.headers);
        return Ok(Response::from_parts(parts, ProxyBody::default()));
    }
    let (mut parts, body) = response.into_parts();
    strip(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Ok(Response::from_parts(parts, ProxyBody::incoming(body)))
}

/// An answer of our own.
pub(crate) fn deny(denial: &Denial) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::full(denial.body()));
    *response.status_mut() = denial.code.status();
    let headers = response.headers_mut();
    headers.insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(challenge) = denial.challenge() {
        headers.insert(hyper::header::WWW_AUTHENTICATE, challenge);
    }
    response
}
