//! Cards made from a few examples by random edits that know what members of a card look like.

use super::pointer;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Example cards: A2A 1.0, A2A 0.3 and kagenti, between them with every known member.
pub static EXAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    [
        include_str!("../seeds/cards/v1.json"),
        include_str!("../seeds/cards/v03.json"),
        include_str!("../seeds/cards/kagenti.json"),
    ]
    .map(|text| serde_json::from_str(text).expect("an example"))
    .into()
});

/// Every member of the examples, to be planted elsewhere.
static MEMBERS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let mut members = Vec::new();
    for card in EXAMPLES.iter() {
        for place in pointer::all(card) {
            if let Some(Value::Object(object)) = card.pointer(&place) {
                members.extend(object.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
    }
    members
});

const TEXTS: [&str; 12] = [
    "",
    "x",
    "JSONRPC",
    "0.3.0",
    "apiKey",
    "mutualTLS",
    "oauth2",
    "<&>",
    "\u{2028}",
    "é",
    "\u{e000}",
    "\u{1f600}",
];
const NUMBERS: [f64; 8] = [0.0, -0.0, 1.0, 0.1, 1e21, 1e-7, 123_456_789_012_345_680.0, 5e-324];

/// A card: an example and what to change in it.
#[derive(Arbitrary, Clone, Debug)]
pub struct CardCase {
    example: u8,
    edits: Vec<Edit>,
}

/// One change at one of the places of a card.
#[derive(Arbitrary, Clone, Debug)]
pub struct Edit {
    place: u16,
    change: Change,
}

#[derive(Arbitrary, Clone, Debug)]
enum Change {
    Replace(Filling),
    Remove,
    /// Only in objects: a member of some example, wherever it stood there.
    PlantMember(u16),
    /// Only in objects.
    Member(Name, Filling),
    /// Only in arrays.
    Push(Filling),
    /// Only in arrays: the first element once more at the end.
    Repeat,
}

#[derive(Arbitrary, Clone, Debug)]
enum Name {
    Known(u16),
    /// A known name and one more letter.
    Near(u16),
    Free(String),
}

#[derive(Arbitrary, Clone, Debug)]
enum Filling {
    Null,
    Flag(bool),
    Text(u8),
    FreeText(String),
    Number(u8),
    Whole(i64),
    List,
    Object,
    FromExample(u16),
}

impl CardCase {
    /// The example that is edited, by its place in [`EXAMPLES`].
    pub fn example(&self) -> usize {
        usize::from(self.example) % EXAMPLES.len()
    }

    /// The edited card.
    pub fn build(&self) -> Value {
        let mut card = EXAMPLES[self.example()].clone();
        apply(&self.edits, &mut card);
        card
    }
}

/// Applies at most sixteen edits.
pub fn apply(edits: &[Edit], card: &mut Value) {
    for edit in edits.iter().take(16) {
        let places = pointer::all(card);
        let place = &places[usize::from(edit.place) % places.len()];
        edit.change.apply(card, place);
    }
}

impl Change {
    fn apply(&self, card: &mut Value, place: &str) {
        if matches!(self, Self::Remove) {
            pointer::remove(card, place);
            return;
        }
        let value = card.pointer_mut(place).expect("an existing place");
        match (self, value) {
            // The card itself stays an object, or nothing of interest follows.
            (Self::Replace(filling), value) if !place.is_empty() => *value = filling.value(),
            (Self::PlantMember(index), Value::Object(members)) => {
                let (name, value) = MEMBERS[usize::from(*index) % MEMBERS.len()].clone();
                members.insert(name, value);
            }
            (Self::Member(name, filling), Value::Object(members)) => {
                members.insert(name.text(), filling.value());
            }
            (Self::Push(filling), Value::Array(items)) => items.push(filling.value()),
            (Self::Repeat, Value::Array(items)) => items.extend(items.first().cloned()),
            _ => {}
        }
    }
}

impl Name {
    fn text(&self) -> String {
        match self {
            Self::Known(index) => MEMBERS[usize::from(*index) % MEMBERS.len()].0.clone(),
            Self::Near(index) => format!("{}X", MEMBERS[usize::from(*index) % MEMBERS.len()].0),
            Self::Free(text) => text.chars().take(40).collect(),
        }
    }
}

impl Filling {
    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => json!(flag),
            Self::Text(index) => json!(TEXTS[usize::from(*index) % TEXTS.len()]),
            Self::FreeText(text) => json!(text.chars().take(200).collect::<String>()),
            Self::Number(index) => json!(NUMBERS[usize::from(*index) % NUMBERS.len()]),
            Self::Whole(number) => json!(number),
            Self::List => json!([]),
            Self::Object => json!({}),
            Self::FromExample(index) => MEMBERS[usize::from(*index) % MEMBERS.len()].1.clone(),
        }
    }
}
