//! Keys whose time has come, of one urgency: namespaces take turns, and the keys of one go in the order of their time.
//! A namespace that asks for a thousand turns is as far from its next one as one that asks for two.

use super::Tenant;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// Keys that are due.
#[derive(Debug)]
pub(super) struct Lane<K> {
    /// Namespaces in the order in which they take turns, by a number that only grows.
    order: BTreeMap<u64, String>,
    waiting: HashMap<String, Waiting<K>>,
    next: u64,
}

/// What waits of one namespace.
#[derive(Debug)]
struct Waiting<K> {
    position: u64,
    keys: BTreeSet<(Instant, K)>,
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), waiting: HashMap::new(), next: 0 }
    }
}

impl<K: Clone + Ord + Tenant> Lane<K> {
    /// Adds a key. Its namespace keeps its place among the others, or comes last.
    pub(super) fn insert(&mut self, due: Instant, key: K) {
        let namespace = key.namespace().to_owned();
        if let Some(waiting) = self.waiting.get_mut(&namespace) {
            waiting.keys.insert((due, key));
            return;
        }
        let position = self.line_up(namespace.clone());
        self.waiting.insert(namespace, Waiting { position, keys: BTreeSet::from([(due, key)]) });
    }

    /// Takes a key away.
    pub(super) fn remove(&mut self, due: Instant, key: &K) {
        let Some(waiting) = self.waiting.get_mut(key.namespace()) else { return };
        waiting.keys.remove(&(due, key.clone()));
        if waiting.keys.is_empty() {
            self.order.remove(&waiting.position);
            self.waiting.remove(key.namespace());
        }
    }

    /// The next key of the first namespace in line that `may` have a turn; that namespace then comes last.
    pub(super) fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<K> {
        let namespace = self.order.values().find(|namespace| may(namespace))?.clone();
        let (_, key) = self.waiting.get_mut(&namespace)?.keys.pop_first()?;
        let waiting = self.waiting.remove(&namespace)?;
        self.order.remove(&waiting.position);
        if !waiting.keys.is_empty() {
            let position = self.line_up(namespace.clone());
            self.waiting.insert(namespace, Waiting { position, ..waiting });
        }
        Some(key)
    }

    /// The key that waits longest among those whose namespace `may` have a turn.
    pub(super) fn oldest(&self, may: impl Fn(&str) -> bool) -> Option<(Instant, K)> {
        let firsts = self.waiting.iter().filter(|(namespace, _)| may(namespace));
        firsts.filter_map(|(_, waiting)| waiting.keys.first()).min().cloned()
    }

    /// Whether nothing is due.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn line_up(&mut self, namespace: String) -> u64 {
        let position = self.next;
        self.next = position.saturating_add(1);
        self.order.insert(position, namespace);
        position
    }
}
