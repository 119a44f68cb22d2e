//! Head of a request as Envoy sends it, converted to the type that the gate and the routes take.
//! Envoy forwards its own copy, so a path or host that this conversion would change is refused.

use super::messages::{HttpHeaders, RawHeader};
use crate::denial::{Code, Denial};
use crate::forward::refuse_ambiguity;
use crate::upgrade::WebSocket;
use hyper::header::{HeaderName, HeaderValue, UPGRADE};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Method, Request, Uri};

/// Most headers of a request; Envoy's own limit is 100 unless it is raised.
const HEADERS: usize = 512;

/// Pseudo-headers of a request (RFC 9113 §8.3.1).
#[derive(Default)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
}

/// Converts the head of a request, or refuses it where two readers could understand it differently.
pub(super) fn read_head(told: &HttpHeaders) -> Result<Request<()>, Denial> {
    let told = told.headers.as_ref().map(|headers| headers.headers.as_slice()).unwrap_or_default();
    if told.len() > HEADERS {
        return Err(bad("the request has too many headers"));
    }
    let (mut pseudo, mut headers) = (Pseudo::default(), HeaderMap::new());
    for header in told {
        let value = bytes(header);
        let field = match header.key.as_str() {
            ":method" => &mut pseudo.method,
            ":authority" => &mut pseudo.authority,
            ":path" => &mut pseudo.path,
            ":scheme" => &mut pseudo.scheme,
            name => {
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| bad("a header has no usable name"))?;
                let value =
                    HeaderValue::from_bytes(value).map_err(|_| bad("a header has no usable value"))?;
                headers.try_append(name, value).map_err(|_| bad("the request has too many headers"))?;
                continue;
            }
        };
        if field.replace(value).is_some() {
            return Err(bad("the request has a pseudo-header twice"));
        }
    }
    let method = pseudo.method.and_then(|method| Method::from_bytes(method).ok());
    let method = method.ok_or_else(|| bad("the request has no usable method"))?;
    if method == Method::CONNECT {
        return Err(bad("CONNECT is for proxies"));
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri(&pseudo)?;
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    refuse_ambiguity(&request)?;
    // Envoy removes `upgrade` unless its `upgrade_configs` allow the protocol; if they do, it carries every byte that
    // follows without asking the processor again.
    if request.headers().contains_key(UPGRADE) && WebSocket::requested(&request).is_none() {
        let why = "a change to anything but WebSocket is not allowed; Envoy's `upgrade_configs` may name nothing else";
        return Err(Denial::new(Code::Forbidden, why));
    }
    Ok(request)
}

/// Value of a header. Envoy sets one of two fields, depending on its version and a runtime flag.
fn bytes(header: &RawHeader) -> &[u8] {
    if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value }
}

fn uri(pseudo: &Pseudo<'_>) -> Result<Uri, Denial> {
    let path = pseudo.path.ok_or_else(|| bad("the request has no path"))?;
    let target = PathAndQuery::try_from(path).map_err(|_| bad("the path is not one"))?;
    // The `http` crate cuts off a fragment, and Envoy would forward it.
    if target.as_str().as_bytes() != path {
        return Err(bad("the path can be read in several ways"));
    }
    let authority = pseudo.authority.ok_or_else(|| bad("the request names no host"))?;
    // Envoy joins several `Host` headers with commas; such an authority names more than one host.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    let authority = Authority::try_from(authority).ok().filter(|_| authority.iter().all(plain));
    let mut parts = hyper::http::uri::Parts::default();
    parts.scheme = Some(if pseudo.scheme == Some(b"https") { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority.ok_or_else(|| bad("the request does not name exactly one host"))?);
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|_| bad("the target is not usable"))
}

fn bad(message: &str) -> Denial {
    Denial::new(Code::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext_proc::messages::Headers;

    fn read(headers: &[(&str, &str)]) -> Result<Request<()>, Denial> {
        let header = |&(name, value): &(&str, &str)| RawHeader {
            key: name.to_owned(),
            value: String::new(),
            raw_value: value.as_bytes().to_vec(),
        };
        let headers = headers.iter().map(header).collect();
        read_head(&HttpHeaders { headers: Some(Headers { headers }) })
    }

    const HEAD: [(&str, &str); 4] =
        [(":method", "POST"), (":scheme", "http"), (":authority", "Tool.Team1:80"), (":path", "/a%2Fb?c#")];

    #[test]
    fn a_head_is_the_request_that_envoy_forwards() {
        let plain = [&HEAD[..3], &[(":path", "/a%2Fb?c"), ("x-a", "1"), ("x-a", "2")]].concat();
        let request = read(&plain).unwrap();
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/a%2Fb"));
        assert_eq!(request.uri().authority().unwrap(), "tool.team1:80");
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        let old = RawHeader { key: ":path".to_owned(), value: "/old".to_owned(), raw_value: Vec::new() };
        assert_eq!(bytes(&old), b"/old");
    }

    #[test]
    fn a_change_of_protocol_that_envoy_would_carry_is_for_websocket_or_refused() {
        let get = [(":method", "GET"), HEAD[1], HEAD[2], (":path", "/")];
        let with = |more: &[(&'static str, &'static str)]| [&get[..], more].concat();
        let listed = ("connection", "upgrade");
        assert!(read(&with(&[listed, ("upgrade", "websocket")])).is_ok());
        for more in
            [&[listed, ("upgrade", "h2c")][..], &[("upgrade", "websocket")], &[listed, ("upgrade", "")]]
        {
            assert_eq!(read(&with(more)).unwrap_err().code, Code::Forbidden, "{more:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_several_ways_is_refused() {
        let with = |name: &'static str, value: &'static str| {
            let kept = HEAD.iter().filter(|(known, _)| *known != name && *known != ":path").copied();
            let path = if name == ":path" { None } else { Some((":path", "/")) };
            kept.chain(path).chain([(name, value)]).collect::<Vec<_>>()
        };
        assert!(read(&with("x-a", "b")).is_ok());
        let twice = [with("x-a", "b"), vec![(":path", "/")]].concat();
        for head in [
            vec![],
            HEAD.to_vec(),
            with(":path", ""),
            with(":path", "a b"),
            with(":authority", ""),
            with(":authority", "a,b"),
            with(":authority", "u@a"),
            with(":authority", "a/b"),
            with(":method", "CONNECT"),
            with(":method", ""),
            with(":protocol", "websocket"),
            with("a b", ""),
            with("x-a", "a\nb"),
            with("host", "other"),
            twice,
        ] {
            assert_eq!(read(&head).unwrap_err().code, Code::BadRequest, "{head:?}");
        }
        assert_eq!(read(&vec![("x-a", "b"); 600]).unwrap_err().message, "the request has too many headers");
    }
}
