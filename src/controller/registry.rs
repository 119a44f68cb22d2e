//! Registration of kinds: the watches that fill their stores, and the reconcilers that act on them.
//! Watches run on every replica, reconcilers on the leader.

use super::failure::Failure;
use super::key::Reconciler;
use super::next::Next;
use super::reconcilers::Reconcilers;
use super::relist::Relist;
use super::store::Store;
use super::turns::Work;
use super::watch::{follow, is_absent};
use super::workers::{TurnEnded, Workers};
use countersign_api::ObjectRef;
use futures::future::{BoxFuture, join_all};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use tokio::task::JoinSet;

pub use super::reconcilers::AlreadyRegistered;

/// Page size of lists of whole objects. An object may have 1.5 MiB (the limit of etcd), and several lists are read at once
/// within the 128 MiB that the chart allows; but a failed page starts the whole list again, so pages must not be many.
const PAGE: u32 = 25;
/// Page size of lists of metadata, where annotations are limited to 256 KiB.
const METADATA_PAGE: u32 = 100;

/// Callback for each failed request of a watch, with the kind.
pub type WatchFailed = Arc<dyn Fn(&'static str, &watcher::Error) + Send + Sync>;

/// Name of an optional list, and whether the API server lacks its kind now.
type Absence = (&'static str, Box<dyn Fn() -> bool + Send + Sync>);

/// Objects that a watch follows.
#[derive(Clone, Debug)]
pub struct Watched<K> {
    /// Plural name of the kind, for errors and metrics.
    pub name: &'static str,
    /// API that lists and watches the objects.
    pub api: Api<K>,
    /// Label selector of the objects; empty for all.
    pub selector: String,
    /// Page size of list requests, in objects, which bounds the memory of one answer.
    pub page: u32,
    /// True if a cluster may lack the kind. Its absence is then no failure; the reconcilers that require the list stay
    /// idle until the kind appears.
    pub is_optional: bool,
}

impl<K> Watched<K> {
    /// All objects of a kind that every cluster must have.
    pub const fn all(name: &'static str, api: Api<K>) -> Self {
        Self { name, api, selector: String::new(), page: PAGE, is_optional: false }
    }

    /// Objects of a kind that every cluster must have, by label selector.
    pub fn labelled(name: &'static str, api: Api<K>, selector: impl Into<String>) -> Self {
        Self { selector: selector.into(), ..Self::all(name, api) }
    }
}

impl<K> Watched<PartialObjectMeta<K>> {
    /// Metadata of objects of a kind that every cluster must have, by label selector.
    pub fn metadata(name: &'static str, api: Api<PartialObjectMeta<K>>, selector: impl Into<String>) -> Self {
        Self { page: METADATA_PAGE, ..Self::labelled(name, api, selector) }
    }
}

/// Registration of kinds. Nothing runs before [`Registry::start`].
pub struct Registry {
    broken: WatchFailed,
    absences: Vec<Absence>,
    watches: Vec<BoxFuture<'static, ()>>,
    relists: Vec<Arc<Relist>>,
    replays: Vec<Box<dyn Fn() + Send + Sync>>,
    reconcilers: Reconcilers,
}

impl Registry {
    /// Empty registry; `broken` is called for every failed request of a watch.
    pub fn new(broken: WatchFailed) -> Self {
        Self {
            broken,
            absences: Vec::new(),
            watches: Vec::new(),
            relists: Vec::new(),
            replays: Vec::new(),
            reconcilers: Reconcilers::default(),
        }
    }

    /// Registers a watch that keeps a store of `observer` equal to the API server and tells its subscribers.
    ///
    /// `read` reduces an object to its value in the store, or returns `None` to leave it out.
    pub fn watch<W, K, V, B>(
        &mut self,
        watched: Watched<K>,
        observer: &Arc<W>,
        store: fn(&W) -> &Store<V, B>,
        read: fn(K) -> Option<V>,
    ) where
        W: Send + Sync + 'static,
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        V: Clone + PartialEq + Send + Sync + 'static,
        B: Copy + Ord + Send + Sync + 'static,
    {
        let Watched { name, api, selector, page, is_optional } = watched;
        let config = watcher::Config::default().page_size(page);
        let config = if selector.is_empty() { config } else { config.labels(&selector) };
        let broken = Arc::clone(&self.broken);
        let failed = move |error: &watcher::Error| {
            if !(is_optional && is_absent(error)) {
                broken(name, error);
            }
        };
        if is_optional {
            let owner = Arc::clone(observer);
            self.absences.push((name, Box::new(move || store(&owner).is_absent())));
        }
        let relist = Arc::new(Relist::default());
        self.relists.push(Arc::clone(&relist));
        let (observer, owner) = (Arc::clone(observer), Arc::clone(observer));
        self.replays.push(Box::new(move || store(&owner).replay()));
        self.watches.push(Box::pin(async move {
            let store = store(&observer);
            loop {
                let events = watcher(api.clone(), config.clone()).default_backoff();
                tokio::select! {
                    () = follow(events, store, read, &failed) => return,
                    () = relist.wanted() => {}
                }
                store.set_synced(false);
                relist.begin();
            }
        }));
    }

    /// Registers a reconciler. `unread` names the required lists that are not read yet, as the watches name them; while
    /// there are any, its keys wait and hold up no other reconciler. `reconcile` runs one turn.
    ///
    /// # Errors
    /// A reconciler of this name is registered already.
    pub fn reconcile<F>(
        &mut self,
        reconciler: &'static Reconciler,
        unread: impl Fn() -> Vec<&'static str> + Send + Sync + 'static,
        reconcile: impl Fn(ObjectRef) -> F + Send + Sync + 'static,
    ) -> Result<(), AlreadyRegistered>
    where
        F: Future<Output = Result<Next, Failure>> + Send + 'static,
    {
        self.reconcilers.register(reconciler, unread, reconcile)
    }

    /// Starts the watches, each in a task of its own, so that an event wakes one watch only; they end with `tasks`.
    pub fn start(self, tasks: &mut JoinSet<()>) -> Running {
        let Self { absences, watches, relists, replays, reconcilers, broken: _ } = self;
        for watch in watches {
            tasks.spawn(watch);
        }
        Running { absences, relists, replays, reconcilers: Arc::new(reconcilers) }
    }
}

/// Registered kinds whose watches run.
pub struct Running {
    absences: Vec<Absence>,
    relists: Vec<Arc<Relist>>,
    replays: Vec<Box<dyn Fn() + Send + Sync>>,
    reconcilers: Arc<Reconcilers>,
}

impl Running {
    /// Names of lists that some reconciler requires and that are not read yet, except those of kinds that the cluster
    /// may lack and does.
    pub fn unread(&self) -> Vec<&'static str> {
        let is_absent = |name: &str| self.absences.iter().any(|(of, is_absent)| *of == name && is_absent());
        self.reconcilers.unread().into_iter().filter(|name| !is_absent(name)).collect()
    }

    /// Runs turns on fresh lists until dropped; `ended` is called after each turn.
    pub async fn lead(&self, work: &Arc<Work>, ended: TurnEnded) {
        work.resume();
        // A watch may lag behind the previous leader, or be broken without having noticed. The status of AgentCards is
        // the memory against replays (rule 55), and a policy or mark that looks as planned would never be written.
        join_all(self.relists.iter().map(|relist| relist.request())).await;
        // What the watches reported before this replica led was not enqueued.
        self.replays.iter().for_each(|replay| replay());
        Workers::new(Arc::clone(&self.reconcilers), Arc::clone(work), ended).run().await;
    }
}
