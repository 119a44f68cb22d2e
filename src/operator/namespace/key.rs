//! Keys of the isolation of a namespace.

use crate::index::ObjectRef;
use countersign_controller::key::{Key, Reconciler};

/// Isolation of all agents of a namespace.
pub(crate) static NAMESPACE: Reconciler =
    Reconciler { name: "namespace", controller: "networkpolicy", waits: false };
/// Managed policy whose workload is unknown.
pub(crate) static ORPHAN: Reconciler =
    Reconciler { name: "networkpolicy", controller: "networkpolicy", waits: false };

/// Key for the isolation of a namespace.
pub(crate) fn namespace(name: impl AsRef<str>) -> Key {
    Key { reconciler: &NAMESPACE, object: ObjectRef::cluster_scoped(name) }
}

/// Key for a managed policy whose workload is unknown.
pub(crate) const fn orphan(object: ObjectRef) -> Key {
    Key { reconciler: &ORPHAN, object }
}
