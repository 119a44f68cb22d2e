//! Why observed facts cannot be planned with.
//! A fact is accepted whole or refused: dropping the part that does not parse could widen a rule.

use countersign_core::text::Quoted;

/// A fact that no plan may be built on; the message names the fact and quotes what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A name, label or UID is not what Kubernetes would accept.
    #[error("{what} is not valid: {}", Quoted(.found))]
    Malformed {
        /// Which fact.
        what: &'static str,
        /// The text found.
        found: String,
    },
    /// A selector is empty: it would mean every Pod of a namespace.
    #[error("the selector of {0} is empty and would select every Pod of its namespace")]
    EmptySelector(&'static str),
    /// The workload's selector depends on a label that the operator changes.
    #[error("the workload's selector uses {}, which belongs to the operator", Quoted(.0))]
    ReservedLabel(String),
    /// An IP address is not one that a server in or near the cluster can have.
    #[error("{what} is not a usable address: {}", Quoted(.found))]
    Address {
        /// Which fact.
        what: &'static str,
        /// The text found.
        found: String,
    },
    /// A list that must name at least one thing is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
}

impl InputError {
    pub(super) fn malformed(what: &'static str, found: &str) -> Self {
        Self::Malformed { what, found: found.to_owned() }
    }

    pub(super) fn address(what: &'static str, found: &str) -> Self {
        Self::Address { what, found: found.to_owned() }
    }
}
