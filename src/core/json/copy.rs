//! Copies of values into other documents, with every literal kept: a respelled number could be another value.

use super::{Dialect, Value};

/// Appends a copy of `value` that parses to an equal value: number literals as received, strings in their RFC 8785
/// spelling, members sorted. The copy is never longer than the received text.
pub(crate) fn copy_value(value: Value<'_>, out: &mut Vec<u8>) {
    if let Some(object) = value.as_object() {
        let mut separator = b'{';
        for (name, value) in object.iter() {
            out.push(separator);
            separator = b',';
            Dialect::Jcs.write_string(name, out);
            out.push(b':');
            copy_value(value, out);
        }
        if object.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
    } else if let Some(array) = value.as_array() {
        let mut separator = b'[';
        for item in array.iter() {
            out.push(separator);
            separator = b',';
            copy_value(item, out);
        }
        if array.is_empty() {
            out.push(b'[');
        }
        out.push(b']');
    } else if let Some(literal) = value.as_number_literal() {
        out.extend_from_slice(literal.as_bytes());
    } else {
        Dialect::Jcs.write_scalar(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Document, JsonLimits, Numbers};

    #[test]
    fn a_copy_reads_like_what_was_copied_and_is_no_longer() {
        let text = r#" {"b": [1.50, -0, 9007199254740993, {}, [ ], null, true], "a\u00e9": "\u0001\/é<\ud83d\ude00" } "#;
        let read = |text: Vec<u8>| Document::parse(text, &JsonLimits::CARD, Numbers::Binary64).unwrap();
        let mut copy = Vec::new();
        copy_value(read(text.into()).root(), &mut copy);
        let expected = r#"{"aé":"\u0001/é<😀","b":[1.50,-0,9007199254740993,{},[],null,true]}"#;
        assert_eq!(String::from_utf8(copy.clone()).unwrap(), expected);
        assert!(copy.len() <= text.len());
        let mut again = Vec::new();
        copy_value(read(copy.clone()).root(), &mut again);
        assert_eq!(again, copy);
    }
}
