//! A request as a server saw it.
//! Its head is there at once, its body grows as it comes.

use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Version};
use std::collections::BTreeMap;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The number of the connection over which it came, from 0.
    pub connection: usize,
    /// True if it came by HTTP/2.
    pub http2: bool,
    /// Its method.
    pub method: String,
    /// Its target as it came (without a fragment); of HTTP/2 the path with the query.
    pub target: String,
    /// The host and port it was for: `:authority` of HTTP/2, or the `Host` header.
    pub authority: String,
    /// Its headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came of its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<(String, String)>,
    /// True once it was read to its end.
    pub complete: bool,
}

impl Seen {
    pub(super) fn of(request: &Request<Incoming>, connection: usize) -> Self {
        let uri = request.uri();
        let http2 = request.version() == Version::HTTP_2;
        let target = if http2 { uri.path_and_query().map(ToString::to_string) } else { None };
        let host = request.headers().get("host").map(|host| String::from_utf8_lossy(host.as_bytes()).into());
        Self {
            connection,
            http2,
            method: request.method().to_string(),
            target: target.unwrap_or_else(|| uri.to_string()),
            authority: uri.authority().map(ToString::to_string).or(host).unwrap_or_default(),
            headers: pairs(request.headers()),
            ..Self::default()
        }
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = move |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers.iter().filter(of_name).map(|(_, value)| value.as_str())
    }

    /// The token of its `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Headers or trailers as text.
pub(crate) fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// What a server keeps.
#[derive(Default)]
pub(super) struct Records {
    pub(super) seen: Vec<Seen>,
    pub(super) raw: BTreeMap<usize, Vec<u8>>,
}
