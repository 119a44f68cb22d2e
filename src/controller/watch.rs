//! Watch that keeps a store equal to the API server and reports changes.
//! Objects are reduced as they arrive, so that memory does not grow with unused fields.

use crate::store::{Change, Store};
use countersign_api::ObjectRef;
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{Error, Event};
use std::collections::BTreeSet;
use std::pin::pin;

/// Follows `events` until the stream ends.
///
/// `read` reduces an object, or returns `None` to leave it out. Subscribers of the store are told of every difference
/// from the stored value, also after a new list: no change is reported twice, and no removal during an outage is missed.
/// `broken` is called for every failure of the watch.
pub async fn follow<K, V, B>(
    events: impl Stream<Item = Result<Event<K>, Error>>,
    store: &Store<V, B>,
    read: impl Fn(K) -> Option<V>,
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
            drop_object(store, &object);
            return None;
        };
        let before = store.insert(object.clone(), value.clone());
        if before.as_ref() != Some(&value) {
            store.notify(&Change { object: &object, before: before.as_ref(), after: Some(&value) });
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
                    drop_object(store, &object);
                }
                store.set_synced(true);
            }
            Ok(Event::Apply(object)) => {
                put(object);
            }
            Ok(Event::Delete(object)) => drop_object(store, &ObjectRef::from(object.meta())),
            Err(error) => {
                store.set_absent(is_absent(&error));
                broken(&error);
            }
        }
    }
}

fn drop_object<V: Clone, B: Copy + Ord>(store: &Store<V, B>, object: &ObjectRef) {
    if let Some(before) = store.remove(object) {
        store.notify(&Change { object, before: Some(&before), after: None });
    }
}

/// True if a watch failed because the API server does not have the kind.
pub fn is_absent(error: &Error) -> bool {
    let (Error::InitialListFailed(error) | Error::WatchStartFailed(error)) = error else { return false };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
