//! What is known about OpenShift's security context constraint, and about who needs it.

use super::findings::Findings;
use super::index::ObjectRef;
use countersign_api::keys::SCC_BINDING;
use countersign_controller::key::{Key, Reconciler};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// RoleBinding of one namespace.
pub(crate) static SCC: Reconciler = Reconciler { name: "scc", controller: "agentruntime", waits: false };

/// Key for the RoleBinding of a namespace.
pub(crate) fn key(namespace: &str) -> Key {
    Key { reconciler: &SCC, object: ObjectRef::new(namespace, SCC_BINDING) }
}

/// What turns know of each other.
#[derive(Debug, Default)]
pub(crate) struct SccState {
    /// Whether the cluster has the role; `None` until it was asked.
    has_role: Mutex<Option<bool>>,
    /// Service account that each `AgentRuntime`, by namespace and label value, needs the constraint for, if any.
    pub(crate) needs: Findings<ObjectRef, Option<String>>,
    /// What stands in each namespace.
    pub(crate) bound: Findings<String, Bound>,
}

/// What stands in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// These service accounts may use the constraint.
    Accounts(BTreeSet<String>),
    /// The RoleBinding could not be written, for this reason.
    Refused(String),
}

/// What is known about the service account of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It may use the constraint, or does not need to.
    Stands,
    /// A turn of its namespace is due.
    Awaited,
    /// The RoleBinding could not be written, for this reason.
    Refused(String),
}

impl SccState {
    pub(crate) fn has_role(&self) -> Option<bool> {
        *self.has_role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores whether the cluster has the role; true if that is new.
    pub(crate) fn set_role(&self, has_role: bool) -> bool {
        let mut known = self.has_role.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.replace(has_role);
        before != Some(has_role)
    }

    /// What is known about an account of a namespace.
    pub(crate) fn binding(&self, namespace: &str, account: &str) -> Binding {
        match (self.has_role(), self.bound.get(&namespace.to_owned())) {
            (Some(false), _) => Binding::Stands,
            (Some(true), Some(Bound::Accounts(accounts))) if accounts.contains(account) => Binding::Stands,
            (Some(true), Some(Bound::Refused(said))) => Binding::Refused(said),
            (Some(true) | None, _) => Binding::Awaited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_waits_for_its_own_account_where_the_cluster_has_the_role() {
        let state = SccState::default();
        let binding = || state.binding("team", "weather");
        assert_eq!(binding(), Binding::Awaited, "the cluster was not asked yet");
        assert!(state.set_role(false) && !state.set_role(false));
        assert_eq!(binding(), Binding::Stands, "it is no OpenShift");
        assert!(state.set_role(true));
        assert_eq!(binding(), Binding::Awaited);
        let bound = |bound| state.bound.set("team".to_owned(), bound);
        bound(Bound::Accounts(["other".to_owned()].into()));
        assert_eq!(binding(), Binding::Awaited);
        bound(Bound::Accounts(["other".to_owned(), "weather".to_owned()].into()));
        assert_eq!(binding(), Binding::Stands);
        bound(Bound::Refused("no".to_owned()));
        assert_eq!(binding(), Binding::Refused("no".to_owned()));
        assert_eq!(state.binding("elsewhere", "weather"), Binding::Awaited);
    }
}
