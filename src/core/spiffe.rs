//! SPIFFE IDs and trust domain names, compared byte for byte (rule 41; SPIFFE-ID §2).
//! Nothing is lower-cased or otherwise repaired: a text that two readers could take for different IDs is refused.

use super::limits::{SPIFFE_ID_BYTES, TRUST_DOMAIN_BYTES};
use super::refusal::{Reason, Refusal};
use super::text::Quoted;
use std::fmt;
use std::sync::Arc;

const SCHEME: &str = "spiffe://";

/// The name of a trust domain, for example `example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a bare name: 1 to 255 of `a`–`z`, `0`–`9`, `.`, `-`, `_`, without scheme, port or path.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        match trust_domain_problem(text) {
            None => Ok(Self(text.into())),
            Some(problem) => Err(malformed("trust domain", text, problem)),
        }
    }

    /// The name, without scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SPIFFE ID, for example `spiffe://example.org/ns/shop/sa/cart`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Parses an ID of at most 2048 bytes. The path may be absent, and then no slash may follow the trust domain.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > SPIFFE_ID_BYTES {
            return Err(malformed("SPIFFE ID", text, "is longer than 2048 bytes"));
        }
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(malformed("SPIFFE ID", text, "does not start with spiffe:// in lower case"));
        };
        let (domain, path) = match rest.find('/').and_then(|slash| rest.split_at_checked(slash)) {
            Some(parts) => parts,
            None => (rest, ""),
        };
        if let Some(problem) = trust_domain_problem(domain).or_else(|| path_problem(path)) {
            return Err(malformed("SPIFFE ID", text, problem));
        }
        Ok(Self { text: text.into(), trust_domain: TrustDomain(domain.into()) })
    }

    /// The whole ID, scheme included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain that the ID belongs to.
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash; empty if the ID names a trust domain.
    pub fn path(&self) -> &str {
        let path =
            self.text.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(self.trust_domain.as_str()));
        path.unwrap_or_default()
    }

    /// True if the ID names a workload; an ID without a path names a trust domain.
    pub fn has_path(&self) -> bool {
        !self.path().is_empty()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn trust_domain_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("has no trust domain");
    }
    if name.len() > TRUST_DOMAIN_BYTES {
        return Some("names a domain longer than 255 bytes");
    }
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    (!name.bytes().all(allowed)).then_some("names its domain with characters other than a-z 0-9 . - _")
}

fn path_problem(path: &str) -> Option<&'static str> {
    let segments = path.strip_prefix('/')?;
    segments.split('/').find_map(|segment| match segment {
        "" => Some("has an empty path segment or a trailing slash"),
        "." | ".." => Some("has a relative path segment"),
        _ => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (!segment.bytes().all(allowed)).then_some("has path characters other than a-z A-Z 0-9 . - _")
        }
    })
}

fn malformed(what: &str, text: &str, problem: &str) -> Refusal {
    Refusal::new(Reason::SpiffeIdMalformed, format!("{what} {} {problem}", Quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_ids_keep_their_text_domain_and_path() {
        for (text, domain, path) in [
            ("spiffe://example.org", "example.org", ""),
            ("spiffe://example.org/a", "example.org", "/a"),
            ("spiffe://example.org/ns/a/sa/b", "example.org", "/ns/a/sa/b"),
            ("spiffe://1.2.3.4/A-b_c.d", "1.2.3.4", "/A-b_c.d"),
            ("spiffe://_/...", "_", "/..."),
            ("spiffe://example.org/.hidden/a..b", "example.org", "/.hidden/a..b"),
        ] {
            let id = SpiffeId::parse(text).expect(text);
            assert_eq!(
                (id.as_str(), id.trust_domain().as_str(), id.path(), id.has_path()),
                (text, domain, path, !path.is_empty())
            );
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn rule_41_look_alikes_are_refused_instead_of_repaired() {
        for text in [
            "",
            "spiffe:",
            "spiffe:/example.org/a",
            "spiffe://",
            "spiffe:///a",
            "SPIFFE://example.org/a",
            "Spiffe://example.org/a",
            "spiffe://Example.org/a",
            "spiffe://example.org/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/",
            "spiffe://example.org/a//b",
            "spiffe://example.org/./a",
            "spiffe://example.org/a/..",
            "spiffe://example.org/%61",
            "spiffe://example.org:443/a",
            "spiffe://user@example.org/a",
            "spiffe://user:pw@example.org/a",
            "spiffe://example.org?x",
            "spiffe://example.org/a?b=c",
            "spiffe://example.org#x",
            "spiffe://example.org/a#b",
            "spiffe://[::1]/a",
            "spiffe://example.org\\a",
            "spiffe://ex\u{e4}mple.org/a",
            "spiffe://example.org/\u{e4}",
            "spiffe://example.org/a\0",
            "spiffe://example.org/a b",
            " spiffe://example.org/a",
            "spiffe://example.org/a\n",
            "https://example.org/a",
            "spiffe:example.org/a",
        ] {
            let refusal = SpiffeId::parse(text).expect_err(text);
            assert_eq!(refusal.reason(), Reason::SpiffeIdMalformed, "{text:?}");
        }
    }

    #[test]
    fn rule_41_every_byte_is_judged_by_the_published_alphabet() {
        for byte in 0..=127_u8 {
            let c = char::from(byte);
            let in_domain = c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
            let in_path = in_domain || c.is_ascii_uppercase();
            assert_eq!(TrustDomain::parse(&format!("a{c}b")).is_ok(), in_domain, "domain {c:?}");
            let starts_path = c == '/';
            assert_eq!(
                SpiffeId::parse(&format!("spiffe://a{c}b/c")).is_ok(),
                in_domain || starts_path,
                "id {c:?}"
            );
            assert_eq!(
                SpiffeId::parse(&format!("spiffe://a/b{c}d")).is_ok(),
                in_path || starts_path,
                "path {c:?}"
            );
        }
        for code in (0x80..0x800).chain([0x2024, 0xff0e, 0x1_f600]) {
            let c = char::from_u32(code).expect("not a surrogate");
            assert!(TrustDomain::parse(&format!("a{c}b")).is_err(), "domain {c:?}");
            assert!(SpiffeId::parse(&format!("spiffe://a/b{c}d")).is_err(), "path {c:?}");
        }
    }

    #[test]
    fn lengths_are_bounded_exactly() {
        assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
        assert!(TrustDomain::parse(&"a".repeat(256)).is_err());
        let longest = format!("spiffe://a/{}", "b".repeat(2048 - 11));
        assert!(SpiffeId::parse(&longest).is_ok());
        assert!(SpiffeId::parse(&format!("{longest}b")).is_err());
    }

    #[test]
    fn a_trust_domain_is_a_bare_name() {
        for text in ["spiffe://example.org", "example.org/", "example.org:80", "Example.org", "", "keys "] {
            assert!(TrustDomain::parse(text).is_err(), "{text:?}");
        }
    }
}
