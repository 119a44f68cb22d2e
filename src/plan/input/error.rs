//! Errors of planning input.
//! Input is accepted whole or refused: dropping a part that does not parse could widen a policy rule.

use countersign_core::text::Quoted;

/// Input that no plan may be built on; the message names the input and quotes the value found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Name, label or UID that Kubernetes would not accept.
    #[error("{what} is not valid: {}", Quoted(.found))]
    Malformed {
        /// Input that is malformed, as a noun phrase for the message.
        what: &'static str,
        /// Text found, quoted in the message.
        found: String,
    },
    /// Empty selector, which would select every Pod of a namespace.
    #[error("the selector of {0} is empty and would select every Pod of its namespace")]
    EmptySelector(&'static str),
    /// More labels than are read, so that what they select is not known.
    #[error("{0} has more labels than are read")]
    TooManyLabels(&'static str),
    /// Workload selector that depends on a label that the operator writes.
    #[error("the workload's selector uses {}, which belongs to the operator", Quoted(.0))]
    ReservedLabel(String),
    /// IP address that no server in or near the cluster can have.
    #[error("{what} is not a usable address: {}", Quoted(.found))]
    Address {
        /// Input that holds the address, as a noun phrase for the message.
        what: &'static str,
        /// Address text found, quoted in the message.
        found: String,
    },
    /// Empty list where at least one entry is required.
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
