//! How many slots a namespace may hold of a number that all share. Pure.
//! A namespace takes another slot only while it holds fewer than are free. Alone it holds half of them; of `n` that
//! all want more each comes to hold one part in `n + 1`, and the last part is free for whoever comes.

use std::collections::HashMap;

/// Slots, and who holds them.
#[derive(Debug)]
pub struct Shares {
    slots: usize,
    held: HashMap<String, usize>,
    taken: usize,
    is_fair: bool,
}

impl Shares {
    /// So many slots, shared between namespaces as above.
    pub fn fair(slots: usize) -> Self {
        Self { slots, held: HashMap::new(), taken: 0, is_fair: true }
    }

    /// So many slots for whoever comes first.
    pub fn open(slots: usize) -> Self {
        Self { is_fair: false, ..Self::fair(slots) }
    }

    /// Whether a namespace may take another slot.
    pub fn may(&self, namespace: &str) -> bool {
        let held = self.held.get(namespace).copied().unwrap_or_default();
        let free = self.slots.saturating_sub(self.taken);
        free > 0 && (!self.is_fair || held < free)
    }

    /// Takes a slot, if the namespace may.
    pub fn take(&mut self, namespace: &str) -> bool {
        if !self.may(namespace) {
            return false;
        }
        self.taken = self.taken.saturating_add(1);
        let held = self.held.entry(namespace.to_owned()).or_default();
        *held = held.saturating_add(1);
        true
    }

    /// Gives a slot back.
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

    /// How many slots each of these holds once they took turns to take as many as they could.
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
        // Two come one after the other: the first holds more than its part.
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
