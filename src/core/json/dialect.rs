//! Dialects: the spelling of strings and numbers and the member order of released JSON writers.
//! RFC 8785 is the specified one; the Go and Python dialects exist because released signers sign their output.

use super::scan::{count, plain_run, plain_run_for_go, plain_run_for_python};
use super::{Value, compare_utf16};
use std::cmp::Ordering;

/// A deterministic spelling of JSON without white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// RFC 8785: ECMAScript strings and numbers, members by UTF-16 code units.
    Jcs,
    /// Go `encoding/json`: `<`, `>`, `&` and U+2028/9 escaped, negative zero kept, members by UTF-8 bytes.
    Go,
    /// Python `json.dumps(sort_keys=True)` over protobuf values: ASCII only, every number a float.
    PythonFloats,
    /// Python `json.dumps(sort_keys=True)` over parsed JSON: ASCII only, integers stay integers.
    PythonNumbers,
}

/// Returns the RFC 8785 form of `value`.
pub fn canonical_bytes(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Dialect::Jcs.write_value(value, &mut out);
    out
}

impl Dialect {
    /// Appends a value with everything inside it.
    pub fn write_value(self, value: Value<'_>, out: &mut Vec<u8>) {
        if let Some(object) = value.as_object() {
            out.push(b'{');
            self.for_each_member(object, |name, value, index| {
                if index > 0 {
                    out.push(b',');
                }
                self.write_string(name, out);
                out.push(b':');
                self.write_value(value, out);
            });
            out.push(b'}');
        } else if let Some(array) = value.as_array() {
            out.push(b'[');
            for (index, item) in array.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self.write_value(item, out);
            }
            out.push(b']');
        } else {
            self.write_scalar(value, out);
        }
    }

    /// Appends null, a boolean, a number or a string; nothing for an array or an object.
    pub(crate) fn write_scalar(self, value: Value<'_>, out: &mut Vec<u8>) {
        if let Some(text) = value.as_str() {
            if self == Self::Jcs && value.is_plain_text() {
                out.push(b'"');
                out.extend_from_slice(text.as_bytes());
                out.push(b'"');
            } else {
                self.write_string(text, out);
            }
        } else if let Some(literal) = value.as_number_literal() {
            self.write_number(literal, out);
        } else if let Some(flag) = value.as_bool() {
            out.extend_from_slice(if flag { b"true" } else { b"false" });
        } else if value.as_array().is_none() && value.as_object().is_none() {
            out.extend_from_slice(b"null");
        }
    }

    /// Visits the members of an object in the order in which this dialect writes them, with their index from 0.
    pub(crate) fn for_each_member<'d>(
        self,
        object: super::Object<'d>,
        mut visit: impl FnMut(&'d str, Value<'d>, usize),
    ) {
        let in_order = match self {
            Self::Jcs => true,
            // UTF-8 byte order differs from UTF-16 order only if a name holds U+E000 or above, whose lead byte is 0xEE
            // or above.
            _ => !object.iter().any(|(name, _)| name.bytes().any(|byte| byte >= 0xee)),
        };
        if in_order {
            object.iter().enumerate().for_each(|(index, (name, value))| visit(name, value, index));
        } else {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by(|a, b| self.compare(a.0, b.0));
            members.into_iter().enumerate().for_each(|(index, (name, value))| visit(name, value, index));
        }
    }

    /// Compares two member names in the order of this dialect.
    pub(crate) fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Jcs => compare_utf16(a, b),
            // Python sorts by code points, which is the order of UTF-8 bytes.
            Self::Go | Self::PythonFloats | Self::PythonNumbers => a.cmp(b),
        }
    }

    /// Upper bound of the length of `text` in this dialect, in bytes; numbers are counted as received.
    pub(crate) fn longest(self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let extra = match self {
            Self::Jcs => 0,
            // One byte becomes six: five more. U+2028 and U+2029 have three bytes and become six.
            Self::Go => count(bytes, |byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2)).saturating_mul(5),
            // A character of two bytes becomes six, one of four becomes twelve: two more per byte. DEL has one byte and
            // becomes six.
            Self::PythonFloats | Self::PythonNumbers => {
                let other = count(bytes, |byte| byte >= 0x80).saturating_mul(2);
                other.saturating_add(count(bytes, |byte| byte == 0x7f).saturating_mul(5))
            }
        };
        text.len().saturating_add(extra)
    }

    /// Appends a string with its quotes.
    pub(crate) fn write_string(self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        let mut rest = text;
        loop {
            let plain = self.plain_run(rest.as_bytes());
            let (before, from) = rest.split_at_checked(plain).unwrap_or((rest, ""));
            out.extend_from_slice(before.as_bytes());
            let mut chars = from.chars();
            let Some(c) = chars.next() else { break };
            self.write_char(c, out);
            rest = chars.as_str();
        }
        out.push(b'"');
    }

    /// Length in bytes of the start of `bytes` in which no character may need an escape.
    fn plain_run(self, bytes: &[u8]) -> usize {
        match self {
            Self::Jcs => plain_run(bytes),
            Self::Go => plain_run_for_go(bytes),
            Self::PythonFloats | Self::PythonNumbers => plain_run_for_python(bytes),
        }
    }

    fn write_char(self, c: char, out: &mut Vec<u8>) {
        let short: &[u8] = match c {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\u{8}' => b"\\b",
            '\u{c}' => b"\\f",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            _ => b"",
        };
        if !short.is_empty() {
            out.extend_from_slice(short);
            return;
        }
        let escaped = match self {
            Self::Jcs => c < '\u{20}',
            Self::Go => c < '\u{20}' || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'),
            Self::PythonFloats | Self::PythonNumbers => !(' '..='~').contains(&c),
        };
        if escaped {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_unit(*unit, out));
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// Appends a number of the given literal, which the parser has found to be finite.
    pub(crate) fn write_number(self, literal: &str, out: &mut Vec<u8>) {
        let integer = literal.bytes().all(|byte| byte.is_ascii_digit());
        if integer && literal.len() <= 15 && self != Self::PythonFloats {
            out.extend_from_slice(literal.as_bytes());
            return;
        }
        // Python parses the token `-0` as an integer, which has no negative zero.
        let literal = if literal == "-0" && self != Self::Go { "0" } else { literal };
        let value: f64 = literal.parse().unwrap_or(0.0);
        match self {
            Self::Go if value == 0.0 && value.is_sign_negative() => out.extend_from_slice(b"-0"),
            Self::Jcs | Self::Go => {
                out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
            }
            Self::PythonNumbers if !literal.contains(['.', 'e', 'E']) => {
                out.extend_from_slice(literal.as_bytes()); // Python integers have no limit
            }
            Self::PythonFloats | Self::PythonNumbers => write_python_float(value, out),
        }
    }
}

