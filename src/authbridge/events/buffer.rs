//! Copies of bodies while they pass: each has a cap, and all of a process have one together, so that neither a body nor the
//! number of bodies decides how much memory they take.

use crate::limits::{CALL_BYTES, CALLS_BYTES};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all buffers hold together. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<AtomicUsize>);

/// Copy of a part of a body, of at most [`CALL_BYTES`].
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    pool: Pool,
}

/// A part that exceeds what may be held of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Pool {
    /// An empty buffer.
    pub(super) fn buffer(&self) -> Buffer {
        Buffer { bytes: Vec::new(), pool: self.clone() }
    }

    /// Bytes that are held now.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Buffer {
    /// Appends bytes. If they do not fit, it is emptied, and the bytes are lost.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let len = bytes.len();
        if len > CALL_BYTES.saturating_sub(self.bytes.len()) {
            self.clear();
            return Err(TooLarge);
        }
        if self.pool.0.fetch_add(len, Ordering::Relaxed).saturating_add(len) > CALLS_BYTES {
            self.pool.0.fetch_sub(len, Ordering::Relaxed);
            self.clear();
            return Err(TooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the bytes so far, with their memory.
    pub(super) fn clear(&mut self) {
        drop(self.take());
    }

    /// Takes the bytes so far out, for whoever needs them now.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.pool.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        std::mem::take(&mut self.bytes)
    }

    /// The bytes so far, still counted; this buffer is empty afterwards.
    pub(super) fn split_off(&mut self) -> Self {
        let empty = self.pool.buffer();
        std::mem::replace(self, empty)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_and_all_buffers_have_a_cap() {
        let pool = Pool::default();
        let mut one = pool.buffer();
        assert_eq!(one.push(&vec![1; CALL_BYTES]), Ok(()));
        assert_eq!((one.push(b"1"), one.bytes().len(), pool.held()), (Err(TooLarge), 0, 0));
        let mut many: Vec<Buffer> = Vec::new();
        for _ in 0..CALLS_BYTES / CALL_BYTES {
            let mut buffer = pool.buffer();
            assert_eq!(buffer.push(&vec![1; CALL_BYTES]), Ok(()));
            many.push(buffer);
        }
        assert_eq!((one.push(b"1"), pool.held()), (Err(TooLarge), CALLS_BYTES));
        let mut kept = many.pop().unwrap().split_off();
        assert_eq!(pool.held(), CALLS_BYTES);
        assert_eq!((kept.take().len(), one.push(b"1")), (CALL_BYTES, Ok(())));
        drop((many, kept, one));
        assert_eq!(pool.held(), 0);
    }
}
