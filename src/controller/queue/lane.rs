//! Due keys of one urgency: namespaces alternate, and the keys of one namespace run in order of their due time.
//! A namespace with a thousand due keys waits as long for its next turn as a namespace with two.

use super::tenant::Tenant;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// Lane of due keys, fair between namespaces.
#[derive(Debug)]
pub(super) struct Lane<K> {
    /// Namespaces in order of their next turn, by a number that only grows.
    order: BTreeMap<u64, String>,
    waiting: HashMap<String, Queued<K>>,
    next: u64,
}

/// Due keys of one namespace.
#[derive(Debug)]
struct Queued<K> {
    position: u64,
    keys: BTreeSet<(Instant, K)>,
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), waiting: HashMap::new(), next: 0 }
    }
}

impl<K: Clone + Ord + Tenant> Lane<K> {
    /// Adds a key. A namespace with due keys keeps its position; a new one comes last.
    pub(super) fn insert(&mut self, due: Instant, key: K) {
        let namespace = key.namespace().to_owned();
        if let Some(waiting) = self.waiting.get_mut(&namespace) {
            waiting.keys.insert((due, key));
            return;
        }
        let position = self.line_up(namespace.clone());
        self.waiting.insert(namespace, Queued { position, keys: BTreeSet::from([(due, key)]) });
    }

    /// Removes a key that was inserted with `due`.
    pub(super) fn remove(&mut self, due: Instant, key: &K) {
        let Some(waiting) = self.waiting.get_mut(key.namespace()) else { return };
        waiting.keys.remove(&(due, key.clone()));
        if waiting.keys.is_empty() {
            self.order.remove(&waiting.position);
            self.waiting.remove(key.namespace());
        }
    }

    /// Removes the next key of the first namespace that `may` have a turn, and moves that namespace to the end.
    pub(super) fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<K> {
        let namespace = self.order.values().find(|namespace| may(namespace))?.clone();
        let (_, key) = self.waiting.get_mut(&namespace)?.keys.pop_first()?;
        let waiting = self.waiting.remove(&namespace)?;
        self.order.remove(&waiting.position);
        if !waiting.keys.is_empty() {
            let position = self.line_up(namespace.clone());
            self.waiting.insert(namespace, Queued { position, ..waiting });
        }
        Some(key)
    }

    /// Key with the earliest due time whose namespace `may` have a turn.
    pub(super) fn oldest(&self, may: impl Fn(&str) -> bool) -> Option<(Instant, K)> {
        let firsts = self.waiting.iter().filter(|(namespace, _)| may(namespace));
        firsts.filter_map(|(_, waiting)| waiting.keys.first()).min().cloned()
    }

    /// True if no key is due.
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
