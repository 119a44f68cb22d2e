//! A path that needs no token is the same path for whoever normalises it: nothing to decode, nothing to climb, and a
//! URL parser leaves it as it is. The patterns agree with a matcher that tries everything.
#![no_main]

use countersign_authbridge::glob::Glob;
use countersign_authbridge::request_path::BypassPaths;
use libfuzzer_sys::fuzz_target;
use url::Url;

const PATTERNS: [&str; 4] = ["/.well-known/*", "/healthz", "/readyz", "/livez"];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let paths = BypassPaths::parse(&PATTERNS).expect("patterns");
    if paths.admits(text) == Ok(true) {
        assert!(!text.contains(['%', ';', '\\', '?', '#', '\0']), "{text:?}");
        let url = Url::parse(&format!("http://h{text}")).expect("a URL");
        assert_eq!(url.path(), text);
        let plain = PATTERNS[1..].contains(&text);
        let known = text.strip_prefix("/.well-known/").is_some_and(|rest| !rest.contains('/'));
        assert!(plain || known, "{text:?}");
    }
    // The input is a pattern and a text.
    let Some((pattern, text)) = text.split_once('\n') else { return };
    if pattern.len() > 24 || text.len() > 24 || pattern.contains(['{', '}']) {
        return;
    }
    let Ok(glob) = Glob::parse(pattern, b'.') else { return };
    assert_eq!(glob.matches(text), naive(pattern.as_bytes(), text.as_bytes()), "{pattern:?} on {text:?}");
});

/// Tries every length for every star.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => {
            let rest = rest.iter().position(|byte| *byte != b'*').map_or(&[][..], |at| &rest[at..]);
            (0..=text.len()).any(|skip| naive(rest, &text[skip..]))
        }
        [b'*', rest @ ..] => {
            let label = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
            (0..=label).any(|skip| naive(rest, &text[skip..]))
        }
        [b'?', rest @ ..] => matches!(text, [byte, after @ ..] if *byte != b'.' && naive(rest, after)),
        [byte, rest @ ..] => matches!(text, [first, after @ ..] if first == byte && naive(rest, after)),
    }
}