/// Appends `\uXXXX` in lower case, as RFC 8785 §3.2.2.2, Go and Python do.
fn write_unit(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        let digit = u32::from(unit >> shift & 0xf);
        out.extend(char::from_digit(digit, 16).and_then(|digit| u8::try_from(digit).ok()));
    }
}

/// Appends Python's `repr` of a float: shortest digits, an exponent below 1e-4 and from 1e16 on.
fn write_python_float(value: f64, out: &mut Vec<u8>) {
    let scientific = format!("{value:e}");
    let (significand, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        out.extend_from_slice(plain.as_bytes());
        if !plain.contains('.') {
            out.extend_from_slice(b".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("{significand}e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(dialect: Dialect, literal: &str) -> String {
        let mut out = Vec::new();
        dialect.write_number(literal, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn string(dialect: Dialect, text: &str) -> String {
        let mut out = Vec::new();
        dialect.write_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_spelled_as_each_implementation_spells_them() {
        for (literal, jcs, go, floats, numbers) in [
            ("1", "1", "1", "1.0", "1"),
            ("1.0", "1", "1", "1.0", "1.0"),
            ("-0", "0", "-0", "0.0", "0"),
            ("-0.0", "0", "-0", "-0.0", "-0.0"),
            ("1e21", "1e+21", "1e+21", "1e+21", "1e+21"),
            ("1e16", "10000000000000000", "10000000000000000", "1e+16", "1e+16"),
            ("1E15", "1000000000000000", "1000000000000000", "1000000000000000.0", "1000000000000000.0"),
            ("0.0001", "0.0001", "0.0001", "0.0001", "0.0001"),
            ("0.00001", "0.00001", "0.00001", "1e-05", "1e-05"),
            ("1e-7", "1e-7", "1e-7", "1e-07", "1e-07"),
            (
                "123456789012345678",
                "123456789012345680",
                "123456789012345680",
                "1.2345678901234568e+17",
                "123456789012345678",
            ),
            ("1.5e300", "1.5e+300", "1.5e+300", "1.5e+300", "1.5e+300"),
        ] {
            assert_eq!(number(Dialect::Jcs, literal), jcs, "{literal}");
            assert_eq!(number(Dialect::Go, literal), go, "{literal}");
            assert_eq!(number(Dialect::PythonFloats, literal), floats, "{literal}");
            assert_eq!(number(Dialect::PythonNumbers, literal), numbers, "{literal}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_written_longer_than_was_foreseen(text in "[a<>&é€😀\u{2028}\u{7f}\u{1}\"\\\\]{0,40}") {
            let received = serde_json::to_string(&text).unwrap();
            for dialect in [Dialect::Jcs, Dialect::Go, Dialect::PythonFloats, Dialect::PythonNumbers] {
                prop_assert!(string(dialect, &text).len() <= dialect.longest(&received), "{dialect:?}");
            }
        }
    }

    #[test]
    fn strings_are_escaped_as_each_implementation_escapes_them() {
        let text = "a\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}é<>&\u{2028}\u{20ac}😀";
        assert_eq!(string(Dialect::Jcs, text), "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{7f}é<>&\u{2028}€😀\"");
        assert_eq!(
            string(Dialect::Go, text),
            "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{7f}é\\u003c\\u003e\\u0026\\u2028€😀\""
        );
        assert_eq!(
            string(Dialect::PythonFloats, text),
            "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u007f\\u00e9<>&\\u2028\\u20ac\\ud83d\\ude00\""
        );
    }
}
