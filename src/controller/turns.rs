//! Shared queue: any task enqueues, and one task takes the turns.
//! Each call of enqueue wakes the task that takes turns.

use super::failure::Class;
use super::key::Key;
use super::queue::{Queue, Tenant, Urgency};
use countersign_io::clock::instant;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout_at};

/// Shared queue of turns.
#[derive(Debug)]
pub struct Turns<K> {
    queue: Mutex<Queue<K>>,
    enqueued: Notify,
}

impl<K: Clone + Ord + Hash + Tenant> Turns<K> {
    /// Shared form of a queue.
    pub fn new(queue: Queue<K>) -> Self {
        Self { queue: Mutex::new(queue), enqueued: Notify::new() }
    }

    /// Enqueues a turn of `key` at `due`.
    pub fn enqueue(&self, key: K, due: Instant, urgency: Urgency) {
        self.with(|queue| queue.add(key, due, urgency));
        self.enqueued.notify_one();
    }

    /// Waits for the next turn, which lasts until [`Turns::end`], and its urgency.
    pub async fn next(&self) -> (K, Urgency) {
        loop {
            let enqueued = self.enqueued.notified();
            let (turn, later) = self.with(|queue| (queue.take(instant()), queue.next_later()));
            match (turn, later) {
                (Some(turn), _) => return turn,
                // A timeout means that a turn is due; the loop takes it.
                (None, Some(due)) => drop(timeout_at(due.into(), enqueued).await),
                (None, None) => enqueued.await,
            }
        }
    }

    /// Counts failures of a key, by [`Queue::count_failures`].
    pub fn count_failures(&self, key: &K, failed: Option<Class>) -> u32 {
        self.with(|queue| queue.count_failures(key, failed))
    }

    /// Ends a turn. The next turn is at `next`, with that urgency, or earlier if one was enqueued meanwhile.
    pub fn end(&self, key: &K, next: Option<(Instant, Urgency)>) {
        self.with(|queue| queue.done(key, next));
        self.enqueued.notify_one();
    }

    /// Ends a turn that did not begin; it is not charged.
    pub(crate) fn give_back(&self, key: &K) {
        self.with(|queue| queue.give_back(key));
        self.enqueued.notify_one();
    }

    /// Waits until no turn is due, checking once per `period`.
    pub async fn caught_up(&self, period: Duration) {
        while self.with(|queue| queue.is_behind(instant())) {
            sleep(period).await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Queue<K>) -> T) -> T {
        act(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Queues of all turns. Turns that wait for other servers have slots of their own, so that they delay no short turn.
#[derive(Debug)]
pub struct Work {
    /// Turns that wait for the API server alone.
    pub short: Turns<Key>,
    /// Turns that may wait for other servers.
    pub long: Turns<Key>,
    is_paused: AtomicBool,
}

impl Work {
    /// Queues with `slots` slots each. Long turns of one key are limited to `burst` at once and, over time, one per
    /// `period`.
    pub fn new(slots: NonZeroUsize, period: Duration, burst: u32) -> Self {
        // Fair shares need two slots: of one, any namespace would hold all.
        let long = Queue::of_long_turns(slots.get().max(2), period, burst);
        let short = Queue::of_short_turns(slots.get());
        Self { short: Turns::new(short), long: Turns::new(long), is_paused: AtomicBool::new(false) }
    }

    /// Queues as [`Work::new`] makes them, which stay empty until [`Work::resume`]: a replica that watches and does not
    /// act would otherwise keep a key for every object that ever was.
    pub fn paused(slots: NonZeroUsize, period: Duration, burst: u32) -> Self {
        Self { is_paused: AtomicBool::new(true), ..Self::new(slots, period, burst) }
    }

    /// Lets keys in. What changed before is enqueued by the caller, who knows the objects.
    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Release);
    }

    /// Enqueues a turn of `key` that is due now.
    pub fn enqueue(&self, key: Key, urgency: Urgency) {
        self.enqueue_in(Duration::ZERO, key, urgency);
    }

    /// Enqueues a turn of `key` that is due after `wait`.
    pub fn enqueue_in(&self, wait: Duration, key: Key, urgency: Urgency) {
        if self.is_paused.load(Ordering::Acquire) {
            return;
        }
        let now = instant();
        self.of(&key).enqueue(key, now.checked_add(wait).unwrap_or(now), urgency);
    }

    /// Queue that a key belongs to.
    pub const fn of(&self, key: &Key) -> &Turns<Key> {
        if key.reconciler.waits { &self.long } else { &self.short }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Reconciler;
    use countersign_api::ObjectRef;

    static TOY: Reconciler = Reconciler { name: "toy", controller: "toy", waits: false };

    #[tokio::test]
    async fn a_paused_queue_keeps_nothing_and_lets_everything_in_once_resumed() {
        let work = Work::paused(NonZeroUsize::MIN, Duration::from_secs(1), 5);
        let key = |name: &str| Key { reconciler: &TOY, object: ObjectRef::new("team", name) };
        for number in 0..100 {
            work.enqueue(key(&number.to_string()), Urgency::Closing);
            work.enqueue_in(Duration::from_hours(1), key("later"), Urgency::Routine);
        }
        assert!(work.short.with(|queue| queue.next_later().is_none() && !queue.is_behind(instant())));
        work.resume();
        work.enqueue(key("one"), Urgency::Routine);
        assert_eq!(work.short.next().await, (key("one"), Urgency::Routine));
    }
}
