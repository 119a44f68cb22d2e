//! DER encoding of the few structures that a public key consists of (X.690 §8).

/// Tag of a SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// Tag of an INTEGER.
const INTEGER: u8 = 0x02;
/// Tag of a BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;

/// Encodes one element; `None` above 65,535 bytes of contents, far more than any key.
pub(super) fn write(tag: u8, contents: &[u8]) -> Option<Vec<u8>> {
    let mut element = vec![tag];
    match u16::try_from(contents.len()).ok()?.to_be_bytes() {
        [0, short @ 0..=0x7f] => element.push(short),
        [0, low] => element.extend([0x81, low]),
        [high, low] => element.extend([0x82, high, low]),
    }
    element.extend(contents);
    Some(element)
}

/// Encodes a positive INTEGER from its magnitude. Leading zeros are dropped: RFC 7518 §2 forbids them, and some issuers
/// write them.
pub(super) fn unsigned(magnitude: &[u8]) -> Option<Vec<u8>> {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    let magnitude = magnitude.get(zeros..)?;
    let sign = magnitude.first().filter(|first| **first >= 0x80).map(|_| 0);
    write(INTEGER, &sign.into_iter().chain(magnitude.iter().copied()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        let headers: [(usize, &[u8]); 6] = [
            (0, &[0x30, 0]),
            (0x7f, &[0x30, 0x7f]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0xff, &[0x30, 0x81, 0xff]),
            (0x100, &[0x30, 0x82, 1, 0]),
            (0xffff, &[0x30, 0x82, 0xff, 0xff]),
        ];
        for (length, header) in headers {
            let contents = vec![7; length];
            assert_eq!(write(SEQUENCE, &contents).unwrap(), [header, &contents].concat());
        }
        assert_eq!(write(SEQUENCE, &vec![7; 0x1_0000]), None);
    }

    #[test]
    fn integers_are_positive_and_have_no_leading_zeros() {
        for (magnitude, written) in
            [(&[1][..], &[2, 1, 1][..]), (&[0, 0x80], &[2, 2, 0, 0x80]), (&[0, 0, 5], &[2, 1, 5])]
        {
            assert_eq!(unsigned(magnitude).as_deref(), Some(written));
        }
    }
}
