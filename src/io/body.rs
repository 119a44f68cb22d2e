//! The body of an HTTP response, up to a limit (rule 1).
//! A `Content-Length` above the limit refuses the response; a smaller one proves nothing, so bytes are counted.

use countersign_core::refusal::{Reason, Refusal};

/// The received part of a body, never longer than the limit.
#[derive(Debug)]
pub(super) struct BoundedBody {
    url: String,
    bytes: Vec<u8>,
    limit: usize,
}

impl BoundedBody {
    /// Makes an empty body of the response of `url`, with a limit in bytes.
    pub(super) const fn new(url: String, limit: usize) -> Self {
        Self { url, bytes: Vec::new(), limit }
    }

    /// Refuses a body whose `Content-Length` exceeds the limit, before any of it is read.
    pub(super) fn expect(&mut self, promised: Option<u64>) -> Result<(), Refusal> {
        let Some(promised) = promised else { return Ok(()) };
        match usize::try_from(promised) {
            Ok(length) if length <= self.limit => {
                self.bytes.reserve_exact(length);
                Ok(())
            }
            _ => Err(self.too_large()),
        }
    }

    /// Appends received bytes; fails if the body would exceed the limit.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        if chunk.len() > self.limit.saturating_sub(self.bytes.len()) {
            return Err(self.too_large());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// The whole received body.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn too_large(&self) -> Refusal {
        let (url, limit) = (countersign_core::text::Quoted(&self.url), self.limit);
        Refusal::new(Reason::BodyTooLarge, format!("{url} sent more than {limit} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_at_its_limit_whatever_was_promised() {
        let body = || BoundedBody::new("http://a".to_owned(), 4);
        assert_eq!(body().expect(Some(5)).unwrap_err().reason(), Reason::BodyTooLarge);
        assert_eq!(body().expect(Some(u64::MAX)).unwrap_err().reason(), Reason::BodyTooLarge);
        let mut one = body();
        one.expect(Some(1)).unwrap();
        one.push(b"abcd").unwrap();
        assert_eq!(one.push(b"e").unwrap_err().reason(), Reason::BodyTooLarge);
        assert_eq!(one.finish(), b"abcd");
    }
}
