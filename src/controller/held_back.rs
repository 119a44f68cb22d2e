//! Keys whose reconciler lacks a required list: they wait here, so that they take neither slot nor budget.

use super::key::{Key, Reconciler};
use super::queue::Urgency;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

type HeldKeys = BTreeMap<&'static Reconciler, BTreeMap<Key, Urgency>>;

/// Held-back keys by reconciler, each with the highest urgency that it was enqueued with.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    keys: Mutex<HeldKeys>,
    inserted: Notify,
}

impl HeldBack {
    /// Holds a key back.
    pub(super) fn insert(&self, key: Key, urgency: Urgency) {
        let mut keys = self.lock();
        let held = keys.entry(key.reconciler).or_default().entry(key).or_insert(urgency);
        *held = urgency.max(*held);
        drop(keys);
        self.inserted.notify_one();
    }

    /// Waits until some key is held back.
    pub(super) async fn wait(&self) {
        while self.lock().is_empty() {
            self.inserted.notified().await;
        }
    }

    /// Removes and returns the keys of every reconciler that `is_ready` accepts.
    pub(super) fn take(&self, is_ready: impl Fn(&Reconciler) -> bool) -> Vec<(Key, Urgency)> {
        let taken: Vec<_> = self.lock().extract_if(.., |reconciler, _| is_ready(reconciler)).collect();
        taken.into_iter().flat_map(|(_, keys)| keys).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HeldKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_api::ObjectRef;

    #[test]
    fn a_key_keeps_its_highest_urgency_and_leaves_with_its_reconciler() {
        static ONE: Reconciler = Reconciler { name: "one", controller: "toy", waits: false };
        static TWO: Reconciler = Reconciler { name: "two", controller: "toy", waits: false };
        let key = |reconciler| Key { reconciler, object: ObjectRef::new("team", "a") };
        let held = HeldBack::default();
        for urgency in [Urgency::Routine, Urgency::Closing, Urgency::Urgent] {
            held.insert(key(&ONE), urgency);
        }
        held.insert(key(&TWO), Urgency::Routine);
        assert_eq!(held.take(|reconciler| reconciler.name == "one"), [(key(&ONE), Urgency::Closing)]);
        assert_eq!(held.take(|_| true), [(key(&TWO), Urgency::Routine)]);
        assert!(held.take(|_| true).is_empty());
    }
}
