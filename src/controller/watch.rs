//! Watch that keeps a store equal to the API server and reports changes.
//! Objects are reduced as they arrive, so that memory does not grow with unused fields.

use crate::store::{Change, Store};
use countersign_api::ObjectRef;
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{Error, Event};
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Turns of lists, of which few are read at once, so that the pages of few are in memory.
#[derive(Debug)]
pub(crate) struct Turns {
    /// One permit for each list that may be read.
    pub(crate) lists: Semaphore,
    /// Longest wait within a list for its next page. The connection may be lost without notice, and others wait.
    pub(crate) silence: Duration,
}

/// End of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The stream of events ended, which it never should.
    Stream,
    /// A list did not go on within [`Turns::silence`].
    Silent,
}

/// Follows `events` until the stream ends, or a list does not go on.
///
/// `read` reduces an object, or returns `None` to leave it out. Subscribers of the store are told of every difference
/// from the stored value, also after a new list: no change is reported twice, and no removal during an outage is missed.
/// `broken` is called for every failure of the watch. A list takes one of `turns`.
pub(crate) async fn follow<K, V, B>(
    events: impl Stream<Item = Result<Event<K>, Error>>,
    store: &Store<V, B>,
    read: impl Fn(K) -> Option<V>,
    broken: impl Fn(&Error),
    turns: &Turns,
) -> Ended
where
    K: Resource,
    V: Clone + PartialEq,
    B: Copy + Ord,
{
    let mut events = pin!(events);
    let mut listed: Option<BTreeSet<ObjectRef>> = None;
    let mut turn = None;
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
    loop {
        let next = events.next();
        let event = match &turn {
            None => next.await,
            Some(_) => match timeout(turns.silence, next).await {
                Ok(event) => event,
                Err(_) => return Ended::Silent,
            },
        };
        let Some(event) = event else { return Ended::Stream };
        match event {
            Ok(Event::Init) => {
                listed = Some(BTreeSet::new());
                // The list is requested once this event is taken.
                turn = turns.lists.acquire().await.ok();
            }
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
                turn = None;
            }
            Ok(Event::Apply(object)) => {
                put(object);
            }
            Ok(Event::Delete(object)) => drop_object(store, &ObjectRef::from(object.meta())),
            Err(error) => {
                turn = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::{self, pending};
    use k8s_openapi::api::core::v1::ConfigMap;

    type Events = Vec<Result<Event<ConfigMap>, Error>>;

    const LONG: Duration = Duration::from_hours(1);
    const SHORT: Duration = Duration::from_millis(20);
    const A_WHILE: Duration = Duration::from_millis(100);

    const fn turns(silence: Duration) -> Turns {
        Turns { lists: Semaphore::const_new(1), silence }
    }

    /// Follows `events`, after which nothing comes any more, for a while.
    async fn followed(events: Events, store: &Store<()>, turns: &Turns) -> Option<Ended> {
        let events = stream::iter(events).chain(pending());
        timeout(A_WHILE, follow(events, store, |_| Some(()), |_| (), turns)).await.ok()
    }

    #[tokio::test]
    async fn a_list_that_does_not_go_on_ends_the_watch_and_a_watch_without_events_goes_on() {
        let (turns, store) = (turns(SHORT), Store::default());
        assert_eq!(followed(vec![Ok(Event::Init)], &store, &turns).await, Some(Ended::Silent));
        assert_eq!(followed(vec![Ok(Event::Init), Ok(Event::InitDone)], &store, &turns).await, None);
        let failed = vec![Ok(Event::Init), Err(Error::NoResourceVersion)];
        assert_eq!(followed(failed, &store, &turns).await, None, "the watch tries again by itself");
    }

    #[tokio::test]
    async fn a_list_waits_for_its_turn_and_gives_it_back_complete_or_failed() {
        let (turns, store) = (turns(LONG), Store::default());
        let held = turns.lists.acquire().await.unwrap();
        let whole = || vec![Ok(Event::Init), Ok(Event::InitDone)];
        assert_eq!(followed(whole(), &store, &turns).await, None);
        assert!(!store.is_synced(), "another list has the turn");
        drop(held);
        for events in [whole(), vec![Ok(Event::Init), Err(Error::NoResourceVersion)]] {
            let ended = follow(stream::iter(events), &store, |_| Some(()), |_| (), &turns).await;
            assert_eq!((ended, turns.lists.available_permits()), (Ended::Stream, 1));
        }
        assert!(store.is_synced());
    }
}
