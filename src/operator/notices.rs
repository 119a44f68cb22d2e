//! Notices about workloads that were sent as events, so that each is sent when it begins and not at every turn.

use super::index::WorkloadRef;
use countersign_plan::agent_card::turn::Transition;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Last notice about each workload that has one, with the UID of the object.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<BTreeMap<WorkloadRef, (String, Transition)>>);

impl Notices {
    /// Records what there is to say about a workload, and returns it if it was not said last about this object.
    pub(crate) fn begin(
        &self,
        (workload, uid): (&WorkloadRef, &str),
        notice: Option<Transition>,
    ) -> Option<Transition> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notice) = notice else {
            all.remove(workload);
            return None;
        };
        let said = (uid.to_owned(), notice);
        let is_new = all.get(workload) != Some(&said);
        is_new.then(|| {
            all.insert(workload.clone(), said.clone());
            said.1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{ObjectRef, WorkloadKind};

    #[test]
    fn a_notice_is_sent_when_it_begins_changes_or_comes_back() {
        let notices = Notices::default();
        let workload =
            |name| WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("team", name) };
        let notice = |note: &str| {
            Some(Transition { is_warning: true, reason: "WorkloadError".to_owned(), note: note.to_owned() })
        };
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
