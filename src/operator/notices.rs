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
    /// Sends what there is to say about an object, unless it was said last about this one: with the same reason and fix, however
    /// what was found is worded. `send` says whether the notice was taken. False if it was not: it is sent at the next turn.
    pub(crate) fn tell(
        &self,
        (object, uid): (&K, &str),
        notice: Option<Transition>,
        send: impl FnOnce(&Transition) -> bool,
    ) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notice) = notice else {
            all.remove(object);
            return true;
        };
        let is_said = all.get(object).is_some_and(|(of, said)| of == uid && said.repeats(&notice));
        if is_said {
            return true;
        }
        let is_taken = send(&notice);
        if is_taken {
            all.insert(object.clone(), (uid.to_owned(), notice));
        }
        is_taken
    }

    /// Forgets what was said about an object that is gone.
    pub(crate) fn forget(&self, object: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{ObjectRef, WorkloadKind, WorkloadRef};

    fn workload(name: &str) -> WorkloadRef {
        WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", name) }
    }

    /// Tells a notice of what was found and what to do, where the queue has room or not; true if it was sent.
    fn is_sent(
        notices: &Notices<WorkloadRef>,
        (name, uid): (&str, &str),
        said: Option<(&str, &str)>,
        has_room: bool,
    ) -> bool {
        let mut sent = false;
        let said = said.map(|(found, fix)| Transition::warning("WorkloadError", found, fix));
        let is_told = notices.tell((&workload(name), uid), said, |_| {
            sent = true;
            has_room
        });
        assert_eq!(is_told, has_room || !sent, "what is owed needs another turn");
        sent
    }

    #[test]
    fn a_notice_is_sent_when_it_begins_changes_or_comes_back() {
        let notices = Notices::default();
        for (name, said, expected) in [
            ("a", Some(("one", "correct it")), true),
            ("a", Some(("one", "correct it")), false),
            ("b", Some(("one", "correct it")), true),
            ("a", Some(("two", "correct it")), false),
            ("a", Some(("one", "correct it")), false),
            ("a", Some(("one", "take it off")), true),
            ("a", None, false),
            ("a", None, false),
            ("a", Some(("one", "take it off")), true),
            ("b", Some(("one", "correct it")), false),
        ] {
            assert_eq!(is_sent(&notices, (name, "uid-1"), said, true), expected, "{name}: {said:?}");
        }
        let again = || is_sent(&notices, ("b", "uid-2"), Some(("one", "correct it")), true);
        assert_eq!([again(), again()], [true, false], "another object of that name");
        notices.forget(&workload("b"));
        assert!(again(), "forgotten");
    }

    #[test]
    fn a_notice_that_the_queue_dropped_is_sent_at_the_next_turn() {
        let notices = Notices::default();
        let turn = |has_room| is_sent(&notices, ("a", "uid-1"), Some(("one", "correct it")), has_room);
        assert_eq!([turn(false), turn(false), turn(true), turn(true)], [true, true, true, false]);
    }
}
