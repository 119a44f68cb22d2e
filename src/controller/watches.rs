//! Watches of many kinds that fill the stores of one observer.

use super::relist::Relist;
use super::store::Store;
use super::watch::{Change, follow};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How many objects one answer to a list request brings: it bounds what is in memory at once.
const PAGE: u32 = 200;

/// Hears of each request of a watch that failed, with the kind.
pub type Broken = Arc<dyn Fn(&'static str, &watcher::Error) + Send + Sync>;

/// Starts watches that fill stores of `W`, each in a task of its own: what one watch brings wakes none of the others.
pub struct Watches<'a, W> {
    tasks: &'a mut JoinSet<()>,
    observer: &'a Arc<W>,
    broken: &'a Broken,
}

impl<'a, W: Send + Sync + 'static> Watches<'a, W> {
    /// Watches that end with `tasks`.
    pub const fn new(tasks: &'a mut JoinSet<()>, observer: &'a Arc<W>, broken: &'a Broken) -> Self {
        Self { tasks, observer, broken }
    }

    /// Follows one kind until the tasks are dropped.
    ///
    /// `read` cuts an object down to what is kept in `store`, or says that it is none of ours; `changed` hears of every
    /// difference.
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
        self.follow_again(kind, api, config, store, read, changed, |_| None);
    }

    /// Follows one kind as [`Watches::follow`] does, and starts over with a list whenever `relist` is requested.
    #[expect(clippy::too_many_arguments, reason = "each is one word of what a kind says about its watch")]
    pub fn follow_again<K, V, B>(
        &mut self,
        kind: &'static str,
        api: Api<K>,
        config: watcher::Config,
        store: fn(&W) -> &Store<V, B>,
        read: fn(K) -> Option<V>,
        changed: fn(&W, &Change<'_, V>),
        relist: fn(&W) -> Option<&Relist>,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        V: Clone + PartialEq + Send + Sync + 'static,
        B: Copy + Ord + Send + Sync + 'static,
    {
        let (observer, broken) = (Arc::clone(self.observer), Arc::clone(self.broken));
        self.tasks.spawn(async move {
            let (store, relist) = (store(&observer), relist(&observer));
            loop {
                let events = watcher(api.clone(), config.clone()).default_backoff();
                let told = |change: Change<'_, V>| changed(&observer, &change);
                let followed = follow(events, store, read, told, |error| broken(kind, error));
                let Some(relist) = relist else { return followed.await };
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

/// A watch of the objects with these labels, in pages; of all objects where the selector is empty.
pub fn labelled(selector: &str) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE);
    if selector.is_empty() { config } else { config.labels(selector) }
}
