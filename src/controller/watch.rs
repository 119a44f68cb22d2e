//! Keeps a store equal to what the API server has, and says what changed.
//! Objects are cut down as they arrive, so that memory does not grow with what nobody asked for.

use crate::store::Store;
use countersign_api::ObjectRef;
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{Error, Event};
use std::collections::BTreeSet;
use std::pin::pin;

/// What a watch found about an object.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a, V> {
    /// Which object changed.
    pub object: &'a ObjectRef,
    /// What was known, if it was.
    pub before: Option<&'a V>,
    /// What is known now, if it is still there.
    pub after: Option<&'a V>,
}

/// Follows `events` until the stream ends.
///
/// `read` cuts an object down, or says that it is none of ours. `changed` is called for everything that differs
/// from what was known, also after a list that had to be read again: nothing is reported twice, and nothing that
/// went away while the watch was down is missed.
pub async fn follow<K, V, B>(
    events: impl Stream<Item = Result<Event<K>, Error>>,
    store: &Store<V, B>,
    read: impl Fn(K) -> Option<V>,
    changed: impl Fn(Change<'_, V>),
    broken: impl Fn(&Error),
) where
    K: Resource,
    V: Clone + PartialEq,
    B: Copy + Ord,
{
    let mut events = pin!(events);
    let mut listed: Option<BTreeSet<ObjectRef>> = None;
    let put = |received: K| {
        let object = ObjectRef::from(received.meta());
        let Some(value) = read(received) else {
            drop_object(store, &object, &changed);
            return None;
        };
        let before = store.insert(object.clone(), value.clone());
        if before.as_ref() != Some(&value) {
            changed(Change { object: &object, before: before.as_ref(), after: Some(&value) });
        }
        Some(object)
    };
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = Some(BTreeSet::new()),
            Ok(Event::InitApply(object)) => {
                if let (Some(object), Some(listed)) = (put(object), listed.as_mut()) {
                    listed.insert(object);
                }
            }
            Ok(Event::InitDone) => {
                let listed = listed.take().unwrap_or_default();
                for object in store.objects().into_iter().filter(|object| !listed.contains(object)) {
                    drop_object(store, &object, &changed);
                }
                store.set_synced(true);
            }
            Ok(Event::Apply(object)) => {
                put(object);
            }
            Ok(Event::Delete(object)) => drop_object(store, &ObjectRef::from(object.meta()), &changed),
            Err(error) => broken(&error),
        }
    }
}

fn drop_object<V: Clone, B: Copy + Ord>(
    store: &Store<V, B>,
    object: &ObjectRef,
    changed: &impl Fn(Change<'_, V>),
) {
    if let Some(before) = store.remove(object) {
        changed(Change { object, before: Some(&before), after: None });
    }
}
