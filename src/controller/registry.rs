//! Registration of kinds: the watches that fill their stores, and the reconcilers that act on them.
//! Watches run on every replica, reconcilers on the leader.

use super::failure::Failure;
use super::keeper::{Course, Keeper};
use super::key::Reconciler;
use super::next::Next;
use super::reconcilers::Reconcilers;
use super::relist::Relist;
use super::store::Store;
use super::turns::Work;
use super::watch::Turns;
use super::workers::{TurnEnded, Workers};
use countersign_api::ObjectRef;
use futures::future::{BoxFuture, join_all};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use super::keeper::{FailedWatch, WatchFailed};
pub use super::reconcilers::AlreadyRegistered;

/// Page size of lists of whole objects, until a page is larger than is read.
const PAGE: u32 = 100;
/// Page size of lists of metadata, until a page is larger than is read.
const METADATA_PAGE: u32 = 500;
/// Lists that are read at once, and so pages that are in memory at once.
const LISTS_AT_ONCE: usize = 2;
/// Lists of optional kinds that are read at once beside those. A broken definition of others, whose conversion the API
/// server waits for, must not take the turns of kinds that every cluster has.
const OPTIONAL_LISTS_AT_ONCE: usize = 1;
/// Longest wait for the next page of a list: longer than an API server that is short of capacity takes.
const LIST_SILENCE: Duration = Duration::from_mins(1);

/// Objects that a watch follows.
#[derive(Clone, Debug)]
pub struct Watched<K> {
    /// Plural name of the kind, for errors and metrics.
    pub name: &'static str,
    /// API that lists and watches the objects.
    pub api: Api<K>,
    /// The same objects in other versions of their group, for clusters that do not serve the first.
    pub versions: Vec<Api<K>>,
    /// Label selector of the objects; empty for all.
    pub selector: String,
    /// Page size of list requests, in objects. Each page that is larger than [`super::list_limit`] allows halves it.
    pub page: u32,
    /// True if a cluster may lack the kind. Its absence is then no failure, and neither it nor a list that fails keeps the
    /// replica from being ready; the reconcilers that require the list stay idle until it is read.
    pub is_optional: bool,
}

impl<K> Watched<K> {
    /// All objects of a kind that every cluster must have.
    pub const fn all(name: &'static str, api: Api<K>) -> Self {
        Self { name, api, versions: Vec::new(), selector: String::new(), page: PAGE, is_optional: false }
    }

    /// Objects of a kind that every cluster must have, by label selector.
    pub fn labelled(name: &'static str, api: Api<K>, selector: impl Into<String>) -> Self {
        Self { selector: selector.into(), ..Self::all(name, api) }
    }

    /// Objects of a kind that every cluster must have, by label selector; `K` asks for their metadata alone.
    pub fn metadata(name: &'static str, api: Api<K>, selector: impl Into<String>) -> Self {
        Self { page: METADATA_PAGE, ..Self::labelled(name, api, selector) }
    }
}

/// Registration of kinds. Nothing runs before [`Registry::start`].
pub struct Registry {
    broken: WatchFailed,
    turns: Arc<Turns>,
    optional_turns: Arc<Turns>,
    optional: Vec<&'static str>,
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
            turns: turns(LISTS_AT_ONCE),
            optional_turns: turns(OPTIONAL_LISTS_AT_ONCE),
            optional: Vec::new(),
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
        let Watched { name, api, versions, selector, page, is_optional } = watched;
        if is_optional {
            self.optional.push(name);
        }
        let relist = Arc::new(Relist::default());
        self.relists.push(Arc::clone(&relist));
        let (observer, owner) = (Arc::clone(observer), Arc::clone(observer));
        self.replays.push(Box::new(move || store(&owner).replay()));
        let keeper = Keeper {
            watch: FailedWatch { kind: name, is_optional },
            apis: [api].into_iter().chain(versions).collect(),
            selector,
            first_page: page,
            page: page.into(),
            broken: Arc::clone(&self.broken),
            turns: Arc::clone(if is_optional { &self.optional_turns } else { &self.turns }),
            relist,
            course: Course::default(),
        };
        self.watches.push(Box::pin(async move { keeper.run(store(&observer), read).await }));
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
        let Self { optional, watches, relists, replays, reconcilers, broken: _, turns: _, optional_turns: _ } =
            self;
        for watch in watches {
            tasks.spawn(watch);
        }
        Running { optional, relists, replays, reconcilers: Arc::new(reconcilers) }
    }
}

fn turns(lists: usize) -> Arc<Turns> {
    Arc::new(Turns { lists: Semaphore::new(lists), silence: LIST_SILENCE })
}

/// Registered kinds whose watches run.
pub struct Running {
    optional: Vec<&'static str>,
    relists: Vec<Arc<Relist>>,
    replays: Vec<Box<dyn Fn() + Send + Sync>>,
    reconcilers: Arc<Reconcilers>,
}

impl Running {
    /// Names of lists that some reconciler requires and that are not read yet, except those of kinds that a cluster may
    /// lack.
    pub fn unread(&self) -> Vec<&'static str> {
        self.reconcilers.unread().into_iter().filter(|name| !self.optional.contains(name)).collect()
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
