//! Syntax of Kubernetes names, labels, kinds and UIDs.
//! A policy that the API server rejects protects nobody, so invalid syntax is refused before planning.

use crate::limits::NAME_BYTES;

/// Maximum length of a label value, label name and DNS label, in bytes.
pub(crate) const LABEL_BYTES: usize = 63;

/// True for a DNS-1123 label of at most 63 bytes, the syntax of namespace names.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_BYTES && is_dns_part(text)
}

/// True for a DNS-1123 subdomain of at most 253 bytes, the syntax of most object names.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= NAME_BYTES && text.split('.').all(is_dns_part)
}

/// True for a label key: a name of up to 63 bytes, optionally after a DNS subdomain and a slash.
pub fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// True for a label value: empty, or up to 63 letters, digits, `-`, `_`, `.` that begin and end with a letter or
/// digit.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty()
        || (text.len() <= LABEL_BYTES
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && has_ends(text, |b| b.is_ascii_alphanumeric()))
}

/// True for a kind: a capital letter followed by letters and digits, at most 63 bytes.
pub(crate) fn is_kind(text: &str) -> bool {
    text.len() <= LABEL_BYTES
        && text.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// True for a UID: 1 to 128 printable ASCII bytes without spaces. The API server assigns UUIDs, but does not
/// promise their form.
pub(crate) fn is_uid(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_dns_part(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().all(|b| inside(b) || b == b'-') && has_ends(text, inside)
}

/// True if `text` is not empty and `allowed` accepts its first and last byte.
fn has_ends(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(&allowed) && text.bytes().next_back().is_some_and(&allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dns_1123() {
        for good in ["a", "a-b", "0", "a.b-c.d", &"a".repeat(63)] {
            assert!(is_dns_subdomain(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a..b", ".a", "a.", "é", "a b", "a\n", &"a".repeat(254)] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
        assert!(!is_dns_label("a.b"));
        assert!(!is_dns_label(&"a".repeat(64)));
    }

    #[test]
    fn label_keys_and_values_follow_the_api_server() {
        for good in ["app", "app.kubernetes.io/name", "A_b.c-9", "x/y"] {
            assert!(is_label_key(good), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "Up/x", "a b", "-a", &"a".repeat(64)] {
            assert!(!is_label_key(bad), "{bad}");
        }
        assert!(is_label_value(""));
        assert!(!is_label_value("_"));
        assert!(!is_label_value(&"a".repeat(64)));
    }

    #[test]
    fn kinds_and_uids_are_plain_words() {
        assert!(is_kind("StatefulSet"));
        assert!(!is_kind("deployment"));
        assert!(!is_kind("A/B"));
        assert!(is_uid("0b6e7f0c-1a55-4a44-b0dd-6f6f1f6f6f6f"));
        assert!(!is_uid(""));
        assert!(!is_uid("a b"));
    }
}
