//! The strict parser: one pass, bounded depth, and a refusal wherever JSON readers disagree (rules 3–8).
//! The grammar is RFC 8259; names, surrogates and numbers follow I-JSON (RFC 7493).

use super::scan::{count, plain_run};
use super::{Document, JsonLimits, JsonNode, Member, Numbers, Text, compare_utf16};
use crate::limits::{BODY_BYTES_MAX, JSON_NUMBER_BYTES};
use crate::refusal::{Reason, Refusal};
use crate::text::Quoted;

pub(super) fn parse(bytes: Vec<u8>, limits: &JsonLimits, numbers: Numbers) -> Result<Document, Refusal> {
    let cap = limits.bytes.min(BODY_BYTES_MAX);
    if bytes.len() > cap {
        return Err(Refusal::new(
            Reason::BodyTooLarge,
            format!("the document has {} bytes; the limit is {cap}", bytes.len()),
        ));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Refusal::new(Reason::JsonEncoding, "the document starts with a byte order mark"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Refusal::new(Reason::JsonEncoding, format!("the document is not UTF-8 at byte {offset}"))
    })?;
    // Commas, brackets and colons bound the number of values, so the arena is allocated once and never larger than the
    // text can fill.
    let elements = count(text.as_bytes(), |byte| byte == b',');
    // `{` and `[` differ in the bit 0x20 alone.
    let children = elements.saturating_add(count(text.as_bytes(), |byte| byte | 0x20 == b'{'));
    let members = count(text.as_bytes(), |byte| byte == b':');
    let document = Document {
        decoded: String::new(),
        nodes: Vec::with_capacity(children.saturating_add(1).min(limits.nodes)),
        items: Vec::with_capacity(children.saturating_sub(members).min(limits.nodes)),
        members: Vec::with_capacity(members.min(limits.nodes)),
        root: 0,
        text: String::new(),
    };
    let mut reader = JsonReader {
        bytes: text.as_bytes(),
        text: &text,
        position: 0,
        depth: 0,
        limits,
        numbers,
        document,
        open: Vec::with_capacity(64),
    };
    reader.skip_space();
    let root = reader.value()?;
    reader.skip_space();
    if reader.position != reader.bytes.len() {
        return Err(
            reader.refuse(Reason::JsonTrailing, "another value or text follows the end of the document")
        );
    }
    let mut document = reader.document;
    document.root = root;
    document.text = text;
    Ok(document)
}

struct JsonReader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    position: usize,
    depth: usize,
    limits: &'t JsonLimits,
    numbers: Numbers,
    document: Document,
    /// Children of the arrays and objects that are still open; elements of arrays have an empty name.
    open: Vec<Member>,
}

