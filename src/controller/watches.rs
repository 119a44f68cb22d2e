//! Watches of many kinds, which fill the stores of one observer.

use super::relist::Relist;
use super::store::Store;
use super::watch::{Change, follow};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Page size of list requests, in objects, which bounds the memory of one answer.
const PAGE: u32 = 200;

/// Callback for each failed request of a watch, with the kind.
pub type Broken = Arc<dyn Fn(&'static str, &watcher::Error) + Send + Sync>;

/// Starter of watches that fill stores of `W`, each in a task of its own, so that an event wakes one watch only.
pub struct Watches<'a, W> {
    tasks: &'a mut JoinSet<()>,
    observer: &'a Arc<W>,
    broken: &'a Broken,
    relists: Vec<Arc<Relist>>,
}

impl<'a, W: Send + Sync + 'static> Watches<'a, W> {
    /// Starter whose watches end with `tasks`.
    pub const fn new(tasks: &'a mut JoinSet<()>, observer: &'a Arc<W>, broken: &'a Broken) -> Self {
        Self { tasks, observer, broken, relists: Vec::new() }
    }

    /// Signals by which each watch that was started is told to begin again with a list.
    pub fn relists(self) -> Vec<Arc<Relist>> {
        self.relists
    }

    /// Follows one kind until the tasks are dropped.
    ///
    /// The watch starts over with a list whenever that is requested by [`Watches::relists`].
    ///
    /// `read` reduces an object to its value in `store`, or returns `None` to leave it out; `changed` is called for
    /// every difference.
    pub fn follow<K, V, B>(
        &mut self,
        kind: &'static str,
        api: Api<K>,
        config: watcher::Config,
        store: fn(&W) -> &Store<V, B>,
        read: fn(K) -> Option<V>,
        changed: fn(&W, &Change<'_, V>),
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        V: Clone + PartialEq + Send + Sync + 'static,
        B: Copy + Ord + Send + Sync + 'static,
    {
        let (observer, broken) = (Arc::clone(self.observer), Arc::clone(self.broken));
        let relist = Arc::new(Relist::default());
        self.relists.push(Arc::clone(&relist));
        self.tasks.spawn(async move {
            let store = store(&observer);
            loop {
                let events = watcher(api.clone(), config.clone()).default_backoff();
                let told = |change: Change<'_, V>| changed(&observer, &change);
                let followed = follow(events, store, read, told, |error| broken(kind, error));
                tokio::select! {
                    () = followed => return,
                    () = relist.wanted() => {}
                }
                store.set_synced(false);
                relist.begin();
            }
        });
    }
}

/// Watch configuration for objects that match a label selector, in pages; an empty selector matches all objects.
pub fn labelled(selector: &str) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE);
    if selector.is_empty() { config } else { config.labels(selector) }
}
