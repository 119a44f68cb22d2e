//! The few DER structures that are read by hand: one tag and length at a time, with no second encoding of any.
//! Lengths beyond 65,535 do not occur in anything this reads and are refused.

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

/// One element and what follows it.
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

/// The contents of one element that is all of `input`.
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

/// The magnitude of a positive INTEGER in its shortest form, without the sign byte.
pub(crate) fn positive(contents: &[u8]) -> Option<&[u8]> {
    match contents {
        [0, 0x80..=0xff, ..] => contents.get(1..),
        [1..=0x7f, ..] => Some(contents),
        _ => None,
    }
}

/// The bytes of a BIT STRING without unused bits.
pub(crate) fn whole_bytes(contents: &[u8]) -> Option<&[u8]> {
    contents.strip_prefix(&[0])
}

/// One element with this tag; `None` above 65,535 bytes of contents.
pub(crate) fn write(tag: u8, contents: &[u8]) -> Option<Vec<u8>> {
    let mut element = vec![tag];
    match u16::try_from(contents.len()).ok()?.to_be_bytes() {
        [0, short @ 0..=0x7f] => element.push(short),
        [0, low] => element.extend([0x81, low]),
        [high, low] => element.extend([0x82, high, low]),
    }
    element.extend(contents);
    Some(element)
}

/// A positive INTEGER from its magnitude, which may have leading zeros (RFC 7518 §2 forbids, writers add them).
pub(crate) fn unsigned(magnitude: &[u8]) -> Option<Vec<u8>> {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    let magnitude = magnitude.get(zeros..)?;
    let sign = magnitude.first().filter(|first| **first >= 0x80).map(|_| 0);
    write(INTEGER, &sign.into_iter().chain(magnitude.iter().copied()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let contents = vec![7; length];
            assert_eq!(read_only(&write(SEQUENCE, &contents).unwrap(), SEQUENCE), Some(&contents[..]));
        }
        assert_eq!(write(SEQUENCE, &vec![7; 0x1_0000]), None);
        for (magnitude, written) in
            [(&[1][..], &[2, 1, 1][..]), (&[0, 0x80], &[2, 2, 0, 0x80]), (&[0, 0, 5], &[2, 1, 5])]
        {
            assert_eq!(unsigned(magnitude).as_deref(), Some(written));
        }
    }

    #[test]
    fn lengths_are_read_in_their_shortest_form_only() {
        assert_eq!(read_only(&[0x02, 1, 5], INTEGER), Some(&[5][..]));
        let mut long = vec![0x30, 0x81, 0x80];
        long.extend([7; 0x80]);
        assert_eq!(read_only(&long, SEQUENCE).map(<[u8]>::len), Some(0x80));
        let mut longer = vec![0x30, 0x82, 0x01, 0x00];
        longer.extend([7; 0x100]);
        assert_eq!(read_only(&longer, SEQUENCE).map(<[u8]>::len), Some(0x100));
        for refused in [
            &[0x02, 0x81, 1, 5][..],
            &[0x02, 0x82, 0, 1, 5],
            &[0x02, 0x80, 5, 0, 0],
            &[0x02, 2, 5],
            &[0x02],
            &[],
            &[0x03, 1, 5],
            &[0x02, 1, 5, 6],
        ] {
            assert_eq!(read_only(refused, INTEGER), None, "{refused:?}");
        }
    }

    #[test]
    fn integers_are_positive_and_shortest() {
        assert_eq!(positive(&[0x7f]), Some(&[0x7f][..]));
        assert_eq!(positive(&[0, 0x80]), Some(&[0x80][..]));
        for refused in [&[][..], &[0], &[0, 0x7f], &[0, 0, 0x80], &[0x80], &[0xff, 1]] {
            assert_eq!(positive(refused), None, "{refused:?}");
        }
    }
}
