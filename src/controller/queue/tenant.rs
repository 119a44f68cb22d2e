//! The namespace that a key of the queue counts for.

/// Key that belongs to a namespace, whose keys share its slots and alternate with other namespaces.
pub trait Tenant {
    /// Namespace that the key counts for.
    fn namespace(&self) -> &str;
}
