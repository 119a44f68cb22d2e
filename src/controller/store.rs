//! Stores of observed objects, one per kind, reduced to the fields in use.
//! Objects are ordered by namespace and name, so that a namespace is a range; secondary keys find objects by a field
//! without a scan.

use countersign_api::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Change of one object.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a, V> {
    /// Reference to the changed object.
    pub object: &'a ObjectRef,
    /// Previous value; `None` for a new object.
    pub before: Option<&'a V>,
    /// Current value; `None` for a removed object.
    pub after: Option<&'a V>,
}

/// Sort of a secondary key, with namespace, key and object name in one text: an entry is kept for every object.
type KeyEntry<B> = (B, Box<str>);
type Subscriber<V> = Box<dyn Fn(&Change<'_, V>) + Send + Sync>;

/// Store of the objects of one kind, with secondary keys of the sorts `B`.
pub struct Store<V, B = Infallible> {
    objects: RwLock<Objects<V, B>>,
    keys_of: fn(&V) -> Vec<(B, String)>,
    synced: AtomicBool,
    absent: AtomicBool,
    subscribers: RwLock<Vec<Subscriber<V>>>,
}

impl<V, B> fmt::Debug for Store<V, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("synced", &self.synced).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Objects<V, B> {
    /// Boxed, because a node of the map has room for more values than it holds.
    by_object: BTreeMap<ObjectRef, Box<V>>,
    /// Objects by secondary key.
    by_key: BTreeSet<KeyEntry<B>>,
    /// Number of removed objects by namespace, so that nobody's removals concern other namespaces.
    removals: BTreeMap<String, u64>,
}

impl<V> Default for Store<V> {
    fn default() -> Self {
        Self::indexed(|_| Vec::new())
    }
}

impl<V, B> Store<V, B> {
    /// Empty store with the secondary keys that `keys_of` derives.
    pub const fn indexed(keys_of: fn(&V) -> Vec<(B, String)>) -> Self {
        let objects =
            Objects { by_object: BTreeMap::new(), by_key: BTreeSet::new(), removals: BTreeMap::new() };
        Self {
            objects: RwLock::new(objects),
            keys_of,
            synced: AtomicBool::new(false),
            absent: AtomicBool::new(false),
            subscribers: RwLock::new(Vec::new()),
        }
    }

    /// Calls `changed` with `observer` for every later change that the watch reports, as long as the observer lives.
    /// Subscribers are called in the order in which they subscribed.
    pub fn subscribe<W: Send + Sync + 'static>(
        &self,
        observer: &Arc<W>,
        changed: impl Fn(&W, &Change<'_, V>) + Send + Sync + 'static,
    ) {
        // An observer often owns the store, so the store must not keep the observer alive.
        let observer = Arc::downgrade(observer);
        let subscriber: Subscriber<V> = Box::new(move |change| {
            if let Some(observer) = observer.upgrade() {
                changed(&observer, change);
            }
        });
        self.subscribers.write().unwrap_or_else(PoisonError::into_inner).push(subscriber);
    }

    pub(crate) fn notify(&self, change: &Change<'_, V>) {
        for subscriber in self.subscribers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            subscriber(change);
        }
    }
}

impl<V: Clone, B: Copy + Ord> Store<V, B> {
    /// Value of an object, if observed.
    pub fn get(&self, object: &ObjectRef) -> Option<V> {
        self.read().by_object.get(object).map(|value| (**value).clone())
    }

    /// Results of `pick` over the objects of a namespace, ordered by name.
    pub fn pick<T>(&self, namespace: &str, mut pick: impl FnMut(&ObjectRef, &V) -> Option<T>) -> Vec<T> {
        let objects = self.read();
        of_namespace(&objects.by_object, namespace)
            .filter_map(|(object, value)| pick(object, value))
            .collect()
    }

    /// Objects of a namespace with this secondary key, ordered by name.
    pub fn with_key(&self, namespace: &str, sort: B, key: &str) -> Vec<(ObjectRef, V)> {
        let objects = self.read();
        let start = entry(namespace, sort, key, "");
        let names = objects
            .by_key
            .range(&start..)
            .map_while(|(found, entry)| Some(entry).filter(|_| *found == sort)?.strip_prefix(&*start.1));
        names
            .filter_map(|name| {
                let (object, value) = objects.by_object.get_key_value(&ObjectRef::new(namespace, name))?;
                Some((object.clone(), (**value).clone()))
            })
            .collect()
    }

