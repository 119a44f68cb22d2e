//! A reader of single DER elements that accepts one encoding of each (X.690 §10).
//! Contents above 65,535 bytes are refused: certificates and keys are limited to less.

/// Tag of a SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;
/// Tag of a BOOLEAN.
pub(crate) const BOOLEAN: u8 = 0x01;
/// Tag of an INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Tag of an OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Tag of a BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;

/// A DER element and the bytes after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    /// The contents, without tag and length.
    pub(crate) contents: &'a [u8],
    /// Tag, length and contents.
    pub(crate) whole: &'a [u8],
    /// The bytes after the element.
    pub(crate) rest: &'a [u8],
}

/// Reads one element with this single-byte tag and a length in its shortest form (X.690 §10.1).
pub(crate) fn read(input: &[u8], tag: u8) -> Option<Element<'_>> {
    let (found, after_tag) = input.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, after_first) = after_tag.split_first()?;
    let (length, body) = match (*first, after_first) {
        (short @ 0..=0x7f, body) => (usize::from(short), body),
        (0x81, [length @ 0x80..=0xff, body @ ..]) => (usize::from(*length), body),
        (0x82, [high @ 1..=0xff, low, body @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), body),
        _ => return None,
    };
    let (contents, rest) = body.split_at_checked(length)?;
    let whole = input.get(..input.len().checked_sub(rest.len())?)?;
    Some(Element { contents, whole, rest })
}

/// The contents of an element of tag `tag` that fills `input`; `None` if bytes follow it.
pub(crate) fn read_only(input: &[u8], tag: u8) -> Option<&[u8]> {
    let element = read(input, tag)?;
    element.rest.is_empty().then_some(element.contents)
}

/// True if `contents` consists of elements and nothing else, and `allowed` holds for the tag of each, in order.
pub(crate) fn consists_of(mut contents: &[u8], mut allowed: impl FnMut(u8) -> bool) -> bool {
    while let Some(tag) = contents.first() {
        let Some(element) = read(contents, *tag).filter(|_| allowed(*tag)) else { return false };
        contents = element.rest;
    }
    true
}

/// The magnitude of a positive INTEGER, without its sign byte; `None` unless it has its shortest form (X.690 §8.3.2).
pub(crate) fn positive(contents: &[u8]) -> Option<&[u8]> {
    match contents {
        [0, 0x80..=0xff, ..] => contents.get(1..),
        [1..=0x7f, ..] => Some(contents),
        _ => None,
    }
}

/// The bytes of a BIT STRING that has no unused bits; `None` for any other.
pub(crate) fn whole_bytes(contents: &[u8]) -> Option<&[u8]> {
    contents.strip_prefix(&[0])
}
