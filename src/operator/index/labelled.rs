//! Objects with the agent label of either family, as one list: each family is a watch and a store of its own, because a
//! label selector cannot say "either label". An object with both labels is in both, so that taking one label off never
//! hides it for a moment.

use super::{IndexKey, ObjectRef, Store};
use countersign_api::keys::Family;
use countersign_controller::store::Change;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stores of agents of one kind, one for each family.
#[derive(Debug)]
pub(crate) struct Labelled<V> {
    kagenti: Store<V, IndexKey>,
    rossoctl: Store<V, IndexKey>,
}

impl<V: Clone> Labelled<V> {
    /// Empty stores with the secondary keys that `keys_of` derives.
    pub(super) const fn indexed(keys_of: fn(&V) -> Vec<(IndexKey, String)>) -> Self {
        Self { kagenti: Store::indexed(keys_of), rossoctl: Store::indexed(keys_of) }
    }

    /// Store of the objects with the agent label of one family.
    pub(super) const fn of(&self, family: Family) -> &Store<V, IndexKey> {
        match family {
            Family::Kagenti => &self.kagenti,
            Family::Rossoctl => &self.rossoctl,
        }
    }

    fn stores(&self) -> impl Iterator<Item = &Store<V, IndexKey>> {
        Family::ALL.into_iter().map(|family| self.of(family))
    }

    /// Calls `changed` for every later change of either list. An object with both labels appears and goes twice.
    pub(crate) fn subscribe<W: Send + Sync + 'static>(
        &self,
        observer: &Arc<W>,
        changed: impl Fn(&W, &Change<'_, V>) + Clone + Send + Sync + 'static,
    ) {
        for store in self.stores() {
            store.subscribe(observer, changed.clone());
        }
    }

    /// Value of an object, if it carries the label of either family.
    pub(crate) fn get(&self, object: &ObjectRef) -> Option<V> {
        self.stores().find_map(|store| store.get(object))
    }

    /// Results of `pick` over the objects of a namespace, ordered by name; an object with both labels counts once.
    pub(crate) fn pick<T>(
        &self,
        namespace: &str,
        mut pick: impl FnMut(&ObjectRef, &V) -> Option<T>,
    ) -> Vec<T> {
        let mut found = BTreeMap::new();
        for store in self.stores() {
            store.pick(namespace, |object, value| {
                if !found.contains_key(object)
                    && let Some(picked) = pick(object, value)
                {
                    found.insert(object.clone(), picked);
                }
                None::<()>
            });
        }
        found.into_values().collect()
    }

    /// Objects of a namespace with this secondary key, ordered by name.
    pub(crate) fn with_key(&self, namespace: &str, sort: IndexKey, key: &str) -> Vec<(ObjectRef, V)> {
        let mut stores = self.stores().map(|store| store.with_key(namespace, sort, key));
        let mut found = stores.next().unwrap_or_default();
        let more = stores.next().unwrap_or_default();
        if !more.is_empty() {
            found.extend(more.into_iter().filter(|(object, _)| self.kagenti.get(object).is_none()));
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        found
    }

    /// First object of a namespace that `wanted` accepts.
    pub(crate) fn find(&self, namespace: &str, mut wanted: impl FnMut(&V) -> bool) -> Option<ObjectRef> {
        self.stores().find_map(|store| store.find(namespace, &mut wanted))
    }

    /// References to all objects; one with both labels comes twice.
    pub(crate) fn objects(&self) -> Vec<ObjectRef> {
        self.stores().flat_map(Store::objects).collect()
    }

    /// True once both lists were read.
    pub(crate) fn is_synced(&self) -> bool {
        self.stores().all(Store::is_synced)
    }

    /// True if the cluster lacks the kind, as the last answers to both lists say.
    pub(crate) fn is_absent(&self) -> bool {
        self.stores().all(Store::is_absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_both_families_is_one_and_stays_while_either_label_does() {
        let labelled: Labelled<&str> = Labelled::indexed(|value| vec![(IndexKey::Uid, (*value).to_owned())]);
        let object = |name: &str| ObjectRef::new("team", name);
        labelled.of(Family::Kagenti).insert(object("b"), "x");
        for name in ["a", "b"] {
            labelled.of(Family::Rossoctl).insert(object(name), "x");
        }
        let both = [(object("a"), "x"), (object("b"), "x")];
        assert_eq!(labelled.with_key("team", IndexKey::Uid, "x"), both);
        assert_eq!(
            labelled.pick("team", |object, value| Some((object.clone(), *value))),
            both,
            "each once, by name"
        );
        labelled.of(Family::Kagenti).remove(&object("b"));
        assert_eq!(labelled.get(&object("b")), Some("x"));
        assert_eq!(labelled.find("team", |_| true), Some(object("a")));
        labelled.of(Family::Rossoctl).remove(&object("b"));
        assert_eq!(labelled.get(&object("b")), None);
    }
}
