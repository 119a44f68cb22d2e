//! Forwarding of requests and responses: hop-by-hop fields are taken off, everything else passes unchanged.

use super::body::ProxyBody;
use super::connection_header::connection_options;
use super::denial::{Code, Denial, DeniedAddress};
use super::pending::millis;
use super::serve::{Connection, Joined, Tunnel};
use super::upgrade::{WebSocket, verify_change, write_upgrade};
use countersign_core::time::Timestamp;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::Scheme;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use std::error::Error;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Hop-by-hop headers (RFC 9110 §7.6.1), beside those that `Connection` names.
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
/// Header of an h2c upgrade (RFC 7540 §3.2.1), which is never passed on. It is removed even where `Connection` does not
/// list it, because a server that reads it anyway would begin HTTP/2.
pub(crate) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Prefix of headers that only the sidecar sets; whoever sends one is not believed.
const OWN_PREFIX: &str = "x-authbridge-";

/// Refuses a request that names two hosts, or none (RFC 9112 §3.2): the host selects route and token, so the next reader
/// must not choose another one. hyper refuses invalid framing; doubtful framing ends the connection (see `serve`).
pub(crate) fn refuse_ambiguity<B>(request: &Request<B>) -> Result<(), Denial> {
    let bad = |message: &str| Err(Denial::new(Code::BadRequest, message));
    let headers = request.headers();
    let (mut hosts, target) = (headers.get_all(HOST).iter(), request.uri().authority());
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return bad("the request has several Host headers");
    }
    if host.is_none() && target.is_none() && request.version() != Version::HTTP_10 {
        return bad("the request has no Host header");
    }
    let target = target.map(|target| target.as_str().as_bytes());
    // RFC 9110 §4.2.4: a password in a target is a mistake or a trick, and would be kept where targets are.
    if host.into_iter().chain(target).any(|name| name.contains(&b'@')) {
        return bad("the host of the request names a user; take out everything up to the `@`");
    }
    // Also in HTTP/2, where `:authority` is the target and a `host` beside it would reach the next reader (RFC 9113 §8.3.1).
    match (host, target) {
        (Some(host), Some(target)) if !is_same_host(host, target, request.uri().scheme()) => {
            bad("the target and the Host header name different hosts")
        }
        _ => Ok(()),
    }
}

/// True if both name the same host and port. The port of the scheme may be left out; it is 80 without a scheme.
fn is_same_host(host: &[u8], target: &[u8], scheme: Option<&Scheme>) -> bool {
    let port: &[u8] = if scheme == Some(&Scheme::HTTPS) { b":443" } else { b":80" };
    let plain = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix(port).map(<[u8]>::to_vec).unwrap_or(name)
    };
    plain(host) == plain(target)
}

/// Removes hop-by-hop headers, and those that only the sidecar may set. `TE: trailers` stays, because gRPC requires it
/// of every hop.
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
    let own: Vec<HeaderName> = headers.keys().filter(|name| is_own(name)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// True for a header that only the sidecar may set, or that a server may take for one: servers that pass headers as
/// variables (CGI, RFC 3875 §4.1.18, and WSGI) write every `-` as `_`, and some do so with other punctuation.
pub(crate) fn is_own(name: &HeaderName) -> bool {
    let like =
        |(found, own): (u8, u8)| if own == b'-' { !found.is_ascii_alphanumeric() } else { found == own };
    let name = name.as_str().as_bytes();
    name.len() >= OWN_PREFIX.len() && name.iter().copied().zip(OWN_PREFIX.bytes()).all(like)
}

/// Sends a request, and waits at most `patience` for the head of the answer. The wait begins again with every part of the
/// request's body, since the answer to an upload may come after all of it.
pub(crate) async fn send<C>(
    client: &Client<C, ProxyBody>,
    request: Request<ProxyBody>,
    patience: Duration,
) -> Result<Response<Incoming>, Denial>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let (mut request, began) = (request, millis());
    let flow = request.body_mut().flow();
    let mut answer = pin!(client.request(request));
    loop {
        let last = flow.as_ref().map_or(began, |flow| flow.load(Ordering::Relaxed).max(began));
        let left = patience.saturating_sub(Duration::from_millis(millis().saturating_sub(last)));
        match tokio::time::timeout(left, &mut answer).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => return Err(unreachable_because(&error)),
            Err(_) if left.is_zero() => {
                return Err(Denial::new(Code::Timeout, "the other end did not answer in time"));
            }
            Err(_) => {}
        }
    }
}