    /// First object of a namespace, by name, that `wanted` accepts.
    pub fn find(&self, namespace: &str, mut wanted: impl FnMut(&V) -> bool) -> Option<ObjectRef> {
        let objects = self.read();
        of_namespace(&objects.by_object, namespace)
            .find(|(_, value)| wanted(value))
            .map(|(object, _)| object.clone())
    }

    /// References to all objects, ordered by namespace and name.
    pub fn objects(&self) -> Vec<ObjectRef> {
        self.read().by_object.keys().cloned().collect()
    }

    /// Stores a value and returns the previous one.
    pub fn insert(&self, object: ObjectRef, value: V) -> Option<V> {
        self.write().put(object, value, self.keys_of)
    }

    /// Number of objects of a namespace removed so far, to be read before a request whose answer
    /// [`Store::insert_answer`] stores.
    pub fn removals(&self, namespace: &str) -> u64 {
        self.read().removals.get(namespace).copied().unwrap_or_default()
    }

    /// Stores the answer to a write that began with `before` and at [`Store::removals`].
    ///
    /// The answer is dropped if the watch reported another value meanwhile, or if any object of the namespace was
    /// removed: it may be older, and the removal that the watch reported would never be reported again.
    /// Subscribers never hear of an answer that was stored, because the watch reports what is new to the store: whoever
    /// wrote tells those whom its own write concerns.
    pub fn insert_answer(&self, object: ObjectRef, (before, removals): (Option<&V>, u64), answer: V)
    where
        V: PartialEq,
    {
        let mut objects = self.write();
        let removed = objects.removals.get(object.namespace.as_str()).copied().unwrap_or_default();
        if removed == removals && objects.by_object.get(&object).map(Box::as_ref) == before {
            objects.put(object, answer, self.keys_of);
        }
    }

    /// Removes an object and returns its last value.
    pub fn remove(&self, object: &ObjectRef) -> Option<V> {
        let mut objects = self.write();
        let removed = objects.take(object, self.keys_of)?;
        let count = objects.removals.entry(object.namespace.to_string()).or_default();
        *count = count.wrapping_add(1);
        Some(removed)
    }

    /// Reports every object to the subscribers as a new one.
    pub(crate) fn replay(&self) {
        for object in self.objects() {
            if let Some(value) = self.get(&object) {
                self.notify(&Change { object: &object, before: None, after: Some(&value) });
            }
        }
    }

    /// True once a complete list was read, and not while a requested list is incomplete.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// True if the API server said last that it does not have the kind, which a starting API server also says for a
    /// moment. A reconciler that only adds may go on then; one that would undo something must wait.
    pub fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Acquire)
    }

    pub(crate) fn set_synced(&self, is_synced: bool) {
        self.synced.store(is_synced, Ordering::Release);
        if is_synced {
            self.set_absent(false);
        }
    }

    pub(crate) fn set_absent(&self, is_absent: bool) {
        self.absent.store(is_absent, Ordering::Release);
    }

    // No code under the lock can panic halfway through a change, so a poisoned lock guards whole maps.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Objects<V, B>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Objects<V, B>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V, B: Copy + Ord> Objects<V, B> {
    fn put(&mut self, object: ObjectRef, value: V, keys_of: fn(&V) -> Vec<(B, String)>) -> Option<V> {
        let before = self.take(&object, keys_of);
        for (sort, key) in keys_of(&value) {
            self.by_key.insert(entry(&object.namespace, sort, &key, &object.name));
        }
        self.by_object.insert(object, Box::new(value));
        before
    }

    fn take(&mut self, object: &ObjectRef, keys_of: fn(&V) -> Vec<(B, String)>) -> Option<V> {
        let before = self.by_object.remove(object)?;
        for (sort, key) in keys_of(&before) {
            self.by_key.remove(&entry(&object.namespace, sort, &key, &object.name));
        }
        Some(*before)
    }
}

/// Entry of the secondary keys. Names of objects have no NUL, so that a key that has one only finds what does not exist.
fn entry<B>(namespace: &str, sort: B, key: &str, name: &str) -> KeyEntry<B> {
    (sort, format!("{namespace}\0{key}\0{name}").into())
}

