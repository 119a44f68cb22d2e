//! What to reconcile next: every key once, now or later, urgent keys first. Pure: time is an argument.
//! A key that is being worked on is never handed out twice; what arrives meanwhile waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::Instant;

/// How soon a key that is due gets its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// In the order of its time.
    Routine,
    /// Before routine: somebody waits for it.
    Urgent,
    /// Before everything else: something that is open may have to be closed.
    Closing,
}

/// The order in which lanes are looked at.
const LANES: [Urgency; 3] = [Urgency::Closing, Urgency::Urgent, Urgency::Routine];

/// When a key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    due: Instant,
    urgency: Urgency,
}

/// Keys with their turns.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    turns: HashMap<K, Turn>,
    lanes: BTreeMap<Urgency, BTreeSet<(Instant, K)>>,
    running: HashSet<K>,
    /// What arrived for a key that is running.
    after: HashMap<K, Turn>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Ord> Default for Queue<K> {
    fn default() -> Self {
        Self {
            turns: HashMap::new(),
            lanes: BTreeMap::new(),
            running: HashSet::new(),
            after: HashMap::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Asks for a turn at `due`; of several requests the earliest and the most urgent count.
    pub(crate) fn add(&mut self, key: K, due: Instant, urgency: Urgency) {
        let turn = Turn { due, urgency };
        if self.running.contains(&key) {
            let merged = self.after.get(&key).map_or(turn, |waiting| waiting.merged(turn));
            self.after.insert(key, merged);
            return;
        }
        let merged = match self.turns.get(&key).copied() {
            Some(waiting) => {
                self.lane(waiting.urgency).remove(&(waiting.due, key.clone()));
                waiting.merged(turn)
            }
            None => turn,
        };
        self.lane(merged.urgency).insert((merged.due, key.clone()));
        self.turns.insert(key, merged);
    }

    /// The next key whose turn has come, now running until [`Queue::done`].
    pub(crate) fn take(&mut self, now: Instant) -> Option<K> {
        let (_, key) = LANES.iter().find_map(|urgency| {
            let lane = self.lanes.get_mut(urgency)?;
            lane.first().is_some_and(|(due, _)| *due <= now).then(|| lane.pop_first())?
        })?;
        self.turns.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// Ends the run of `key`. Its next turn is `next`, or earlier if it was asked for meanwhile.
    pub(crate) fn done(&mut self, key: &K, next: Option<Instant>) {
        self.running.remove(key);
        if let Some(due) = next {
            self.add(key.clone(), due, Urgency::Routine);
        }
        if let Some(turn) = self.after.remove(key) {
            self.add(key.clone(), turn.due, turn.urgency);
        }
    }

    /// Counts how often a key failed in a row; success starts from nought.
    pub(crate) fn count_failures(&mut self, key: &K, failed: bool) -> u32 {
        if !failed {
            self.failures.remove(key);
            return 0;
        }
        let count = self.failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// When the next turn comes.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.first().map(|(due, _)| *due)).min()
    }

    fn lane(&mut self, urgency: Urgency) -> &mut BTreeSet<(Instant, K)> {
        self.lanes.entry(urgency).or_default()
    }
}

impl Turn {
    fn merged(self, other: Self) -> Self {
        Self { due: self.due.min(other.due), urgency: self.urgency.max(other.urgency) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::clock::instant;
    use std::time::Duration;

    fn at(start: Instant, seconds: u64) -> Instant {
        start.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_key_asked_for_many_times_gets_one_turn_at_the_earliest_time() {
        let (mut queue, now) = (Queue::default(), instant());
        queue.add("a", at(now, 9), Urgency::Routine);
        queue.add("a", at(now, 2), Urgency::Routine);
        queue.add("a", at(now, 5), Urgency::Routine);
        assert_eq!(queue.next_due(), Some(at(now, 2)));
        assert_eq!(queue.take(at(now, 1)), None);
        assert_eq!(queue.take(at(now, 2)), Some("a"));
        assert_eq!(queue.take(at(now, 9)), None);
    }

    #[test]
    fn urgent_keys_overtake_those_that_waited_longer() {
        let (mut queue, now) = (Queue::default(), instant());
        queue.add("routine", now, Urgency::Routine);
        queue.add("ask", at(now, 1), Urgency::Urgent);
        queue.add("close", at(now, 2), Urgency::Closing);
        assert_eq!(queue.take(at(now, 2)), Some("close"));
        assert_eq!(queue.take(at(now, 2)), Some("ask"));
        assert_eq!(queue.take(at(now, 2)), Some("routine"));
    }

    #[test]
    fn a_key_never_runs_twice_at_once_and_nothing_asked_for_meanwhile_is_lost() {
        let (mut queue, now) = (Queue::default(), instant());
        queue.add("a", now, Urgency::Routine);
        assert_eq!(queue.take(now), Some("a"));
        queue.add("a", now, Urgency::Urgent);
        assert_eq!(queue.take(now), None);
        queue.done(&"a", Some(at(now, 30)));
        assert_eq!(queue.take(now), Some("a"));
        queue.done(&"a", Some(at(now, 30)));
        assert_eq!(queue.next_due(), Some(at(now, 30)));
    }

    #[test]
    fn a_busy_key_does_not_keep_the_others_waiting() {
        let (mut queue, now) = (Queue::default(), instant());
        for key in 0..50 {
            queue.add(key, now, Urgency::Routine);
        }
        let mut seen = BTreeSet::new();
        // Every run of key 0 asks for another one, as a key that touches its own object would.
        for turn in 0..51 {
            let key = queue.take(at(now, turn)).unwrap();
            seen.insert(key);
            queue.done(&key, (key == 0).then(|| at(now, turn)));
        }
        assert_eq!(seen.len(), 50);
    }
}
