//! Work queue of keys, each at most once. Pure: time is an argument.
//!
//! Of due keys, urgent ones run first, and namespaces alternate; keys that have waited long run in between, whatever
//! is urgent. A running key is never handed out twice; requests that arrive meanwhile wait for its end.

mod lane;
mod shares;
mod tenant;
mod token_bucket;

pub use shares::Shares;
pub use tenant::Tenant;

use super::failure::Class;
use lane::Lane;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::{Duration, Instant};
use token_bucket::TokenBuckets;

/// Wait after which a due key runs in between more urgent ones; longer than closing a thousand policies takes.
const LONG: Duration = Duration::from_secs(5);
/// Ratio of turns for keys that have waited [`LONG`]: one of this many.
const IN_BETWEEN: u8 = 4;

/// Urgency of a due key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Runs in order of its due time.
    Routine,
    /// Runs before routine keys, because a change waits for it.
    Urgent,
    /// Runs first, because open access may have to be closed.
    Closing,
}

/// Due time and urgency of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    due: Instant,
    urgency: Urgency,
}

/// Queue of keys with due times and urgencies.
#[derive(Debug)]
pub struct Queue<K> {
    turns: HashMap<K, Request>,
    /// Turns that are not due yet, in order of time.
    later: BTreeSet<(Instant, K)>,
    closing: Lane<K>,
    urgent: Lane<K>,
    routine: Lane<K>,
    running: HashSet<K>,
    /// Turns that were enqueued for running keys.
    after: HashMap<K, Request>,
    /// Failures since the last success, by key and class. A failed key always runs again, so that success removes every
    /// entry.
    failures: HashMap<K, BTreeMap<Class, u32>>,
    slots: Shares,
    buckets: Option<TokenBuckets<K>>,
    /// Turns since the last one that went to a key that had waited long.
    since: u8,
}

impl<K: Clone + Eq + Hash + Ord + Tenant> Queue<K> {
    /// Queue for short turns: any namespace may take any free slot.
    pub fn of_short_turns(slots: usize) -> Self {
        Self::new(Shares::open(slots), None)
    }

    /// Queue for turns that wait for other servers: no namespace may hold all slots, and no key has more than `burst`
    /// turns at once or, over time, one per `period`.
    pub fn of_long_turns(slots: usize, period: Duration, burst: u32) -> Self {
        Self::new(Shares::fair(slots), Some(TokenBuckets::new(period, burst)))
    }

    fn new(slots: Shares, buckets: Option<TokenBuckets<K>>) -> Self {
        Self {
            turns: HashMap::new(),
            later: BTreeSet::new(),
            closing: Lane::default(),
            urgent: Lane::default(),
            routine: Lane::default(),
            running: HashSet::new(),
            after: HashMap::new(),
            failures: HashMap::new(),
            slots,
            buckets,
            since: 0,
        }
    }

    /// Enqueues a turn at `due`; of several requests for one key, the earliest time and highest urgency count.
    pub fn add(&mut self, key: K, due: Instant, urgency: Urgency) {
        let turn = Request { due, urgency };
        if self.running.contains(&key) {
            let merged = self.after.get(&key).map_or(turn, |waiting| waiting.merged(turn));
            self.after.insert(key, merged);
            return;
        }
        let earliest = self.buckets.as_ref().map_or(due, |buckets| buckets.earliest(&key, due));
        let turn = Request { due: earliest, urgency };
        match self.turns.get(&key).copied() {
            None => {
                self.later.insert((turn.due, key.clone()));
                self.turns.insert(key, turn);
            }
            Some(waiting) => {
                let merged = waiting.merged(turn);
                if self.later.remove(&(waiting.due, key.clone())) {
                    self.later.insert((merged.due, key.clone()));
                } else {
                    // The key is due already, so only a higher urgency can move it.
                    let merged = Request { due: waiting.due, ..merged };
                    if merged.urgency != waiting.urgency {
                        self.lane(waiting.urgency).remove(waiting.due, &key);
                        self.lane(merged.urgency).insert(merged.due, key.clone());
                    }
                    self.turns.insert(key, merged);
                    return;
                }
                self.turns.insert(key, merged);
            }
        }
    }

