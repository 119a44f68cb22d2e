//! Strict JSON: a parser into an arena, and writers over the arena.
//! The parser refuses duplicate names, lone surrogates, NUL and inexact numbers (rules 3–8).

mod copy;
mod dialect;
mod object;
mod order;
mod read;
mod scan;
mod value;

pub(crate) use copy::copy_value;
pub use dialect::{Dialect, canonical_bytes};
pub(crate) use object::ObjectWriter;
use order::compare_utf16;
pub use value::{Array, Kind, Object, Value};

use super::limits;
use super::refusal::Refusal;

/// Limits on one kind of document.
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
    /// Limits on an AgentCard (rule 4).
    pub const CARD: Self = Self {
        bytes: limits::BODY_BYTES,
        depth: limits::JSON_DEPTH,
        nodes: limits::JSON_NODES,
        members: limits::JSON_MEMBERS,
        key_bytes: limits::JSON_KEY_BYTES,
        string_bytes: limits::JSON_STRING_BYTES,
    };

    /// Limits on a canonical form: some dialects escape every non-ASCII character, and folding 0.3 members nests
    /// security requirements two levels deeper and repeats versions.
    pub const DERIVED: Self = Self {
        bytes: limits::BODY_BYTES_MAX,
        depth: 2 + limits::JSON_DEPTH,
        nodes: 2 * limits::JSON_NODES,
        string_bytes: limits::BODY_BYTES_MAX,
        ..Self::CARD
    };

    /// Limits on a decoded JWS header (rules 12 and 28).
    pub(crate) const HEADER: Self = Self {
        bytes: limits::PROTECTED_DECODED_BYTES,
        depth: 8,
        nodes: 256,
        members: limits::JSON_MEMBERS,
        key_bytes: limits::JSON_KEY_BYTES,
        string_bytes: limits::PROTECTED_DECODED_BYTES,
    };

    /// Limits on a trust bundle or a map of bundles (rule 43).
    pub(crate) const BUNDLE: Self = Self {
        bytes: limits::BUNDLE_BYTES,
        depth: 8,
        nodes: limits::BUNDLE_JSON_NODES,
        members: limits::JSON_MEMBERS,
        key_bytes: limits::JSON_KEY_BYTES,
        string_bytes: limits::JSON_STRING_BYTES,
    };
}

/// Reading of numbers (rule 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Numbers {
    /// Refuses overflow, integers outside ±(2^53−1), and numbers that underflow to zero.
    #[default]
    Strict,
    /// Refuses overflow alone and reads every other number as the nearest IEEE 754 double, as the A2A SDKs do.
    Binary64,
}

/// A parsed document: the received text and an arena of its values, with members sorted by name.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    decoded: String,
    nodes: Vec<JsonNode>,
    items: Vec<u32>,
    members: Vec<Member>,
    root: u32,
}

/// A span of the received text, or of the unescaped strings if the top bit of `start` is set.
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
        // The parser makes spans of positions in these two strings, so the range always exists.
        source.get(start..end).unwrap_or_default()
    }
}

/// One value of the arena; children are spans of `items` or `members`.
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
    /// Parses exactly one JSON value, or refuses it with the problem and its byte offset.
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

/// `len` entries from `first`; empty if the span exceeds the list.
fn slice<T>(list: &[T], first: u32, len: u32) -> &[T] {
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    let end = first.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    list.get(first..end).unwrap_or_default()
}
