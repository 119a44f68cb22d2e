//! A queue that is asked from everywhere, and what waits for its next turn.
//! One task takes turns; whoever asks for one wakes it.

use super::key::Key;
use super::queue::{Queue, Urgency};
use crate::io::clock::instant;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout_at};

/// Turns of one kind.
#[derive(Debug)]
pub(crate) struct Turns {
    queue: Mutex<Queue<Key>>,
    asked: Notify,
}

impl Turns {
    /// The turns of a queue.
    pub(crate) fn new(queue: Queue<Key>) -> Self {
        Self { queue: Mutex::new(queue), asked: Notify::new() }
    }

    /// Asks for a turn at `due`.
    pub(crate) fn ask(&self, key: Key, due: Instant, urgency: Urgency) {
        self.with(|queue| queue.add(key, due, urgency));
        self.asked.notify_one();
    }

    /// Waits for the next turn. It lasts until [`Turns::end`].
    pub(crate) async fn next(&self) -> Key {
        loop {
            let asked = self.asked.notified();
            let (key, later) = self.with(|queue| (queue.take(instant()), queue.next_later()));
            match (key, later) {
                (Some(key), _) => return key,
                // Waiting no longer is all that the end of the time means.
                (None, Some(due)) => drop(timeout_at(due.into(), asked).await),
                (None, None) => asked.await,
            }
        }
    }

    /// Counts how often a key failed in a row.
    pub(crate) fn count_failures(&self, key: &Key, failed: bool) -> u32 {
        self.with(|queue| queue.count_failures(key, failed))
    }

    /// Ends a turn. The next one is at `next`, or earlier if it was asked for meanwhile.
    pub(crate) fn end(&self, key: &Key, next: Option<Instant>) {
        self.with(|queue| queue.done(key, next));
        self.asked.notify_one();
    }

    /// Waits until no turn is due, looking that often.
    pub(crate) async fn caught_up(&self, look: Duration) {
        while self.with(|queue| queue.is_behind(instant())) {
            sleep(look).await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Queue<Key>) -> T) -> T {
        act(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
