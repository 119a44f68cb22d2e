//! A second opinion about JSON texts: `serde_json` reads, and a visitor counts what our reader limits.

use countersign_core::json::{JsonLimits, Value};
use countersign_core::refusal::Reason;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// What a text contains that a stricter reader may refuse.
#[derive(Debug, Default)]
pub struct Facts {
    pub depth: usize,
    pub nodes: usize,
    pub members: usize,
    pub key_bytes: usize,
    pub string_bytes: usize,
    pub duplicates: bool,
    pub nul: bool,
}

impl Facts {
    /// Reads exactly one JSON value, or `None` if `serde_json` refuses the text.
    pub fn of(text: &[u8]) -> Option<Self> {
        let mut facts = Self::default();
        let mut reader = serde_json::Deserializer::from_slice(text);
        Count { facts: &mut facts, depth: 0 }.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(facts)
    }

    /// The reasons for which a reader with these limits may refuse the text; empty if it must accept it.
    pub fn reasons(&self, text: &[u8], limits: &JsonLimits, strict: bool) -> BTreeSet<Reason> {
        let numbers = number_literals(text);
        let found = [
            (text.len() > limits.bytes, Reason::BodyTooLarge),
            (self.depth > limits.depth, Reason::JsonDepth),
            (self.nodes > limits.nodes, Reason::JsonNodes),
            (self.members > limits.members, Reason::JsonMembers),
            (self.key_bytes > limits.key_bytes, Reason::JsonKeyLength),
            (self.string_bytes > limits.string_bytes, Reason::JsonStringLength),
            (numbers.iter().any(|literal| literal.len() > 1024), Reason::JsonStringLength),
            (self.duplicates, Reason::JsonDuplicateMember),
            (self.nul, Reason::JsonNul),
            (strict && numbers.iter().any(|literal| !is_exact(literal)), Reason::JsonNumber),
        ];
        found.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
    }
}

struct Count<'f> {
    facts: &'f mut Facts,
    depth: usize,
}

impl Count<'_> {
    fn leaf<E>(self) -> Result<(), E> {
        self.facts.nodes += 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leaf()
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.leaf()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.facts.string_bytes = self.facts.string_bytes.max(text.len());
        self.facts.nul |= text.contains('\0');
        self.leaf()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        self.facts.depth = self.facts.depth.max(depth);
        while items.next_element_seed(Count { facts: self.facts, depth })?.is_some() {}
        self.leaf()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        self.facts.depth = self.facts.depth.max(depth);
        let mut names = BTreeSet::new();
        let mut count = 0;
        while let Some(name) = members.next_key::<String>()? {
            count += 1;
            self.facts.key_bytes = self.facts.key_bytes.max(name.len());
            self.facts.nul |= name.contains('\0');
            self.facts.duplicates |= !names.insert(name);
            members.next_value_seed(Count { facts: self.facts, depth })?;
        }
        self.facts.members = self.facts.members.max(count);
        self.leaf()
    }
}

/// The number literals of a text that is known to be JSON.
fn number_literals(text: &[u8]) -> Vec<&str> {
    let (mut literals, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match text[at] {
            b'"' => {
                at += 1;
                while text[at] != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let rest = &text[at..];
                let end = rest.iter().position(|b| !b"+-.eE0123456789".contains(b)).unwrap_or(rest.len());
                literals.push(std::str::from_utf8(&rest[..end]).expect("ASCII"));
                at += end;
            }
            _ => at += 1,
        }
    }
    literals
}

/// False for integers outside ±(2^53−1), and for other numbers than zero that a double reads as zero.
fn is_exact(literal: &str) -> bool {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // JSON has no leading zeros, so a longer literal is a greater number.
        let largest = "9007199254740991";
        return (digits.len(), digits) <= (largest.len(), largest);
    }
    let significand = digits.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = significand.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    is_zero || digits.parse::<f64>().is_ok_and(|value| value != 0.0)
}

/// Asserts that our reader and `serde_json` found the same value, members in the order of RFC 8785.
pub fn assert_same(ours: Value<'_>, theirs: &serde_json::Value) {
    match theirs {
        serde_json::Value::Null => {
            let scalar = ours.as_bool().is_some() || ours.as_str().is_some() || ours.as_f64().is_some();
            assert!(!scalar && ours.as_array().is_none() && ours.as_object().is_none(), "not null");
        }
        serde_json::Value::Bool(flag) => assert_eq!(ours.as_bool(), Some(*flag)),
        serde_json::Value::Number(number) => {
            let theirs = number.as_f64().expect("a double");
            assert_eq!(ours.as_f64().map(f64::to_bits), Some(theirs.to_bits()), "{number}");
            let whole = ((0.0..=9_007_199_254_740_991.0).contains(&theirs) && theirs.fract() == 0.0)
                .then_some(theirs as u64);
            if let Some(ours) = ours.as_u53() {
                assert_eq!(Some(ours), whole, "{number}");
            }
        }
        serde_json::Value::String(text) => assert_eq!(ours.as_str(), Some(text.as_str())),
        serde_json::Value::Array(items) => {
            let array = ours.as_array().expect("an array");
            assert_eq!(array.len(), items.len());
            array.iter().zip(items).for_each(|(ours, theirs)| assert_same(ours, theirs));
        }
        serde_json::Value::Object(members) => {
            let object = ours.as_object().expect("an object");
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_by_key(|name| name.encode_utf16().collect::<Vec<u16>>());
            assert!(object.iter().map(|(name, _)| name).eq(names.iter().map(|name| name.as_str())), "order");
            for (name, theirs) in members {
                assert_same(object.get(name).expect("a member that iteration has"), theirs);
            }
        }
    }
}
