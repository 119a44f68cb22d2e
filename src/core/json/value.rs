//! Read access to the values of a document, by `Copy` handles.
//! No access fails: a value of another kind is `None`.

use super::{Document, JsonNode, Member, Text, compare_utf16, slice};

/// A handle to one value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d> {
    document: &'d Document,
    id: u32,
}

/// The kind of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The name of the kind with its article, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// The elements of an array, in order.
#[derive(Clone, Copy, Debug)]
pub struct Array<'d> {
    document: &'d Document,
    items: &'d [u32],
}

/// The members of an object, sorted by UTF-16 code units; names are unique.
#[derive(Clone, Copy, Debug)]
pub struct Object<'d> {
    document: &'d Document,
    members: &'d [Member],
}

impl<'d> Value<'d> {
    pub(super) const fn new(document: &'d Document, id: u32) -> Self {
        Self { document, id }
    }

    /// The kind of this value.
    pub fn kind(self) -> Kind {
        match self.document.node(self.id) {
            JsonNode::Null => Kind::Null,
            JsonNode::Bool(_) => Kind::Bool,
            JsonNode::Number(_) => Kind::Number,
            JsonNode::String(_) => Kind::String,
            JsonNode::Array { .. } => Kind::Array,
            JsonNode::Object { .. } => Kind::Object,
        }
    }

    /// The unescaped text; `None` unless the value is a string.
    pub fn as_str(self) -> Option<&'d str> {
        match self.document.node(self.id) {
            JsonNode::String(text) => Some(self.document.resolve(text)),
            _ => None,
        }
    }

    /// True for a string that was received without an escape, whose RFC 8785 spelling is the received one.
    pub(super) fn is_plain_text(self) -> bool {
        matches!(self.document.node(self.id), JsonNode::String(text) if text.start & Text::DECODED == 0)
    }

    /// The boolean; `None` for a value of another kind.
    pub fn as_bool(self) -> Option<bool> {
        match self.document.node(self.id) {
            JsonNode::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The literal of a number as received; `None` for a value of another kind.
    pub fn as_number_literal(self) -> Option<&'d str> {
        match self.document.node(self.id) {
            JsonNode::Number(text) => Some(self.document.resolve(text)),
            _ => None,
        }
    }

    /// The IEEE 754 double nearest to a number; `None` for a value of another kind.
    pub fn as_f64(self) -> Option<f64> {
        self.as_number_literal()?.parse().ok()
    }

    /// The number, if it is written as an integer from 0 to 2^53−1.
    pub fn as_u53(self) -> Option<u64> {
        self.as_number_literal()?.parse().ok().filter(|n| *n < 1 << 53)
    }

    /// The elements; `None` unless the value is an array.
    pub fn as_array(self) -> Option<Array<'d>> {
        match self.document.node(self.id) {
            JsonNode::Array { first, len } => {
                Some(Array { document: self.document, items: slice(&self.document.items, first, len) })
            }
            _ => None,
        }
    }

    /// The members; `None` unless the value is an object.
    pub fn as_object(self) -> Option<Object<'d>> {
        match self.document.node(self.id) {
            JsonNode::Object { first, len } => {
                Some(Object { document: self.document, members: slice(&self.document.members, first, len) })
            }
            _ => None,
        }
    }

    /// True for null, the empty string, the empty array and the empty object.
    pub fn is_empty(self) -> bool {
        match self.document.node(self.id) {
            JsonNode::Null => true,
            JsonNode::String(text) => text.len == 0,
            JsonNode::Array { len, .. } | JsonNode::Object { len, .. } => len == 0,
            JsonNode::Bool(_) | JsonNode::Number(_) => false,
        }
    }
}

impl<'d> Array<'d> {
    /// The number of elements.
    pub const fn len(self) -> usize {
        self.items.len()
    }

    /// True for the empty array.
    pub const fn is_empty(self) -> bool {
        self.items.is_empty()
    }

    /// The elements, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Value<'d>> {
        self.items.iter().map(move |id| Value::new(self.document, *id))
    }
}

impl<'d> Object<'d> {
    /// The number of members.
    pub const fn len(self) -> usize {
        self.members.len()
    }

    /// True for the empty object.
    pub const fn is_empty(self) -> bool {
        self.members.is_empty()
    }

    /// The value of the member whose name is exactly `name`.
    pub fn get(self, name: &str) -> Option<Value<'d>> {
        let found = self
            .members
            .binary_search_by(|member| compare_utf16(self.document.resolve(member.name), name))
            .ok()?;
        self.members.get(found).map(|member| Value::new(self.document, member.value))
    }

    /// Names and values, sorted by UTF-16 code units of the names.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'d str, Value<'d>)> + Clone {
        self.members
            .iter()
            .map(move |member| (self.document.resolve(member.name), Value::new(self.document, member.value)))
    }
}
