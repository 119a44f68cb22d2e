//! An answer as it came, and how it is read: by length, by chunks, or until the connection ends.
//! Interim answers (1xx) are answers too; only 101 is followed by something that is not HTTP.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers, in order, names as they came.
    pub headers: Vec<(String, String)>,
    /// Its body, without the framing of chunks.
    pub body: Vec<u8>,
}

/// How a body is framed.
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunks,
    UntilEnd,
}

impl Reply {
    /// Reads a head, which ends with an empty line.
    pub(crate) fn parse(head: &[u8]) -> Result<Self> {
        let head = std::str::from_utf8(head).context("the head of the answer is not text")?;
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.with_context(|| format!("{first:?} is not the first line of an answer"))?;
        let mut headers = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { bail!("{line:?} is not a header") };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Self { status, headers, body: Vec::new() })
    }

    /// How its body is framed, if it answers a request that was, or was not, `HEAD`.
    pub(crate) fn framing(&self, head: bool) -> Result<Framing> {
        if head || self.status < 200 || self.status == 204 || self.status == 304 {
            return Ok(Framing::None);
        }
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Framing::Chunks);
        }
        match self.header("content-length") {
            Some(length) => Ok(Framing::Length(length.parse().context("Content-Length is no number")?)),
            None => Ok(Framing::UntilEnd),
        }
    }

    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = move |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers.iter().filter(of_name).map(|(_, value)| value.as_str())
    }

    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} with a body that is not JSON: {}", self.status, self.text()))
    }
}
