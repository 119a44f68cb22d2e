//! What to reconcile next: every key once, now or later. Pure: time is an argument.
//!
//! Of what is due, urgent keys go first, and namespaces take turns; what has waited long goes in between, however much
//! is urgent. A key that is being worked on is never handed out twice; what arrives meanwhile waits for it.

mod budget;
mod lane;
mod shares;

pub use shares::Shares;

use budget::Budget;
use lane::Lane;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// After this long a key that is due goes in between more urgent ones. Longer than it takes to close a thousand
/// policies at once.
const LONG: Duration = Duration::from_secs(5);
/// One of so many turns goes to what has waited that long.
const IN_BETWEEN: u8 = 4;

/// What is worked on for somebody: those of one namespace share what a namespace may have.
pub trait Tenant {
    /// Whose it is.
    fn namespace(&self) -> &str;
}

/// How soon a key that is due gets its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// In the order of its time.
    Routine,
    /// Before routine: somebody waits for it.
    Urgent,
    /// Before everything else: something that is open may have to be closed.
    Closing,
}

/// When a key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    due: Instant,
    urgency: Urgency,
}

/// Keys with their turns.
#[derive(Debug)]
pub struct Queue<K> {
    turns: HashMap<K, Turn>,
    /// Turns whose time has not come.
    later: BTreeSet<(Instant, K)>,
    closing: Lane<K>,
    urgent: Lane<K>,
    routine: Lane<K>,
    running: HashSet<K>,
    /// What arrived for a key that is running.
    after: HashMap<K, Turn>,
    /// A key that failed is always tried again, so none is forgotten here.
    failures: HashMap<K, u32>,
    slots: Shares,
    budget: Option<Budget<K>>,
    /// Turns since the last one in between.
    since: u8,
}

impl<K: Clone + Eq + Hash + Ord + Tenant> Queue<K> {
    /// A queue whose turns are short: any key may have a free slot.
    pub fn of_short_turns(slots: usize) -> Self {
        Self::new(Shares::open(slots), None)
    }

    /// A queue whose turns wait for others: no namespace may hold all slots, and no key has more than one turn per
    /// `period` for long, or more than `burst` at once.
    pub fn of_long_turns(slots: usize, period: Duration, burst: u32) -> Self {
        Self::new(Shares::fair(slots), Some(Budget::new(period, burst)))
    }

    fn new(slots: Shares, budget: Option<Budget<K>>) -> Self {
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
            budget,
            since: 0,
        }
    }

    /// Enqueues a turn that is due at `due`; of several requests the earliest and the most urgent count.
    pub fn add(&mut self, key: K, due: Instant, urgency: Urgency) {
        let turn = Turn { due, urgency };
        if self.running.contains(&key) {
            let merged = self.after.get(&key).map_or(turn, |waiting| waiting.merged(turn));
            self.after.insert(key, merged);
            return;
        }
        let earliest = self.budget.as_ref().map_or(due, |budget| budget.earliest(&key, due));
        let turn = Turn { due: earliest, urgency };
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
                    // It is due already: only another lane would change that.
                    let merged = Turn { due: waiting.due, ..merged };
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

    /// The next key whose turn has come, now running until [`Queue::done`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        self.wake(now);
        let key = self.in_between(now).or_else(|| self.most_urgent())?;
        self.turns.remove(&key);
        self.slots.take(key.namespace());
        if let Some(budget) = &mut self.budget {
            budget.spend(&key, now);
        }
        self.running.insert(key.clone());
        Some(key)
    }

    /// Ends the run of `key`. Its next turn is `next`, or earlier if it was asked for meanwhile.
    pub fn done(&mut self, key: &K, next: Option<Instant>) {
        if self.running.remove(key) {
            self.slots.give(key.namespace());
        }
        if let Some(due) = next {
            self.add(key.clone(), due, Urgency::Routine);
        }
        if let Some(turn) = self.after.remove(key) {
            self.add(key.clone(), turn.due, turn.urgency);
        }
    }

    /// Counts how often a key failed in a row; success starts from nought.
    pub fn count_failures(&mut self, key: &K, failed: bool) -> u32 {
        if !failed {
            self.failures.remove(key);
            return 0;
        }
        let count = self.failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// When the next turn comes whose time has not come yet.
    pub fn next_later(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    /// Whether some turn is due.
    pub fn is_behind(&self, now: Instant) -> bool {
        [&self.closing, &self.urgent, &self.routine].iter().any(|lane| !lane.is_empty())
            || self.next_later().is_some_and(|due| due <= now)
    }

    /// Moves what has become due into its lane.
    fn wake(&mut self, now: Instant) {
        while self.next_later().is_some_and(|due| due <= now) {
            let Some((due, key)) = self.later.pop_first() else { return };
            let urgency = self.turns.get(&key).map_or(Urgency::Routine, |turn| turn.urgency);
            self.lane(urgency).insert(due, key);
        }
    }

    /// The key that is due for longest, if that is long and nothing has gone in between for a while.
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

impl Turn {
    fn merged(self, other: Self) -> Self {
        Self { due: self.due.min(other.due), urgency: self.urgency.max(other.urgency) }
    }
}

#[cfg(test)]
mod tests;
