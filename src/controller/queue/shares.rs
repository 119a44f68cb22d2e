//! Slots that namespaces share. Pure.
//! A namespace takes another slot only while it holds fewer than are free. A single namespace holds half of them;
//! `n` greedy namespaces hold one part in `n + 1` each, and the last part stays free for newcomers.

use std::collections::HashMap;

/// Slots with the namespaces that hold them.
#[derive(Debug)]
pub struct Shares {
    slots: usize,
    held: HashMap<String, usize>,
    taken: usize,
    is_fair: bool,
}

impl Shares {
    /// Slots of which no namespace may hold all.
    pub fn fair(slots: usize) -> Self {
        Self { slots, held: HashMap::new(), taken: 0, is_fair: true }
    }

    /// Slots that go to whichever namespace comes first.
    pub fn open(slots: usize) -> Self {
        Self { is_fair: false, ..Self::fair(slots) }
    }

    /// True if a namespace may take another slot.
    pub fn may(&self, namespace: &str) -> bool {
        let held = self.held.get(namespace).copied().unwrap_or_default();
        let free = self.slots.saturating_sub(self.taken);
        free > 0 && (!self.is_fair || held < free)
    }

    /// Takes a slot for a namespace; false if it may not have one now.
    pub fn take(&mut self, namespace: &str) -> bool {
        if !self.may(namespace) {
            return false;
        }
        self.taken = self.taken.saturating_add(1);
        let held = self.held.entry(namespace.to_owned()).or_default();
        *held = held.saturating_add(1);
        true
    }

    /// Returns a slot of a namespace; no effect if the namespace holds none.
    pub fn give(&mut self, namespace: &str) {
        let Some(held) = self.held.get_mut(namespace) else { return };
        self.taken = self.taken.saturating_sub(1);
        *held = held.saturating_sub(1);
        if *held == 0 {
            self.held.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots held by each namespace after all took as many as they could, in turns.
    fn greedy(slots: usize, namespaces: usize) -> Vec<usize> {
        let mut shares = Shares::fair(slots);
        let names: Vec<String> = (0..namespaces).map(|number| number.to_string()).collect();
        while names.iter().filter(|name| shares.take(name)).count() > 0 {}
        names.iter().map(|name| shares.held.get(name).copied().unwrap_or_default()).collect()
    }

    #[test]
    fn whoever_comes_gets_a_slot_at_once_however_greedy_the_others_are() {
        for slots in 2..40 {
            for greedy_ones in 1..slots {
                let held = greedy(slots, greedy_ones);
                assert!(held.iter().all(|held| *held > 0), "{slots} slots: {held:?}");
                assert!(held.iter().sum::<usize>() < slots, "{slots} slots: {held:?}");
            }
        }
        assert_eq!(greedy(16, 1), [8]);
        assert_eq!(greedy(16, 3), [4, 4, 4]);
    }

    #[test]
    fn a_slot_that_is_given_back_goes_to_who_has_none() {
        let mut shares = Shares::fair(4);
        // The first namespace holds more than its part, because it came alone.
        assert!(shares.take("first") && shares.take("first") && !shares.take("first"));
        assert!(shares.take("second") && !shares.take("second"));
        assert!(shares.take("third") && !shares.may("fourth"));
        shares.give("first");
        assert!(!shares.may("first") && shares.take("fourth"));
        for namespace in ["first", "second", "third", "fourth", "nobody"] {
            shares.give(namespace);
        }
        assert!(shares.held.is_empty() && shares.taken == 0);
    }

    #[test]
    fn slots_that_are_open_go_to_whoever_comes_first() {
        let mut shares = Shares::open(2);
        assert!(shares.take("one") && shares.take("one") && !shares.take("two"));
    }
}