impl JsonReader<'_> {
    fn refuse(&self, reason: Reason, found: &str) -> Refusal {
        Refusal::new(reason, format!("{found} (at byte {})", self.position))
    }

    fn syntax(&self, expected: &str) -> Refusal {
        let found = match self.text.get(self.position..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("found {}", Quoted(c.encode_utf8(&mut [0; 4]))),
            None => "found the end of the document".to_owned(),
        };
        self.refuse(Reason::JsonSyntax, &format!("expected {expected}, {found}"))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn advance(&mut self, bytes: usize) {
        self.position = self.position.saturating_add(bytes);
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.advance(1);
        }
    }

    #[inline]
    fn push(&mut self, node: JsonNode) -> Result<u32, Refusal> {
        let count = self.document.nodes.len();
        if count >= self.limits.nodes {
            let found = format!("the document has more than {} values", self.limits.nodes);
            return Err(self.refuse(Reason::JsonNodes, &found));
        }
        self.document.nodes.push(node);
        self.offset(count)
    }

    #[inline]
    fn offset(&self, value: usize) -> Result<u32, Refusal> {
        u32::try_from(value).map_err(|_| self.refuse(Reason::BodyTooLarge, "an offset exceeds 32 bits"))
    }

    fn value(&mut self) -> Result<u32, Refusal> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => {
                let text = self.string(self.limits.string_bytes, Reason::JsonStringLength)?;
                self.push(JsonNode::String(text))
            }
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                self.push(JsonNode::Number(text))
            }
            Some(b't') => self.literal("true", JsonNode::Bool(true)),
            Some(b'f') => self.literal("false", JsonNode::Bool(false)),
            Some(b'n') => self.literal("null", JsonNode::Null),
            _ => Err(self.syntax("a JSON value")),
        }
    }

    fn literal(&mut self, word: &str, node: JsonNode) -> Result<u32, Refusal> {
        let end = self.position.saturating_add(word.len());
        if self.bytes.get(self.position..end) != Some(word.as_bytes()) {
            return Err(self.syntax("true, false or null"));
        }
        self.advance(word.len());
        self.push(node)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<JsonNode, Refusal>) -> Result<u32, Refusal> {
        if self.depth >= self.limits.depth {
            let found = format!("the document is nested deeper than {} levels", self.limits.depth);
            return Err(self.refuse(Reason::JsonDepth, &found));
        }
        self.depth = self.depth.saturating_add(1);
        self.advance(1);
        let node = read(self)?;
        self.depth = self.depth.saturating_sub(1);
        self.push(node)
    }

    fn array(&mut self) -> Result<JsonNode, Refusal> {
        let base = self.open.len();
        self.skip_space();
        if !self.take(b']') {
            loop {
                self.skip_space();
                let item = self.value()?;
                self.open.push(Member { name: Text::NONE, value: item });
                self.skip_space();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.syntax("`,` or `]`"));
                }
            }
        }
        let first = self.offset(self.document.items.len())?;
        let closed = self.open.drain(base..);
        let len = closed.len();
        self.document.items.extend(closed.map(|item| item.value));
        Ok(JsonNode::Array { first, len: self.offset(len)? })
    }

    fn object(&mut self) -> Result<JsonNode, Refusal> {
        let base = self.open.len();
        self.skip_space();
        if !self.take(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(self.syntax("a member name in double quotes"));
                }
                let name = self.string(self.limits.key_bytes, Reason::JsonKeyLength)?;
                self.skip_space();
                if !self.take(b':') {
                    return Err(self.syntax("`:`"));
                }
                self.skip_space();
                let value = self.value()?;
                self.open.push(Member { name, value });
                if self.open.len().saturating_sub(base) > self.limits.members {
                    let found = format!("an object has more than {} members", self.limits.members);
                    return Err(self.refuse(Reason::JsonMembers, &found));
                }
                self.skip_space();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.syntax("`,` or `}`"));
                }
            }
        }
        self.close_object(base)
    }

    /// Sorts the members of the innermost open object and refuses names that occur twice (rules 5 and 9).
    fn close_object(&mut self, base: usize) -> Result<JsonNode, Refusal> {
        let (text, decoded) = (self.text, &self.document.decoded);
        let name = |member: &Member| member.name.resolve(text, decoded);
        let open = self.open.get_mut(base..).unwrap_or_default();
        // Strictly ascending names, as in every canonical form, need no sort and hold no duplicate.
        let twice = if open.is_sorted_by(|a, b| compare_utf16(name(a), name(b)).is_lt()) {
            None
        } else {
            open.sort_unstable_by(|a, b| compare_utf16(name(a), name(b)));
            open.windows(2).find_map(|pair| match pair {
                [a, b] if name(a) == name(b) => Some(name(a)),
                _ => None,
            })
        };
        if let Some(twice) = twice {
            let found = format!("the member {} occurs twice in one object", Quoted(twice));
            return Err(self.refuse(Reason::JsonDuplicateMember, &found));
        }
        let first = self.offset(self.document.members.len())?;
        let closed = self.open.drain(base..);
        let len = closed.len();
        self.document.members.extend(closed);
        Ok(JsonNode::Object { first, len: self.offset(len)? })
    }

    /// Reads a string from its opening quote; text without escapes stays a span of the received text.
    fn string(&mut self, cap: usize, too_long: Reason) -> Result<Text, Refusal> {
        self.advance(1);
        let start = self.position;
        let mut unescaped_from = None;
        loop {
            let rest = self.bytes.get(self.position..).unwrap_or_default();
            let plain = plain_run(rest);
            let closes = match rest.get(plain) {
                Some(b'"') => true,
                Some(b'\\') => false,
                Some(_) => {
                    self.advance(plain);
                    return Err(self.syntax("control characters to be escaped"));
                }
                None => return Err(self.refuse(Reason::JsonSyntax, "a string is not closed")),
            };
            let end = self.position.saturating_add(plain);
            if !closes || unescaped_from.is_some() {
                let from = *unescaped_from.get_or_insert(self.document.decoded.len());
                let text = self.text;
                self.document.decoded.push_str(text.get(self.position..end).unwrap_or_default());
                if self.document.decoded.len().saturating_sub(from) > cap {
                    return Err(self.too_long(cap, too_long));
                }
            }
            self.position = end.saturating_add(1);
            if closes {
                let (source, from, to) = match unescaped_from {
                    Some(from) => (Text::DECODED, from, self.document.decoded.len()),
                    None => (0, start, end),
                };
                let len = to.saturating_sub(from);
                if len > cap {
                    return Err(self.too_long(cap, too_long));
                }
                return Ok(Text { start: self.offset(from)? | source, len: self.offset(len)? });
            }
            let c = self.escape()?;
            self.document.decoded.push(c);
        }
    }

    fn too_long(&self, cap: usize, reason: Reason) -> Refusal {
        self.refuse(reason, &format!("a text is longer than {cap} bytes"))
    }

    /// The character of an escape, from behind its backslash.
    fn escape(&mut self) -> Result<char, Refusal> {
        let kind = self.peek();
        let c = match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.advance(1);
                return self.unicode_escape();
            }
            _ => return Err(self.syntax("an escape of RFC 8259")),
        };
        self.advance(1);
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, Refusal> {
        let unit = self.four_digits()?;
        let code = match unit {
            0xd800..=0xdbff => {
                let low = if self.take(b'\\') && self.take(b'u') { self.four_digits()? } else { 0 };
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(
                        self.refuse(Reason::JsonSurrogate, "a high surrogate stands without its low one")
                    );
                }
                // The pair holds the code point minus 0x10000.
                ((unit & 0x3ff) << 10 | (low & 0x3ff)).saturating_add(0x1_0000)
            }
            0xdc00..=0xdfff => {
                return Err(self.refuse(Reason::JsonSurrogate, "a low surrogate stands without its high one"));
            }
            0 => return Err(self.refuse(Reason::JsonNul, "a string contains \\u0000")),
            unit => unit,
        };
        char::from_u32(code).ok_or_else(|| self.refuse(Reason::JsonSurrogate, "an escape is not a character"))
    }

    fn four_digits(&mut self) -> Result<u32, Refusal> {
        let end = self.position.saturating_add(4);
        let digits = self.text.get(self.position..end).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(unit) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return Err(self.syntax("four hexadecimal digits"));
        };
        self.advance(4);
        Ok(unit)
    }

    fn number(&mut self) -> Result<Text, Refusal> {
        let start = self.position;
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return Err(self.syntax("a digit"));
        }
        let mut integer = true;
        if self.take(b'.') {
            integer = false;
            if self.digits() == 0 {
                return Err(self.syntax("a digit"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            integer = false;
            self.advance(1);
            if !self.take(b'+') {
                self.take(b'-');
            }
            if self.digits() == 0 {
                return Err(self.syntax("a digit"));
            }
        }
        let text = self.text;
        let literal = text.get(start..self.position).unwrap_or_default();
        if literal.len() > JSON_NUMBER_BYTES {
            return Err(self.too_long(JSON_NUMBER_BYTES, Reason::JsonStringLength));
        }
        self.check_number(literal, integer)?;
        Ok(Text { start: self.offset(start)?, len: self.offset(literal.len())? })
    }

    fn digits(&mut self) -> usize {
        let start = self.position;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.advance(1);
        }
        self.position.saturating_sub(start)
    }

    /// Refuses overflow and, in strict mode, inexact integers and underflow to zero (rule 8).
    fn check_number(&self, literal: &str, integer: bool) -> Result<(), Refusal> {
        if integer && literal.len() <= 15 {
            return Ok(()); // at most 15 digits: exact in binary64
        }
        let value: f64 = literal.parse().unwrap_or(f64::INFINITY);
        if !value.is_finite() {
            return Err(self.inexact(literal, "overflows an IEEE 754 double"));
        }
        if self.numbers == Numbers::Binary64 {
            return Ok(());
        }
        if integer && literal.parse::<i64>().map_or(true, |n| n.unsigned_abs() >= 1 << 53) {
            return Err(self.inexact(literal, "lies outside ±(2^53−1)"));
        }
        let significand = literal.split(['e', 'E']).next().unwrap_or_default();
        if value == 0.0 && significand.bytes().any(|b| matches!(b, b'1'..=b'9')) {
            return Err(self.inexact(literal, "vanishes to zero as an IEEE 754 double"));
        }
        Ok(())
    }

    fn inexact(&self, literal: &str, why: &str) -> Refusal {
        self.refuse(Reason::JsonNumber, &format!("the number {} {why}", Quoted(literal)))
    }
}