    /// Takes the next due key, which runs until [`Queue::done`], with the urgency that it was enqueued with.
    pub fn take(&mut self, now: Instant) -> Option<(K, Urgency)> {
        self.wake(now);
        let key = self.in_between(now).or_else(|| self.most_urgent())?;
        let urgency = self.turns.remove(&key).map_or(Urgency::Routine, |turn| turn.urgency);
        self.slots.take(key.namespace());
        if let Some(buckets) = &mut self.buckets {
            buckets.spend(&key, now);
        }
        self.running.insert(key.clone());
        Some((key, urgency))
    }

    /// Ends the run of `key`. The next turn is at `next`, with that urgency, or earlier if one was enqueued meanwhile.
    pub fn done(&mut self, key: &K, next: Option<(Instant, Urgency)>) {
        if self.running.remove(key) {
            self.slots.give(key.namespace());
        }
        if let Some((due, urgency)) = next {
            self.add(key.clone(), due, urgency);
        }
        if let Some(turn) = self.after.remove(key) {
            self.add(key.clone(), turn.due, turn.urgency);
        }
    }

    /// Ends the run of a key that did not begin: the turn is not charged, and comes again only when enqueued again.
    pub fn give_back(&mut self, key: &K) {
        if let Some(buckets) = &mut self.buckets {
            buckets.refund(key);
        }
        self.done(key, None);
    }

    /// Counts failures of a key by class, so that many of one class do not lengthen the waits of another; a success, which
    /// has none, resets all counts to 0.
    pub fn count_failures(&mut self, key: &K, failed: Option<Class>) -> u32 {
        let Some(class) = failed else {
            self.failures.remove(key);
            return 0;
        };
        let count = self.failures.entry(key.clone()).or_default().entry(class).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Time of the first turn that is not due yet.
    pub fn next_later(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    /// True if some turn is due.
    pub fn is_behind(&self, now: Instant) -> bool {
        [&self.closing, &self.urgent, &self.routine].iter().any(|lane| !lane.is_empty())
            || self.next_later().is_some_and(|due| due <= now)
    }

    /// Moves turns that have become due into their lanes.
    fn wake(&mut self, now: Instant) {
        while self.next_later().is_some_and(|due| due <= now) {
            let Some((due, key)) = self.later.pop_first() else { return };
            let urgency = self.turns.get(&key).map_or(Urgency::Routine, |turn| turn.urgency);
            self.lane(urgency).insert(due, key);
        }
    }

    /// Key that has waited longest, if for at least [`LONG`], in one of [`IN_BETWEEN`] turns.
    fn in_between(&mut self, now: Instant) -> Option<K> {
        self.since = self.since.saturating_add(1);
        if self.since < IN_BETWEEN {
            return None;
        }
        self.since = 0;
        let oldest = {
            let may = |namespace: &str| self.slots.may(namespace);
            [&self.urgent, &self.routine].iter().filter_map(|lane| lane.oldest(may)).min()
        };
        let (due, key) = oldest.filter(|(due, _)| now.saturating_duration_since(*due) >= LONG)?;
        let urgency = self.turns.get(&key)?.urgency;
        self.lane(urgency).remove(due, &key);
        Some(key)
    }

    fn most_urgent(&mut self) -> Option<K> {
        let slots = &self.slots;
        let may = |namespace: &str| slots.may(namespace);
        let lanes = [&mut self.closing, &mut self.urgent, &mut self.routine];
        lanes.into_iter().find_map(|lane| lane.pop(may))
    }

    const fn lane(&mut self, urgency: Urgency) -> &mut Lane<K> {
        match urgency {
            Urgency::Closing => &mut self.closing,
            Urgency::Urgent => &mut self.urgent,
            Urgency::Routine => &mut self.routine,
        }
    }
}

impl Request {
    fn merged(self, other: Self) -> Self {
        Self { due: self.due.min(other.due), urgency: self.urgency.max(other.urgency) }
    }
}

#[cfg(test)]
mod tests;
