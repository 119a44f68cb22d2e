//! What a watch last said about objects of one kind, cut down to what is needed of them.
//! Ordered by namespace and name, so that the objects of one namespace are a range.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Namespace and name of an object.
pub(crate) type Place = (String, String);

/// Objects of one kind.
#[derive(Debug)]
pub(crate) struct Store<V> {
    objects: RwLock<BTreeMap<Place, V>>,
    synced: AtomicBool,
}

impl<V> Default for Store<V> {
    fn default() -> Self {
        Self { objects: RwLock::new(BTreeMap::new()), synced: AtomicBool::new(false) }
    }
}

impl<V: Clone> Store<V> {
    /// What is known of an object.
    pub(crate) fn get(&self, place: &Place) -> Option<V> {
        self.read().get(place).cloned()
    }

    /// What `pick` finds in the objects of a namespace, in the order of their names.
    pub(crate) fn pick<T>(&self, namespace: &str, mut pick: impl FnMut(&Place, &V) -> Option<T>) -> Vec<T> {
        of_namespace(&self.read(), namespace).filter_map(|(place, value)| pick(place, value)).collect()
    }

    /// Where the first object of a namespace is that `wanted` accepts, in the order of names.
    pub(crate) fn find(&self, namespace: &str, mut wanted: impl FnMut(&V) -> bool) -> Option<Place> {
        of_namespace(&self.read(), namespace).find(|(_, value)| wanted(value)).map(|(place, _)| place.clone())
    }

    /// All places.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.read().keys().cloned().collect()
    }

    /// Keeps a value; returns the one before.
    pub(crate) fn insert(&self, place: Place, value: V) -> Option<V> {
        self.write().insert(place, value)
    }

    /// Keeps a value that nothing is known of yet. What a watch has said meanwhile is newer.
    pub(crate) fn insert_new(&self, place: Place, value: V) {
        self.write().entry(place).or_insert(value);
    }

    /// Drops an object; returns what was known of it.
    pub(crate) fn remove(&self, place: &Place) -> Option<V> {
        self.write().remove(place)
    }

    /// True once the first complete list was read.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    // A panic while the lock was held cannot leave a map half written: each write is one call.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Place, V>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Place, V>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The objects of a namespace, in the order of their names.
fn of_namespace<'a, V>(
    objects: &'a BTreeMap<Place, V>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Place, &'a V)> {
    let start = (namespace.to_owned(), String::new());
    objects
        .range((Bound::Included(start), Bound::Unbounded))
        .take_while(move |((found, _), _)| found == namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_read_without_its_neighbours() {
        let store = Store::default();
        for (namespace, name) in [("a", "z"), ("team", "one"), ("team", "two"), ("team-b", "three")] {
            store.insert((namespace.to_owned(), name.to_owned()), name.to_owned());
        }
        assert_eq!(store.pick("team", |_, value| Some(value.clone())), ["one", "two"]);
        assert!(store.pick("tea", |_, value| Some(value.clone())).is_empty());
    }
}
