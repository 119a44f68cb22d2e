//! Copies of bodies while they pass: each has a cap, all of one user have one, and all of a process have one together, so that
//! neither a body, nor their number, nor one user decides how much memory they take.

use crate::limits::{CALL_BYTES, CALLS_BYTES, CALLS_SHARE_BYTES};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Fewest shares among which those that nobody uses any more are looked for.
const FEW_SHARES: usize = 64;

/// Pools of a process by their holders.
#[derive(Debug)]
pub(super) struct Pools<K> {
    all: Arc<AtomicUsize>,
    shares: Mutex<Shares<K>>,
}

#[derive(Debug)]
struct Shares<K> {
    by_holder: BTreeMap<K, Weak<AtomicUsize>>,
    /// Number of shares at which those without a buffer are dropped.
    look: usize,
}

impl<K> Default for Pools<K> {
    fn default() -> Self {
        let shares = Shares { by_holder: BTreeMap::new(), look: FEW_SHARES };
        Self { all: Arc::default(), shares: Mutex::new(shares) }
    }
}

impl<K: Ord> Pools<K> {
    /// The pool of this holder.
    pub(super) fn of(&self, holder: K) -> Pool {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shares.by_holder.get(&holder).and_then(Weak::upgrade);
        let share = known.unwrap_or_else(|| {
            if shares.by_holder.len() >= shares.look {
                shares.by_holder.retain(|_, share| share.strong_count() > 0);
                shares.look = shares.by_holder.len().saturating_mul(2).max(FEW_SHARES);
            }
            let share = Arc::default();
            shares.by_holder.insert(holder, Arc::downgrade(&share));
            share
        });
        Pool { all: Arc::clone(&self.all), share }
    }
}

/// Bytes that all buffers hold together, and those of one holder. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    all: Arc<AtomicUsize>,
    share: Arc<AtomicUsize>,
}

/// Copy of a part of a body, of at most [`CALL_BYTES`].
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Memory of `bytes` that is taken out of the pool.
    taken: usize,
    pool: Pool,
}

/// A part that exceeds what may be held of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Pool {
    /// An empty buffer.
    pub(super) fn buffer(&self) -> Buffer {
        Buffer { bytes: Vec::new(), taken: 0, pool: self.clone() }
    }

    /// Bytes that all holders hold now.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    fn take(&self, len: usize) -> Result<(), TooLarge> {
        claim(&self.share, len, CALLS_SHARE_BYTES)?;
        claim(&self.all, len, CALLS_BYTES).inspect_err(|_| {
            self.share.fetch_sub(len, Ordering::Relaxed);
        })
    }

    fn give(&self, len: usize) {
        self.all.fetch_sub(len, Ordering::Relaxed);
        self.share.fetch_sub(len, Ordering::Relaxed);
    }
}

/// Adds to what is held if that stays below a limit.
fn claim(held: &AtomicUsize, len: usize, most: usize) -> Result<(), TooLarge> {
    if held.fetch_add(len, Ordering::Relaxed).saturating_add(len) <= most {
        return Ok(());
    }
    held.fetch_sub(len, Ordering::Relaxed);
    Err(TooLarge)
}

impl Buffer {
    /// Appends bytes. If they do not fit, it is emptied, and the bytes are lost.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let len = self.bytes.len().saturating_add(bytes.len());
        if len > self.taken {
            let grown = len.max(self.taken.saturating_mul(2).min(CALL_BYTES));
            let more = grown.saturating_sub(self.taken);
            if len > CALL_BYTES || self.pool.take(more).is_err() {
                self.clear();
                return Err(TooLarge);
            }
            self.taken = grown;
            self.bytes.reserve_exact(grown.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// True if half of what may be held is: bytes should not be kept for long then.
    pub(super) fn is_tight(&self) -> bool {
        self.pool.share.load(Ordering::Relaxed) > CALLS_SHARE_BYTES / 2
            || self.pool.all.load(Ordering::Relaxed) > CALLS_BYTES / 2
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
        self.pool.give(std::mem::take(&mut self.taken));
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
    fn a_buffer_a_holder_and_all_buffers_have_a_cap() {
        let pools = Pools::default();
        let (pool, full) = (pools.of(0), vec![1; CALL_BYTES]);
        let mut one = pool.buffer();
        assert_eq!(one.push(&full), Ok(()));
        assert_eq!((one.push(b"1"), one.bytes().len(), pool.held()), (Err(TooLarge), 0, 0));
        let mut many: Vec<Buffer> = Vec::new();
        for holder in 0..CALLS_BYTES / CALLS_SHARE_BYTES {
            assert!(!pools.of(holder).buffer().is_tight() || holder > 2);
            for _ in 0..CALLS_SHARE_BYTES / CALL_BYTES {
                let mut buffer = pools.of(holder).buffer();
                assert_eq!(buffer.push(&full), Ok(()));
                many.push(buffer);
            }
            assert_eq!(pools.of(holder).buffer().push(b"1"), Err(TooLarge));
            assert!(pools.of(holder).buffer().is_tight());
        }
        assert_eq!((pools.of(99).buffer().push(b"1"), pool.held()), (Err(TooLarge), CALLS_BYTES));
        let mut kept = many.pop().unwrap().split_off();
        assert_eq!(pool.held(), CALLS_BYTES);
        assert_eq!((kept.take().len(), pools.of(99).buffer().push(b"1")), (CALL_BYTES, Ok(())));
        drop((many, kept, one));
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn memory_is_counted_not_only_bytes() {
        let pool = Pool::default();
        let mut buffer = pool.buffer();
        for _ in 0..CALL_BYTES {
            assert_eq!(buffer.push(b"1"), Ok(()));
            assert!(pool.held() >= buffer.bytes.capacity(), "{} bytes", buffer.bytes.len());
        }
        assert_eq!((buffer.push(b"1"), pool.held()), (Err(TooLarge), 0));
    }

    #[test]
    fn shares_that_nobody_uses_are_forgotten() {
        let pools = Pools::default();
        let kept = pools.of(0);
        for holder in 1..1000 {
            drop(pools.of(holder));
        }
        assert!(pools.shares.lock().unwrap().by_holder.len() <= FEW_SHARES);
        assert!(Arc::ptr_eq(&kept.share, &pools.of(0).share));
    }
}
