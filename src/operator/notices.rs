//! Notices about objects that were sent as events, so that each is sent when it begins and not at every turn.

use countersign_plan::agent_card::transition::Transition;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Last notice about each object that has one, with the UID of the object.
#[derive(Debug)]
pub(crate) struct Notices<K>(Mutex<BTreeMap<K, (String, Transition)>>);

impl<K> Default for Notices<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Ord> Notices<K> {
    /// Records what there is to say about an object, and returns it if it was not said last about this one.
    pub(crate) fn begin(&self, (object, uid): (&K, &str), notice: Option<Transition>) -> Option<Transition> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notice) = notice else {
            all.remove(object);
            return None;
        };
        let said = (uid.to_owned(), notice);
        let is_new = all.get(object) != Some(&said);
        is_new.then(|| {
            all.insert(object.clone(), said.clone());
            said.1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{ObjectRef, WorkloadKind, WorkloadRef};

    #[test]
    fn a_notice_is_sent_when_it_begins_changes_or_comes_back() {
        let notices = Notices::default();
        let workload =
            |name| WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", name) };
        let notice = |found: &str| Some(Transition::warning("WorkloadError", found, "correct it"));
        for (name, said, is_sent) in [
            ("a", notice("one"), true),
            ("a", notice("one"), false),
            ("b", notice("one"), true),
            ("a", notice("two"), true),
            ("a", None, false),
            ("a", None, false),
            ("a", notice("two"), true),
            ("b", notice("one"), false),
        ] {
            let sent = notices.begin((&workload(name), "uid-1"), said.clone());
            assert_eq!(sent, said.filter(|_| is_sent), "{name}");
        }
        let again = notices.begin((&workload("b"), "uid-2"), notice("one"));
        assert_eq!(again, notice("one"), "another object of that name");
    }
}
