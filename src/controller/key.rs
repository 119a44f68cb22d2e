//! What can be brought in step: one key per thing, so that what is asked for twice is done once, and never by two at the
//! same time.

use crate::queue::Tenant;
use countersign_api::ObjectRef;
use std::fmt;

/// A kind of key. No two kinds have the same name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// How it is called in the log.
    pub name: &'static str,
    /// The controller under whose name its turns are counted.
    pub controller: &'static str,
    /// Whether a turn may wait for somebody other than the API server.
    pub waits: bool,
}

/// Something to bring in step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What about the object.
    pub kind: &'static Kind,
    /// The object; its namespace is empty if it lies in none.
    pub object: ObjectRef,
}

impl Tenant for Key {
    fn namespace(&self) -> &str {
        let ObjectRef { namespace, name } = &self.object;
        // A namespace is its own tenant.
        if namespace.is_empty() { name } else { namespace }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name, self.object)
    }
}
