//! Errors of planning input.
//! Input is accepted whole or refused: dropping a part that does not parse could widen a policy rule.

use countersign_core::refusal::Reason;
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
    #[error("{0}")]
    TooManyLabels(String),
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
    /// Remedy, as imperative sentences.
    pub fn fix(&self) -> String {
        match self {
            Self::Malformed { what, .. } => format!("Write {what} in the form that Kubernetes asks for."),
            Self::EmptySelector(what) => format!("Select {what} by at least one label."),
            Self::TooManyLabels(_) => Reason::LabelsTooMany.fix().to_owned(),
            Self::ReservedLabel(_) => {
                "Delete the workload, and create it with a selector of labels of its own: a \
                selector cannot be changed."
                    .to_owned()
            }
            Self::Address { what, .. } => {
                format!("Give {what} an address at which a server of the cluster answers.")
            }
            Self::Empty(what) => format!("Fill in {what}."),
        }
    }

    /// What was found and what to do.
    pub fn explained(&self) -> String {
        format!("{self}. {}", self.fix())
    }

    pub(super) fn malformed(what: &'static str, found: &str) -> Self {
        Self::Malformed { what, found: found.to_owned() }
    }

    pub(super) fn address(what: &'static str, found: &str) -> Self {
        Self::Address { what, found: found.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_to_do() {
        for (error, says) in [
            (InputError::malformed("the workload's name", "a b"), "Write the workload's name in the form"),
            (InputError::EmptySelector("the workload"), "Select the workload by at least one label"),
            (InputError::TooManyLabels("the workload has 129 labels".to_owned()), "Remove labels"),
            (InputError::ReservedLabel("x".to_owned()), "create it with a selector of labels of its own"),
            (
                InputError::address("an API server endpoint", "0.0.0.0"),
                "Give an API server endpoint an address",
            ),
            (InputError::Empty("the ports of DNS"), "Fill in the ports of DNS"),
        ] {
            let told = error.explained();
            assert!(told.starts_with(&error.to_string()) && told.contains(says), "{told}");
        }
    }
}
