//! References to AgentCards, used as owners and labels of planned objects.

use super::error::InputError;
use super::syntax::{is_dns_subdomain, is_uid};

/// Reference to an AgentCard object that targets a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CardRef {
    name: String,
    uid: Option<String>,
}

impl CardRef {
    /// Reference by name; `uid` exists once the AgentCard is stored, and only then can the AgentCard own a policy.
    pub fn new(name: &str, uid: Option<&str>) -> Result<Self, InputError> {
        if !is_dns_subdomain(name) {
            return Err(InputError::malformed("the AgentCard's name", name));
        }
        if let Some(uid) = uid
            && !is_uid(uid)
        {
            return Err(InputError::malformed("the AgentCard's UID", uid));
        }
        Ok(Self { name: name.to_owned(), uid: uid.map(str::to_owned) })
    }

    /// Name of the AgentCard object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// UID of the AgentCard object, if it is stored.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uids_that_kubernetes_would_not_accept_are_refused() {
        for (name, uid, is_good) in [
            ("card", None, true),
            ("card", Some("5f6ed5e4-8d4e-4b5c-9d0e-1f2a3b4c5d6e"), true),
            ("Card", None, false),
            ("card", Some(""), false),
        ] {
            assert_eq!(CardRef::new(name, uid).is_ok(), is_good, "{name} {uid:?}");
        }
    }
}
