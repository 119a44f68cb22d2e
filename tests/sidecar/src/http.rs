//! A small HTTP/1.1 client that hides nothing: what is sent is given byte for byte, what comes is kept as it came.
//! Plain or TLS, one request or several over one connection.

mod connection;
mod reply;
mod tls;

pub use connection::Connection;
pub use reply::Reply;
pub use tls::Tls;
pub(crate) use tls::certificates;

use anyhow::{Context, Result};
use serde_json::Value;

/// A request whose framing is right; for others see [`Connection::write`].
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body; `target` goes out as it is.
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new() }
    }

    /// Gives it another target.
    #[must_use]
    pub fn with_target(self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self }
    }

    /// Adds a header. `Host`, and `Content-Length` of a body, are added if they are missing.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Gives it a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Gives it a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// Gives it the body of a form.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let pair = |&(name, value): &(&str, &str)| format!("{}={}", encode(name), encode(value));
        let body = fields.iter().map(pair).collect::<Vec<_>>().join("&");
        self.header("Content-Type", "application/x-www-form-urlencoded").body(body)
    }

    /// Its bytes, for a server called `host`.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target)];
        if !has("host") {
            lines.push(format!("Host: {host}"));
        }
        if !has("content-length") && !has("transfer-encoding") && !self.body.is_empty() {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let head = lines.join("\r\n") + "\r\n\r\n";
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it to `address` (`127.0.0.1:80`) over a connection of its own.
    pub fn send(&self, address: &str) -> Result<Reply> {
        Connection::open(address)?.send(self)
    }

    /// Sends it to `address` over a TLS connection of its own.
    pub fn send_tls(&self, address: &str, tls: &Tls) -> Result<Reply> {
        Connection::open_tls(address, tls)?.send(self)
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// Gets an `http://` URL.
pub fn get(url: &str) -> Result<Reply> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not an http URL"))?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    Request::new("GET", &format!("/{path}")).send(address)
}

/// Sends bytes as they are over a connection of their own; all that comes until the other side closes, or
/// falls silent for a second.
pub fn raw(address: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut connection = Connection::open(address)?;
    connection.write(bytes)?;
    connection.read_rest(std::time::Duration::from_secs(1))
}

/// A text as part of a URL or form: everything but letters, digits and `-._~` is escaped.
pub fn encode(text: &str) -> String {
    let escape = |&byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.as_bytes().iter().map(escape).collect()
}
