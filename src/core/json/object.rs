//! A writer of JSON objects member by member, for documents that are made from others.

use super::{Dialect, Value, copy_value};

/// A writer of one JSON object in the order of the calls; the parser of the result sorts the members.
pub(crate) struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    separator: u8,
}

impl<'o> ObjectWriter<'o> {
    /// Begins an object at the end of `out`.
    pub(crate) fn open(out: &'o mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    fn name(&mut self, name: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        Dialect::Jcs.write_string(name, self.out);
        self.out.push(b':');
    }

    /// Appends a member with a copy of `value`.
    pub(crate) fn value(&mut self, name: &str, value: Value<'_>) {
        self.name(name);
        copy_value(value, self.out);
    }

    /// Appends a member with a string.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        Dialect::Jcs.write_string(text, self.out);
    }

    /// Appends a member whose value is already written as JSON.
    pub(crate) fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(json);
    }

    /// Ends the object; without this call its brace is missing.
    pub(crate) fn close(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}