/// Objects of a namespace, ordered by name.
fn of_namespace<'a, V>(
    objects: &'a BTreeMap<ObjectRef, Box<V>>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a ObjectRef, &'a V)> {
    let start = ObjectRef::new(namespace, "");
    objects
        .range((Bound::Included(start), Bound::Unbounded))
        .take_while(move |(object, _)| object.namespace == namespace)
        .map(|(object, value)| (object, &**value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_namespace_is_read_without_its_neighbours() {
        let store = Store::default();
        for (namespace, name) in [("a", "z"), ("team", "one"), ("team", "two"), ("team-b", "three")] {
            store.insert(ObjectRef::new(namespace, name), name.to_owned());
        }
        assert_eq!(store.pick("team", |_, value| Some(value.clone())), ["one", "two"]);
        assert!(store.pick("tea", |_, value| Some(value.clone())).is_empty());
    }

    #[test]
    fn an_answer_that_the_watch_has_overtaken_is_dropped() {
        let (store, object) = (Store::default(), ObjectRef::new("team", "one"));
        let answered = |before: Option<u32>, removals, answer: u32| {
            store.insert_answer(object.clone(), (before.as_ref(), removals), answer);
            store.get(&object)
        };
        assert_eq!(answered(None, store.removals("team"), 1), Some(1));
        assert_eq!(answered(Some(1), store.removals("team"), 2), Some(2));
        assert_eq!(answered(Some(1), store.removals("team"), 3), Some(2), "the watch reported another value");
        let removals = store.removals("team");
        store.remove(&ObjectRef::new("team", "unknown"));
        store.insert(ObjectRef::new("other", "one"), 1);
        store.remove(&ObjectRef::new("other", "one"));
        assert_eq!(store.removals("team"), removals, "removals elsewhere, or of nothing, do not count");
        store.remove(&object);
        assert_eq!(answered(None, removals, 4), None, "created and removed before the answer came");
    }

    #[test]
    fn subscribers_hear_of_changes_in_order_and_a_replay_shows_each_object_as_new() {
        let (store, heard) = (Store::default(), Arc::new(Mutex::new(Vec::new())));
        for name in ["index", "kind"] {
            store.subscribe(&heard, move |heard: &Mutex<Vec<String>>, change: &Change<'_, u32>| {
                heard.lock().unwrap().push(format!("{name} {:?} {:?}", change.before, change.after));
            });
        }
        let object = ObjectRef::new("team", "one");
        store.insert(object.clone(), 1);
        store.notify(&Change { object: &object, before: Some(&1), after: None });
        store.replay();
        let all = ["index Some(1) None", "kind Some(1) None", "index None Some(1)", "kind None Some(1)"];
        assert_eq!(*heard.lock().unwrap(), all);
        let mine = Arc::downgrade(&heard);
        drop(heard);
        assert!(mine.upgrade().is_none(), "a store keeps no observer alive");
        store.replay();
    }

    #[test]
    fn an_object_is_found_by_the_keys_that_it_has_now() {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        enum By {
            Owner,
            Word,
        }
        // The first word of a value is its owner; the rest are words.
        let store = Store::indexed(|value: &String| {
            let mut words = value.split(' ').map(str::to_owned);
            let owner = words.next().map(|owner| (By::Owner, owner));
            owner.into_iter().chain(words.map(|word| (By::Word, word))).collect()
        });
        let names = |namespace: &str, sort, key: &str| {
            let found = store.with_key(namespace, sort, key).into_iter();
            found.map(|(object, _)| object.name).collect::<Vec<_>>().join(" ")
        };
        for (namespace, name, value) in [
            ("team", "two", "ann red"),
            ("team", "one", "ann"),
            ("team", "three", "red ann"),
            ("team-b", "four", "ann"),
        ] {
            store.insert(ObjectRef::new(namespace, name), value.to_owned());
        }
        assert_eq!([names("team", By::Owner, "ann"), names("team", By::Word, "ann")], ["one two", "three"]);
        assert_eq!([names("team", By::Word, "red"), names("team-b", By::Owner, "ann")], ["two", "four"]);
        assert_eq!([names("team", By::Owner, "an"), names("tea", By::Owner, "ann")], ["", ""]);
        store.insert(ObjectRef::new("team", "two"), "bob".to_owned());
        store.remove(&ObjectRef::new("team", "three"));
        let one = ObjectRef::new("team", "one");
        store.insert_answer(one.clone(), (None, store.removals("team")), "bob".to_owned());
        assert_eq!([names("team", By::Owner, "ann"), names("team", By::Owner, "bob")], ["one", "two"]);
        assert_eq!([names("team", By::Word, "red"), names("team", By::Word, "ann")], ["", ""]);
    }
}
