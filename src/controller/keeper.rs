//! Keeper of one store: a watch that starts over in smaller pages where objects are large, in another version where the
//! cluster does not serve one, and with a fresh list on demand.

use super::list_limit::{SMALLEST_PAGE, is_too_large};
use super::relist::Relist;
use super::store::Store;
use super::watch::{Ended, Turns, follow, is_absent};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Error, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// Wait before a kind whose list failed is read in its next version.
const NEXT_VERSION: Duration = Duration::from_secs(10);

/// Callback for each failed request of a watch.
pub type WatchFailed = Arc<dyn Fn(FailedWatch, &Error) + Send + Sync>;

/// Watch of which a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedWatch {
    /// Plural name of the kind.
    pub kind: &'static str,
    /// True if only those who use the kind wait for it.
    pub is_optional: bool,
}

/// Keeper of the store of one kind.
pub(crate) struct Keeper<K> {
    pub(crate) watch: FailedWatch,
    /// The same objects in each version of their group, never empty.
    pub(crate) apis: Vec<Api<K>>,
    pub(crate) selector: String,
    /// Page size of lists, in objects, as long as none is too large.
    pub(crate) first_page: u32,
    pub(crate) page: AtomicU32,
    pub(crate) broken: WatchFailed,
    pub(crate) turns: Arc<Turns>,
    pub(crate) relist: Arc<Relist>,
    pub(crate) course: Course,
}

/// What a failed request changes for the next.
#[derive(Debug, Default)]
pub(crate) struct Course {
    version: AtomicUsize,
    /// Versions in a row that the API server does not have.
    absent: AtomicUsize,
    changed: Notify,
}

impl<K> Keeper<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Keeps a store equal to the API server until the stream of events ends, which it never should.
    pub(crate) async fn run<V, B>(&self, store: &Store<V, B>, read: fn(K) -> Option<V>)
    where
        V: Clone + PartialEq,
        B: Copy + Ord,
    {
        let failed = |error: &Error| self.failed(store, error);
        while let (version, Some(api)) = self.api() {
            let events = watcher(api.clone(), self.config()).default_backoff();
            let is_relist = tokio::select! {
                ended = follow(events, store, read, failed, &self.turns) => match ended {
                    Ended::Stream => return,
                    Ended::Silent => false,
                },
                () = self.relist.wanted() => true,
                () = self.course.changed.notified() => {
                    if self.api().0 == version {
                        false
                    } else {
                        // A new leader does not wait for a kind that is not there.
                        tokio::select! {
                            () = sleep(NEXT_VERSION) => false,
                            () = self.relist.wanted() => true,
                        }
                    }
                }
            };
            if is_relist {
                // The large objects may be gone; if not, two refused pages tell.
                let page = self.page.load(Ordering::Relaxed).saturating_mul(4).min(self.first_page);
                self.page.store(page, Ordering::Relaxed);
                store.set_synced(false);
                self.relist.begin();
            }
        }
    }

    /// API of the version in turn, with the number of that version.
    fn api(&self) -> (usize, Option<&Api<K>>) {
        let version =
            self.course.version.load(Ordering::Relaxed).checked_rem(self.apis.len()).unwrap_or_default();
        (version, self.apis.get(version))
    }

    fn config(&self) -> Config {
        let config = Config::default().page_size(self.page.load(Ordering::Relaxed));
        if self.selector.is_empty() { config } else { config.labels(&self.selector) }
    }

    fn failed<V: Clone, B: Copy + Ord>(&self, store: &Store<V, B>, error: &Error) {
        if is_too_large(error) {
            let smaller = self.page.load(Ordering::Relaxed).div_euclid(2).max(SMALLEST_PAGE);
            self.page.store(smaller, Ordering::Relaxed);
            self.course.changed.notify_one();
            let kind = self.watch.kind;
            tracing::info!(kind, smaller, "objects are large, so that the list is read in smaller pages");
            return;
        }
        if self.watch.is_optional && is_absent(error) {
            // One version of several that is not served says nothing about the kind.
            let before = self.course.absent.fetch_add(1, Ordering::Relaxed);
            store.set_absent(before.saturating_add(1) >= self.apis.len());
        } else {
            self.course.absent.store(0, Ordering::Relaxed);
            store.set_absent(false);
            (self.broken)(self.watch, error);
        }
        if self.apis.len() > 1 && (is_absent(error) || matches!(error, Error::InitialListFailed(_))) {
            self.course.version.fetch_add(1, Ordering::Relaxed);
            self.course.changed.notify_one();
        }
    }
}
