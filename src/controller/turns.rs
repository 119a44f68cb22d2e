//! A queue that is asked from everywhere, and what waits for its next turn.
//! One task takes turns; whoever asks for one wakes it.

use super::key::Key;
use super::queue::{Queue, Tenant, Urgency};
use countersign_io::clock::instant;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout_at};

/// Turns of one kind.
#[derive(Debug)]
pub struct Turns<K> {
    queue: Mutex<Queue<K>>,
    enqueued: Notify,
}

impl<K: Clone + Ord + Hash + Tenant> Turns<K> {
    /// The turns of a queue.
    pub fn new(queue: Queue<K>) -> Self {
        Self { queue: Mutex::new(queue), enqueued: Notify::new() }
    }

    /// Enqueues a turn that is due at `due`.
    pub fn enqueue(&self, key: K, due: Instant, urgency: Urgency) {
        self.with(|queue| queue.add(key, due, urgency));
        self.enqueued.notify_one();
    }

    /// Waits for the next turn. It lasts until [`Turns::end`].
    pub async fn next(&self) -> K {
        loop {
            let enqueued = self.enqueued.notified();
            let (key, later) = self.with(|queue| (queue.take(instant()), queue.next_later()));
            match (key, later) {
                (Some(key), _) => return key,
                // Waiting no longer is all that the end of the time means.
                (None, Some(due)) => drop(timeout_at(due.into(), enqueued).await),
                (None, None) => enqueued.await,
            }
        }
    }

    /// Counts how often a key failed in a row.
    pub fn count_failures(&self, key: &K, failed: bool) -> u32 {
        self.with(|queue| queue.count_failures(key, failed))
    }

    /// Ends a turn. The next one is at `next`, or earlier if it was asked for meanwhile.
    pub fn end(&self, key: &K, next: Option<Instant>) {
        self.with(|queue| queue.done(key, next));
        self.enqueued.notify_one();
    }

    /// Waits until no turn is due, looking that often.
    pub async fn caught_up(&self, look: Duration) {
        while self.with(|queue| queue.is_behind(instant())) {
            sleep(look).await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Queue<K>) -> T) -> T {
        act(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything that waits for its turn. What may wait for others has slots of its own, so that it holds up nothing else.
#[derive(Debug)]
pub struct Work {
    /// Turns that wait for nobody but the API server.
    pub short: Turns<Key>,
    /// Turns that may wait for others.
    pub long: Turns<Key>,
}

impl Work {
    /// So many turns of each sort at once. Of the long ones no key has more than `burst` at once, or more than one per
    /// `period` for long.
    pub fn new(slots: NonZeroUsize, period: Duration, burst: u32) -> Self {
        // With one slot, whoever holds it holds all.
        let long = Queue::of_long_turns(slots.get().max(2), period, burst);
        Self { short: Turns::new(Queue::of_short_turns(slots.get())), long: Turns::new(long) }
    }

    /// Enqueues a turn that is due now.
    pub fn enqueue(&self, key: Key, urgency: Urgency) {
        self.of(&key).enqueue(key, instant(), urgency);
    }

    /// Enqueues a turn that is due after a wait.
    pub fn enqueue_in(&self, wait: Duration, key: Key, urgency: Urgency) {
        let now = instant();
        self.of(&key).enqueue(key, now.checked_add(wait).unwrap_or(now), urgency);
    }

    /// The turns of the sort of a key.
    pub const fn of(&self, key: &Key) -> &Turns<Key> {
        if key.kind.waits { &self.long } else { &self.short }
    }
}
