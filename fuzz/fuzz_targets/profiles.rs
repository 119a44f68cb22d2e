//! Each canonical form is stable, says where it does not look, and is injective on everything else: changing or
//! removing what it keeps changes the bytes, changing what it lists as uncovered does not.
#![no_main]

use countersign_core::canon::{Profile, canonicalize, uncovered};
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::limits::UNCOVERED_LISTED;
use countersign_fuzz::cards::CardCase;
use countersign_fuzz::pointer;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
struct Case {
    card: CardCase,
    profile: u8,
    /// Which scalar is changed to test injectivity.
    scalar: u16,
    replacement: u8,
}

fuzz_target!(|case: Case| {
    let card = case.card.build();
    let Some(document) = read(&card) else { return };
    let profile = Profile::ALL[usize::from(case.profile) % Profile::ALL.len()];
    let Ok(bytes) = canonicalize(&document, profile) else { return };
    let Some(hidden) = hidden(&document, profile) else { return };
    check_stable(&bytes, profile);
    check_uncovered(&card, &bytes, &hidden, profile);
    check_injective(&card, &bytes, &hidden, profile, &case);
});

fn read(card: &Value) -> Option<Document> {
    let text = serde_json::to_vec(card).expect("a text");
    Document::parse(text, &JsonLimits::CARD, Numbers::Binary64).ok()
}

/// What is uncovered; none if it is too much to be listed.
fn hidden(document: &Document, profile: Profile) -> Option<Vec<String>> {
    let found = uncovered(document, profile).expect("a form that can be written can be explained");
    let listed: Vec<_> = found.listed().iter().map(|member| member.pointer().to_owned()).collect();
    assert!(listed.len() <= UNCOVERED_LISTED && (listed.is_empty() == found.is_empty()));
    (listed.len() == found.total()).then_some(listed)
}

/// What was signed, read back and written again, is what was signed.
fn check_stable(bytes: &[u8], profile: Profile) {
    let again = Document::parse(bytes.to_vec(), &JsonLimits::DERIVED, Numbers::Binary64).expect("JSON");
    let rewritten = canonicalize(&again, profile).expect("a form of its own form");
    assert_eq!(text(&rewritten), text(bytes), "{profile} is not stable");
    let is_jcs = matches!(
        profile,
        Profile::Spec841 | Profile::JcsRaw | Profile::ProtoCleanJcs | Profile::ProtoFoldedJcs
    );
    if is_jcs {
        let raw = canonicalize(&again, Profile::JcsRaw).expect("a raw form");
        assert_eq!(text(&raw), text(bytes), "{profile} is not RFC 8785");
    }
}

/// Taking away everything that is listed as uncovered changes nothing, and leaves nothing uncovered.
fn check_uncovered(card: &Value, bytes: &[u8], hidden: &[String], profile: Profile) {
    let mut rest = card.clone();
    let missing = pointer::remove_all(&mut rest, hidden);
    assert!(missing.is_empty(), "{profile}: no such place: {missing:?}");
    let rest = read(&rest).expect("a smaller card");
    let form = canonicalize(&rest, profile).expect("a form of the smaller card");
    assert_eq!(text(&form), text(bytes), "{profile}: {hidden:?} was not uncovered");
    assert_eq!(self::hidden(&rest, profile), Some(Vec::new()), "{profile}: uncovered was incomplete");
}

fn check_injective(card: &Value, bytes: &[u8], hidden: &[String], profile: Profile, case: &Case) {
    let scalars: Vec<String> = pointer::all(card)
        .into_iter()
        .filter(|place| {
            // The `type` of a 0.3 scheme follows from its other members.
            !pointer::is_within(place, "/signatures")
                && pointer::last(place) != "type"
                && card.pointer(place).is_some_and(|value| other(value, case.replacement).is_some())
        })
        .collect();
    if scalars.is_empty() {
        return;
    }
    let place = &scalars[usize::from(case.scalar) % scalars.len()];
    let value = card.pointer(place).expect("a scalar");
    let is_hidden = hidden.iter().any(|above| pointer::is_within(place, above));

    let mut changed = card.clone();
    *changed.pointer_mut(place).expect("a scalar") = other(value, case.replacement).expect("another value");
    if let Some(form) = form(&changed, profile) {
        assert_eq!(form != bytes, !is_hidden, "{profile}: {place} changed, hidden: {hidden:?}");
    }
    let is_default = ["JSONRPC", "0.3.0"].map(Value::from).contains(value);
    let mut removed = card.clone();
    if !is_default
        && !is_hidden
        && pointer::remove(&mut removed, place)
        && let Some(form) = form(&removed, profile)
    {
        assert_ne!(text(&form), text(bytes), "{profile}: {place} removed");
    }
}

fn form(card: &Value, profile: Profile) -> Option<Vec<u8>> {
    canonicalize(&read(card)?, profile).ok()
}

/// Another value of the same type; none for values that some form takes for absent.
fn other(value: &Value, replacement: u8) -> Option<Value> {
    match value {
        Value::String(text) if !text.is_empty() => Some(match replacement % 3 {
            0 => json!(format!("{text}\u{1f600}")),
            1 => json!(format!("{text}.")),
            _ => json!(if text == "x" { "y" } else { "x" }),
        }),
        Value::Bool(true) => Some(json!(false)),
        Value::Number(number) => {
            let number = number.as_f64()?;
            let other = if number.abs() < 1e9 { number + 1.0 } else { number / 2.0 };
            (other != number && other.is_finite()).then(|| json!(other))
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
