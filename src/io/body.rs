//! The body of an answer, as far as it may go.
//! A promised length is believed only when it is too large.

use countersign_core::refusal::{Reason, Refusal};

/// Bytes received so far.
#[derive(Debug)]
pub(super) struct BoundedBody {
    url: String,
    bytes: Vec<u8>,
    limit: usize,
}

impl BoundedBody {
    /// Nothing yet of the answer of `url`, which may have so many bytes.
    pub(super) const fn new(url: String, limit: usize) -> Self {
        Self { url, bytes: Vec::new(), limit }
    }

    /// Refuses what will be too large, before any of it is read.
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

    /// Takes over what was read.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        if chunk.len() > self.limit.saturating_sub(self.bytes.len()) {
            return Err(self.too_large());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Everything that was read.
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
