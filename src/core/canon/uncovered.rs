//! Received members that a signature does not cover (rules 47 and 48).
//! Named by JSON Pointer (RFC 6901) into the received document.

/// One member or element that is not part of the signed bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uncovered {
    pointer: String,
    empty: bool,
}

impl Uncovered {
    /// `empty` says that the value holds nothing but nulls, empty strings, lists and objects.
    pub(super) const fn new(pointer: String, empty: bool) -> Self {
        Self { pointer, empty }
    }

    /// Where it stands in the received document, as a JSON Pointer.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// True if it can decide who is called, how, or with which authentication.
    ///
    /// An empty value inside an extension's free-form `params` is reported but does not count: stripping
    /// signers leave it out, and what is handed on is the signed form, which does not have it.
    pub fn decides_security(&self) -> bool {
        let mut segments = self.pointer.split('/').skip(1);
        match (segments.next(), segments.next(), segments.next()) {
            (
                Some(
                    "url"
                    | "supportedInterfaces"
                    | "additionalInterfaces"
                    | "preferredTransport"
                    | "protocolVersion"
                    | "tenant"
                    | "security"
                    | "securityRequirements"
                    | "securitySchemes"
                    | "supportsAuthenticatedExtendedCard",
                ),
                _,
                _,
            )
            | (Some("capabilities"), Some("extendedAgentCard"), _)
            | (Some("skills"), Some(_), Some("security" | "securityRequirements")) => true,
            (Some("capabilities"), Some("extensions"), _) => {
                !(self.empty && segments.next() == Some("params"))
            }
            _ => false,
        }
    }

    /// The same at another place.
    pub(super) fn moved(self, to: impl FnOnce(&str) -> String) -> Self {
        Self { pointer: to(&self.pointer), empty: self.empty }
    }
}

/// Appends one reference token to a JSON Pointer.
pub(super) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_47_members_that_decide_about_security_are_known() {
        for (pointer, empty, expected) in [
            ("/url", false, true),
            ("/supportedInterfaces/1", false, true),
            ("/securitySchemes/a/apiKeySecurityScheme/extra", false, true),
            ("/capabilities/extendedAgentCard", false, true),
            ("/capabilities/extensions/0", false, true),
            ("/capabilities/extensions/0/params/a", false, true),
            ("/capabilities/extensions/0/params/a", true, false),
            ("/skills/3/securityRequirements", false, true),
            ("/skills/3/description", false, false),
            ("/xVendor", false, false),
            ("/urls", false, false),
        ] {
            let member = Uncovered::new(pointer.to_owned(), empty);
            assert_eq!(member.decides_security(), expected, "{pointer} {empty}");
        }
    }

    #[test]
    fn pointers_escape_as_in_rfc_6901() {
        let mut pointer = String::new();
        push_token(&mut pointer, "a/b~c");
        assert_eq!(pointer, "/a~1b~0c");
    }
}
