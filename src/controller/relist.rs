//! Fresh lists on demand, for callers that must not act on a store that lags behind.

use tokio::sync::Notify;

/// Signal that makes one watch start over with a list.
#[derive(Debug, Default)]
pub(crate) struct Relist {
    wanted: Notify,
    begun: Notify,
}

impl Relist {
    /// Requests a list and waits until the watch begins; its store then counts as unread until the list is complete.
    pub(crate) async fn request(&self) {
        self.wanted.notify_one();
        self.begun.notified().await;
    }

    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(crate) fn begin(&self) {
        self.begun.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::{Duration, timeout};

    #[tokio::test]
    async fn whoever_requests_a_list_waits_until_it_has_begun_whoever_comes_first() {
        for watch_first in [true, false] {
            let relist = Arc::new(Relist::default());
            let watch = Arc::clone(&relist);
            let follow = async move {
                watch.wanted().await;
                watch.begin();
            };
            if watch_first {
                let followed = tokio::spawn(follow);
                timeout(Duration::from_secs(20), relist.request()).await.unwrap();
                followed.await.unwrap();
            } else {
                let requesting = Arc::clone(&relist);
                let requested = tokio::spawn(async move { requesting.request().await });
                tokio::task::yield_now().await;
                assert!(!requested.is_finished(), "nothing has begun");
                follow.await;
                timeout(Duration::from_secs(20), requested).await.unwrap().unwrap();
            }
        }
    }
}
