//! Bypass paths, which need no token, matched on exactly the bytes that are forwarded.
//! A path that another server could normalize to a bypass path, or from one, is refused: the agent reads it next, and may
//! do so.

use crate::glob::Glob;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;

/// Patterns of bypass paths; `*` stays within a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BypassPaths(Vec<Glob>);

impl BypassPaths {
    /// Parses the patterns; each begins with a slash and has no dot segments.
    ///
    /// The error is a sentence.
    pub fn parse(patterns: &[impl AsRef<str>]) -> Result<Self, String> {
        let read = |pattern: &str| {
            if !pattern.starts_with('/') || pattern.contains("**") || pattern.contains('%') {
                return Err("does not begin with /, or contains ** or %");
            }
            if pattern.split('/').any(is_dot_segment) {
                return Err("contains a dot segment");
            }
            Glob::parse(pattern, b'/')
        };
        let mut globs = Vec::with_capacity(patterns.len());
        for pattern in patterns.iter().map(AsRef::as_ref) {
            globs
                .push(read(pattern).map_err(|problem| format!("the pattern {} {problem}", Quoted(pattern)))?);
        }
        Ok(Self(globs))
    }

    /// True when a request for `path`, without its query, needs no token.
    ///
    /// `PathAmbiguous` when the path has dot segments, contains characters that servers treat differently, or is a bypass
    /// path only after decoding.
    pub fn admits(&self, path: &str) -> Result<bool, Refusal> {
        let refuse = |why: &str| {
            let found = format!("the path {} {why}", Quoted(path));
            Err(Refusal::new(Reason::PathAmbiguous, found))
        };
        if !path.starts_with('/') {
            return refuse("does not begin with /");
        }
        if !path.bytes().all(|byte| is_visible(byte) && !matches!(byte, b'#' | b'?')) {
            return refuse("has a character that does not belong into a path (RFC 3986 §3.3)");
        }
        // The usual request: no escape and nothing ambiguous, so there is one way to read it.
        if !path.contains(['%', ';', '\\', '.']) {
            return Ok(self.matches(path));
        }
        if let Some(why) = ambiguity(path) {
            return refuse(why);
        }
        if !path.contains(['%', ';']) {
            return Ok(self.matches(path));
        }
        // Servers differ in how often they decode escapes, and in which characters end a path, so every reading is tried.
        let once = decode(path);
        let twice = decode(&once);
        for reading in [&once, &twice] {
            if let Some(why) = ambiguity(reading) {
                return refuse(why);
            }
            if self.could_be_read_as_one(reading) {
                return refuse("becomes a path without a token when it is decoded");
            }
        }
        Ok(false)
    }

    /// True if the path matches as written. A path with a character that some clients escape and others do not (RFC 3986
    /// §3.3) never does, so that equivalent spellings need a token alike.
    fn matches(&self, path: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
        path.bytes().all(plain) && self.0.iter().any(|glob| glob.matches(path))
    }

    fn could_be_read_as_one(&self, decoded: &str) -> bool {
        let ends = decoded.match_indices(['?', '#', ';', '\0']).filter_map(|(end, _)| decoded.get(..end));
        let parameters_cut: Vec<&str> =
            decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
        self.matches(decoded)
            || ends.into_iter().any(|path| self.matches(path))
            || self.matches(&parameters_cut.join("/"))
    }
}

const fn is_visible(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
}

/// Reason why servers may read this path differently, whatever the patterns are.
fn ambiguity(path: &str) -> Option<&'static str> {
    if path.contains(['\\', '\0']) {
        return Some("contains a backslash or NUL");
    }
    path.split('/').any(is_dot_segment).then_some("contains a dot segment")
}

/// True for `.` and `..`, also with path parameters, which some servers remove before they resolve dot segments.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

/// Decodes percent escapes once; an invalid escape stays.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> BypassPaths {
        BypassPaths::parse(&["/.well-known/*", "/healthz", "/readyz", "/livez"]).unwrap()
    }

    #[test]
    fn the_paths_and_nothing_near_them_need_no_token() {
        for (path, expected) in [
            ("/healthz", true),
            ("/.well-known/agent-card.json", true),
            ("/.well-known/", true),
            ("/.well-known/a/b", false),
            ("/.well-known", false),
            ("/healthz/", false),
            ("//healthz", false),
            ("/Healthz", false),
            ("/admin", false),
            ("/", false),
            ("/agents/ns%2Fname", false),
            ("/file.name/v1.2", false),
            ("/a;b/c", false),
            ("/.well-known/a<b", false),
        ] {
            assert_eq!(paths().admits(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_path_that_another_reader_takes_for_one_of_them_is_refused() {
        for path in [
            "/healthz%3f/../../admin",
            "/mcp/../healthz",
            "/.well-known/x%3f/../../mcp",
            "/healthz%3f",
            "/healthz%3Fx=1",
            "/healthz%23",
            "/healthz%00",
            "/healthz%2500",
            "/%68ealthz",
            "/%2568ealthz",
            "/.well-known%2fx",
            "/.well-known/%2e%2e/admin",
            "/.well-known/.%2e/admin",
            "/.well-known/%252e%252e/admin",
            "/.well-known/..;/admin",
            "/.well-known/..;a=b/admin",
            "/.well-known/..%2fadmin",
            "/.well-known\\..\\admin",
            "/.well-known/..%5cadmin",
            "/healthz;x",
            "/healthz;/a",
            "/admin/.",
            "/./healthz",
            "healthz",
            "/.well-known/a\u{e}b",
            "/.well-known/ä",
            "/healthz?",
            "/.well-known/a#b",
            "",
        ] {
            let refusal = paths().admits(path).expect_err(path);
            assert_eq!(refusal.reason(), Reason::PathAmbiguous, "{path}");
        }
    }

    #[test]
    fn a_pattern_that_could_climb_or_span_is_refused() {
        for pattern in ["", "healthz", "/**", "/a/../b", "/a%2f", "/[a]"] {
            assert!(BypassPaths::parse(&[pattern]).is_err(), "{pattern}");
        }
    }
}
