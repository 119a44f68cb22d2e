//! The exact bytes that other implementations sign, against our canonical forms.
//! Where the bytes come from is told in `tests/fixtures/README.md`; every difference is listed, with its reason,
//! below `tests/interop_canonical/`, and an entry that is not needed any more fails too.

mod support;
#[path = "support/tables.rs"]
mod tables;

use countersign_core::canon::{Profile, canonicalize};
use countersign_core::json::{Document, JsonLimits, Numbers};
use serde::Deserialize;
use std::collections::BTreeMap;
use support::{Disagreements, in_tests, read, read_json};
use tables::read_toml;

/// Implementation → card → the bytes it signs; `None` where it refuses the card.
type Bytes = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// An implementation, the profile that must reproduce it, and on cards of which names.
type Reproduces = (&'static str, Profile, fn(&str) -> bool);

const REPRODUCES: [Reproduces; 10] = [
    ("py0.3.26", Profile::Py03, any),
    ("py1.1.0", Profile::PyLegacy, any),
    ("py1.3.0", Profile::ProtoFoldedJcs, any),
    ("py1.3.0", Profile::ProtoCleanJcs, is_v1),
    ("js1.0.1", Profile::ProtoCleanJcs, any),
    ("js1.3.0", Profile::ProtoCleanJcs, any),
    ("js1.3.0", Profile::ProtoFoldedJcs, is_v1),
    ("kagenti", Profile::KagentiGo, any),
    ("spec841", Profile::Spec841, any),
    ("rawJCS", Profile::JcsRaw, any),
];

fn any(_: &str) -> bool {
    true
}

/// Cards in the shape of 1.0, by the first digit of their names: folding must not change them.
fn is_v1(card: &str) -> bool {
    card.starts_with(['0', '1', '2'])
}

#[derive(Deserialize)]
struct Exceptions {
    exception: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    card: String,
    implementation: Vec<String>,
    /// Our reason code, or "bytes" if we write other bytes.
    ours: String,
    why: String,
}

/// The listed differences of one table, and which of them were met.
struct Listed {
    entries: BTreeMap<(String, String), (String, bool)>,
}

impl Listed {
    fn new(exceptions: Exceptions, disagreements: &mut Disagreements) -> Self {
        let mut entries = BTreeMap::new();
        for exception in exceptions.exception {
            if exception.why.len() < 10 {
                disagreements.note(format_args!("{}: an exception needs a reason", exception.card));
            }
            for implementation in exception.implementation {
                entries.insert((exception.card.clone(), implementation), (exception.ours.clone(), false));
            }
        }
        Self { entries }
    }

    fn expected(&mut self, card: &str, implementation: &str) -> Option<String> {
        let entry = self.entries.get_mut(&(card.to_owned(), implementation.to_owned()))?;
        entry.1 = true;
        Some(entry.0.clone())
    }

    fn finish(self, disagreements: &mut Disagreements) {
        for ((card, implementation), (ours, met)) in self.entries {
            if !met {
                disagreements
                    .note(format_args!("{card} / {implementation}: the exception {ours:?} is not needed"));
            }
        }
    }
}

/// Our bytes, or the code of our refusal.
fn ours(card: &[u8], profile: Profile) -> Result<String, &'static str> {
    let document = Document::parse(card.to_vec(), &JsonLimits::CARD, Numbers::Binary64)
        .map_err(|r| r.reason().code())?;
    let bytes = canonicalize(&document, profile).map_err(|r| r.reason().code())?;
    String::from_utf8(bytes).map_err(|_| "not UTF-8")
}

fn compare(
    card: &str,
    text: &[u8],
    theirs: &str,
    implementation: &str,
    profile: Profile,
    listed: &mut Listed,
    disagreements: &mut Disagreements,
) {
    let found = ours(text, profile);
    let what = format!("{card}: {implementation} as {}", profile.id());
    match listed.expected(card, implementation) {
        None => disagreements.check(what, &Ok(theirs.to_owned()), &found),
        Some(code) => {
            let told = match &found {
                Ok(bytes) if bytes == theirs => "the same bytes",
                Ok(_) => "bytes",
                Err(code) => code,
            };
            disagreements.check(what, &code.as_str(), &told);
        }
    }
}

#[test]
fn every_profile_reproduces_the_bytes_of_its_implementations() {
    let theirs: Bytes = read_json(&in_tests("fixtures/canonical-bytes.json"));
    let mut disagreements = Disagreements::default();
    let mut listed = Listed::new(read_toml(&in_tests("interop_canonical/cards.toml")), &mut disagreements);
    for (implementation, profile, applies) in REPRODUCES {
        let Some(cards) = theirs.get(implementation) else {
            disagreements.note(format_args!("no bytes of {implementation}"));
            continue;
        };
        for (card, bytes) in cards.iter().filter(|(card, _)| applies(card)) {
            let Some(bytes) = bytes else { continue };
            let text = read(&in_tests(&format!("fixtures/cards/{card}.json")));
            compare(card, &text, bytes, implementation, profile, &mut listed, &mut disagreements);
        }
    }
    listed.finish(&mut disagreements);
    disagreements.finish("canonical bytes of real cards");
}

#[test]
fn odd_shapes_give_the_bytes_of_the_sdks_or_a_listed_difference() {
    let shapes: BTreeMap<String, BTreeMap<String, Option<String>>> =
        read_json(&in_tests("fixtures/odd-shapes.json"));
    let mut disagreements = Disagreements::default();
    let mut listed =
        Listed::new(read_toml(&in_tests("interop_canonical/odd-shapes.toml")), &mut disagreements);
    for (shape, row) in &shapes {
        let Some(Some(input)) = row.get("input") else {
            disagreements.note(format_args!("{shape} has no input"));
            continue;
        };
        for (implementation, profile) in [
            ("py1.3.0", Profile::ProtoFoldedJcs),
            ("js1.3.0", Profile::ProtoCleanJcs),
            ("py1.1.0", Profile::PyLegacy),
            ("py0.3.26", Profile::Py03),
        ] {
            // Where the SDK refuses the card nothing was signed, so there is nothing to reproduce.
            let Some(Some(theirs)) = row.get(implementation) else { continue };
            compare(
                shape,
                input.as_bytes(),
                theirs,
                implementation,
                profile,
                &mut listed,
                &mut disagreements,
            );
        }
    }
    listed.finish(&mut disagreements);
    disagreements.finish("canonical bytes of odd shapes");
}

/// A2A 1.0 §8.4.1 prints a fragment and its canonical form: required members stay although they are empty, optional
/// ones that were set stay, and the empty list that is neither goes.
#[test]
fn the_example_of_the_specification_comes_out_byte_for_byte() {
    let fragment = br#"{
  "name": "Example Agent",
  "description": "",
  "capabilities": { "streaming": false, "pushNotifications": false, "extensions": [] },
  "skills": []
}"#;
    let expected = r#"{"capabilities":{"pushNotifications":false,"streaming":false},"description":"","name":"Example Agent","skills":[]}"#;
    assert_eq!(ours(fragment, Profile::Spec841), Ok(expected.to_owned()));
    assert_ne!(ours(fragment, Profile::JcsRaw), Ok(expected.to_owned()), "the empty list is in the document");
    assert_ne!(
        ours(fragment, Profile::ProtoCleanJcs),
        Ok(expected.to_owned()),
        "stripping signers drop the rest too"
    );
}