/// Maps a connection error to its kind. Its text names addresses and certificates of the cluster, so it goes to the log
/// and not to the caller.
fn unreachable_because(error: &hyper_util::client::legacy::Error) -> Denial {
    let mut inner: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = inner {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            tracing::debug!("a server was refused: {tls}");
            return Denial::new(Code::WrongPeer, "the other end could not prove who it is");
        }
        if cause.is::<DeniedAddress>() {
            return DeniedAddress.denial();
        }
        // `source()` of an I/O error skips the error that it wraps, and rustls errors are wrapped so.
        inner = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    tracing::debug!("a request could not be passed on: {error:?}");
    let what = if error.is_connect() { "the other end cannot be reached" } else { "the other end broke off" };
    Denial::new(Code::Unreachable, what)
}

/// The response for the caller: stripped of hop-by-hop headers or, for a 101 to the requested `upgrade`, joined to the
/// connection that `joined` makes of it once it is written, until the second `until`.
pub(crate) fn answer(
    mut response: Response<Incoming>,
    upgrade: Option<WebSocket>,
    until: Option<Timestamp>,
    connection: &Connection,
    joined: impl FnOnce(Upgraded) -> Option<Joined> + Send + 'static,
) -> Result<Response<ProxyBody>, Denial> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        verify_change(upgrade, response.headers())?;
        let upgraded = hyper::upgrade::on(&mut response);
        let other = Box::pin(async move { joined(upgraded.await.ok()?) });
        connection.join(Tunnel { other, until });
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

/// The error response for `denial`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Uri;

    #[test]
    fn a_request_names_one_host_and_no_user_in_every_version_of_http() {
        let refused = |version, uri: &'static str, hosts: &[&'static str]| {
            let mut request = Request::new(());
            (*request.version_mut(), *request.uri_mut()) = (version, Uri::from_static(uri));
            for host in hosts {
                request.headers_mut().append(HOST, HeaderValue::from_static(host));
            }
            refuse_ambiguity(&request).err().map(|denial| denial.code)
        };
        let (bad, both) = (Some(Code::BadRequest), [Version::HTTP_11, Version::HTTP_2]);
        for (uri, hosts, expected) in [
            ("http://a/", &[][..], None),
            ("http://a/", &["a"], None),
            ("http://a/", &["A:80"], None),
            ("http://a:80/", &["a"], None),
            ("https://a:443/", &["a"], None),
            ("https://a/", &["a:80"], bad),
            ("http://a/", &["a:443"], bad),
            ("http://a/", &["b"], bad),
            ("http://a/", &["a", "a"], bad),
            ("http://a/", &["a:81"], bad),
            ("http://a/", &[""], bad),
            ("http://u:p@a/", &[], bad),
            ("http://u:p@a/", &["u:p@a"], bad),
            ("/", &["u:p@a"], bad),
            ("/", &["a"], None),
            ("/", &[], bad),
        ] {
            for version in both {
                assert_eq!(refused(version, uri, hosts), expected, "{version:?} {uri} {hosts:?}");
            }
        }
    }

    #[test]
    fn twins_of_own_headers_are_own_headers() {
        let own = |name: &'static str| is_own(&HeaderName::from_static(name));
        for name in [
            "x-authbridge-direction",
            "x_authbridge_direction",
            "x-authbridge_x",
            "x.authbridge-",
            "x-authbridge-",
        ] {
            assert!(own(name), "{name}");
        }
        for name in ["x-authbridge", "x-authbridgex", "xx-authbridge-a", "x-authbridges-a", "xaauthbridge-a"]
        {
            assert!(!own(name), "{name}");
        }
    }
}
