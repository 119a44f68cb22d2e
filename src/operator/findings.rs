//! What turns found last about things that other turns show, until a restart.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Last finding about each thing that has one.
#[derive(Debug)]
pub(crate) struct Findings<K, V>(Mutex<BTreeMap<K, V>>);

impl<K, V> Default for Findings<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord, V: Clone + PartialEq> Findings<K, V> {
    /// Last finding; `None` until there is one.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.lock().get(key).cloned()
    }

    /// Stores a finding; true if it is another one than before.
    pub(crate) fn set(&self, key: K, value: V) -> bool {
        let mut all = self.lock();
        if all.get(&key) == Some(&value) {
            return false;
        }
        all.insert(key, value);
        true
    }

    /// Forgets a thing that is gone.
    pub(crate) fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
