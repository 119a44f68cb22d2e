//! Validated names of namespaces.

use super::error::InputError;
use super::syntax::is_dns_label;

/// Namespace name that is a DNS-1123 label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// Parses a namespace name; refuses text that is no DNS-1123 label of at most 63 bytes.
    pub fn parse(name: &str) -> Result<Self, InputError> {
        if is_dns_label(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InputError::malformed("the namespace", name))
        }
    }

    /// Namespace name as text, at most 63 bytes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_one_dns_label() {
        for (name, is_good) in
            [("team", true), ("team-1", true), ("a.b", false), ("", false), ("Team", false)]
        {
            assert_eq!(Namespace::parse(name).is_ok(), is_good, "{name}");
        }
    }
}
