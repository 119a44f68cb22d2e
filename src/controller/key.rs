//! Reconciliation keys: one per object and reconciler, so that repeated requests run once and never concurrently.

use crate::queue::Tenant;
use countersign_api::ObjectRef;
use std::fmt;

/// Reconciler of the objects of one kind; its name is unique in the process.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reconciler {
    /// Name in the log.
    pub name: &'static str,
    /// Controller label under which turns are counted.
    pub controller: &'static str,
    /// True if a turn may wait for servers other than the API server, and so needs a slot of the long turns.
    pub waits: bool,
}

/// Key of one reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Reconciler that handles the object.
    pub reconciler: &'static Reconciler,
    /// Object to reconcile; the namespace is empty for cluster-scoped objects.
    pub object: ObjectRef,
}

impl Tenant for Key {
    fn namespace(&self) -> &str {
        let ObjectRef { namespace, name } = &self.object;
        // The key of a namespace object shares the slots of that namespace.
        if namespace.is_empty() { name } else { namespace }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.reconciler.name, self.object)
    }
}
