//! The reader accepts exactly what `serde_json` accepts and our stricter rules do not forbid, reads the same
//! values, and the RFC 8785 writer agrees with another implementation and with itself.
#![no_main]

use countersign_core::json::{Dialect, Document, JsonLimits, Numbers, canonical_bytes};
use countersign_fuzz::json::{Facts, assert_same};
use libfuzzer_sys::fuzz_target;

/// Limits that short inputs reach.
const TINY: JsonLimits =
    JsonLimits { bytes: 600, depth: 4, nodes: 24, members: 6, key_bytes: 12, string_bytes: 20 };
/// Limits that no input of this target reaches.
const WIDE: JsonLimits = JsonLimits {
    bytes: usize::MAX,
    depth: 1000,
    nodes: usize::MAX,
    members: usize::MAX,
    key_bytes: usize::MAX,
    string_bytes: usize::MAX,
};

fuzz_target!(|text: &[u8]| {
    let facts = Facts::of(text);
    for (limits, numbers) in [
        (&JsonLimits::CARD, Numbers::Strict),
        (&JsonLimits::CARD, Numbers::Binary64),
        (&TINY, Numbers::Strict),
    ] {
        let read = Document::parse(text.to_vec(), limits, numbers);
        match (&read, &facts) {
            (Ok(_), None) => panic!("serde_json refuses this text"),
            (Err(_), None) => {}
            (Ok(document), Some(facts)) => {
                let reasons = facts.reasons(text, limits, numbers == Numbers::Strict);
                assert!(reasons.is_empty(), "should be refused for one of {reasons:?}");
                check_value(document, text);
            }
            (Err(refusal), Some(facts)) => {
                let reasons = facts.reasons(text, limits, numbers == Numbers::Strict);
                assert!(reasons.contains(&refusal.reason()), "{refusal}; expected one of {reasons:?}");
            }
        }
    }
});

fn check_value(document: &Document, text: &[u8]) {
    assert_eq!(document.text().as_bytes(), text);
    let theirs: serde_json::Value = serde_json::from_slice(text).expect("accepted before");
    assert_same(document.root(), &theirs);
    let ours = canonical_bytes(document.root());
    let oracle = serde_json_canonicalizer::to_vec(&theirs).expect("a canonical form");
    assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&oracle));
    for dialect in [Dialect::Jcs, Dialect::Go, Dialect::PythonFloats, Dialect::PythonNumbers] {
        let mut written = Vec::new();
        dialect.write_value(document.root(), &mut written);
        let again = Document::parse(written, &WIDE, Numbers::Binary64).expect("what we write is JSON");
        assert_eq!(canonical_bytes(again.root()), ours, "{dialect:?} changes the value");
        if dialect != Dialect::Jcs {
            let mut twice = Vec::new();
            dialect.write_value(again.root(), &mut twice);
            assert_eq!(twice, again.text().as_bytes(), "{dialect:?} is not stable");
        }
    }
}
