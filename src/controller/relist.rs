//! A fresh list on demand, for whoever must not act on what a watch has not told of yet.

use tokio::sync::Notify;

/// Makes one watch start over with a list.
#[derive(Debug, Default)]
pub struct Relist {
    wanted: Notify,
    begun: Notify,
}

impl Relist {
    /// Waits until the watch has begun to list anew: from then on its store counts as unread until the list is complete.
    pub async fn request(&self) {
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
