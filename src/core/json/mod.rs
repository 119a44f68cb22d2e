//! Strict JSON: one reader that sees everything a lenient one hides, and the writers over its arena.
//! Duplicate names, lone surrogates, NUL and inexact numbers are refused while reading (rules 3–8).

mod copy;
mod dialect;
mod order;
mod read;
mod scan;
mod value;

pub(crate) use copy::copy_value;
pub use dialect::{Dialect, canonical_bytes};
use order::compare_utf16;
pub use value::{Array, Kind, Object, Value};

use super::limits;
use super::refusal::Refusal;

/// The caps of one kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Largest document, in bytes.
    pub bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// Most values, member names not counted.
    pub nodes: usize,
    /// Most members of one object.
    pub members: usize,
    /// Longest member name, in bytes after unescaping.
    pub key_bytes: usize,
    /// Longest string, in bytes after unescaping.
    pub string_bytes: usize,
}

impl JsonLimits {
    /// For an AgentCard (rule 4).
    pub const CARD: Self = Self {
        bytes: limits::BODY_BYTES,
        depth: limits::JSON_DEPTH,
        nodes: limits::JSON_NODES,
        members: limits::JSON_MEMBERS,
        key_bytes: limits::JSON_KEY_BYTES,
        string_bytes: limits::JSON_STRING_BYTES,
    };

    /// For a form that was made from a card: some writers escape every non-ASCII character, and folding 0.3
    /// members nests security requirements deeper and repeats versions.
    pub const DERIVED: Self = Self {
        bytes: limits::BODY_BYTES_MAX,
        depth: 2 + limits::JSON_DEPTH,
        nodes: 2 * limits::JSON_NODES,
        string_bytes: limits::BODY_BYTES_MAX,
        ..Self::CARD
    };

    /// For a decoded JWS header (rules 12 and 28).
    pub(crate) const HEADER: Self = Self {
        bytes: limits::PROTECTED_DECODED_BYTES,
        depth: 8,
        nodes: 256,
        members: limits::JSON_MEMBERS,
        key_bytes: limits::JSON_KEY_BYTES,
        string_bytes: limits::PROTECTED_DECODED_BYTES,
    };

    /// For a trust bundle or bundle map (rule 43).
    pub(crate) const BUNDLE: Self = Self {
        bytes: limits::BUNDLE_BYTES,
        depth: 8,
        nodes: limits::BUNDLE_JSON_NODES,
        members: limits::JSON_MEMBERS,
        key_bytes: limits::JSON_KEY_BYTES,
        string_bytes: limits::JSON_STRING_BYTES,
    };
}

/// How numbers are read (rule 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Numbers {
    /// Refuses integers outside ±(2^53−1) and numbers that vanish to zero, besides overflow.
    #[default]
    Strict,
    /// Reads any number as the nearest IEEE 754 double, as the A2A SDKs do; only overflow is refused.
    Binary64,
}

/// A parsed document: the received text and an arena of its values, whose members are sorted.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    decoded: String,
    nodes: Vec<JsonNode>,
    items: Vec<u32>,
    members: Vec<Member>,
    root: u32,
}

/// A piece of text: a span of the received text, or of the unescaped strings when the top bit is set.
#[derive(Clone, Copy, Debug)]
struct Text {
    start: u32,
    len: u32,
}

impl Text {
    const DECODED: u32 = 1 << 31;
    const NONE: Self = Self { start: 0, len: 0 };

    fn resolve<'t>(self, received: &'t str, decoded: &'t str) -> &'t str {
        let source = if self.start & Self::DECODED == 0 { received } else { decoded };
        let start = usize::try_from(self.start & !Self::DECODED).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(self.len).unwrap_or(usize::MAX));
        // Spans are made by the reader from positions in the same strings, so this is always `Some`.
        source.get(start..end).unwrap_or_default()
    }
}

/// One value; children are spans of the item and member lists.
#[derive(Clone, Copy, Debug)]
enum JsonNode {
    Null,
    Bool(bool),
    Number(Text),
    String(Text),
    Array { first: u32, len: u32 },
    Object { first: u32, len: u32 },
}

#[derive(Clone, Copy, Debug)]
struct Member {
    name: Text,
    value: u32,
}

impl Document {
    /// Reads exactly one JSON value from `bytes`, or says what is wrong and where.
    pub fn parse(bytes: Vec<u8>, limits: &JsonLimits, numbers: Numbers) -> Result<Self, Refusal> {
        read::parse(bytes, limits, numbers)
    }

    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value::new(self, self.root)
    }

    /// The received text, byte for byte.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn resolve(&self, text: Text) -> &str {
        text.resolve(&self.text, &self.decoded)
    }

    fn node(&self, id: u32) -> JsonNode {
        slice(&self.nodes, id, 1).first().copied().unwrap_or(JsonNode::Null)
    }
}

/// `len` entries from `first`; empty if the span is not inside the list.
fn slice<T>(list: &[T], first: u32, len: u32) -> &[T] {
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    let end = first.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    list.get(first..end).unwrap_or_default()
}
