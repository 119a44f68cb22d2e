//! The inner loop of reading and writing strings: the length of a run of plain characters.
//! The loop takes eight or more bytes at a time, because most of a card is prose.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Number of bytes before the first quote, backslash or control character (RFC 8259 §7).
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    // Names and most values end within two words of eight bytes. Longer text is read in blocks of 16 without a branch
    // inside, which compilers turn into vector instructions.
    let (start, rest) = bytes.split_at_checked(16).unwrap_or((bytes, &[]));
    let run = run_before(start, special);
    if run < start.len() {
        return run;
    }
    let special_byte = |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    let is_plain = |block: &&[u8; 16]| block.iter().fold(0, |found, byte| found | special_byte(*byte)) == 0;
    let (blocks, _) = rest.as_chunks::<16>();
    let plain = blocks.iter().take_while(is_plain).count().saturating_mul(16);
    let last = run_before(rest.get(plain..).unwrap_or_default(), special);
    run.saturating_add(plain).saturating_add(last)
}

/// Number of bytes before the first that Go's `encoding/json` may escape: those of [`plain_run`], `<`, `>`, `&`, and
/// 0xE2, the first byte of U+2028.
pub(super) fn plain_run_for_go(bytes: &[u8]) -> usize {
    let more = |word| equal(word, b'<') | equal(word, b'>') | equal(word, b'&') | equal(word, 0xe2);
    run_before(bytes, |word| special(word) | more(word))
}

/// Number of bytes before the first that Python's `json.dumps` escapes: those of [`plain_run`], DEL, and every byte
/// that is not ASCII.
pub(super) fn plain_run_for_python(bytes: &[u8]) -> usize {
    run_before(bytes, |word| special(word) | equal(word, 0x7f) | (word & HIGH))
}

/// Number of bytes before the first whose high bit `find` sets in a word of eight bytes.
///
/// Only the lowest set bit counts: the borrows of the subtractions in `find` can set further bits, but only above it.
fn run_before(bytes: &[u8], find: impl Fn(u64) -> u64) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let first = |word: [u8; 8]| match find(u64::from_le_bytes(word)) {
        0 => None,
        found => usize::try_from(found.trailing_zeros() >> 3).ok(),
    };
    if let Some((index, byte)) =
        words.iter().enumerate().find_map(|(index, word)| Some((index, first(*word)?)))
    {
        return index.saturating_mul(8).saturating_add(byte);
    }
    let mut last = [b' '; 8];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    let in_tail = first(last).unwrap_or(tail.len());
    bytes.len().saturating_sub(tail.len()).saturating_add(in_tail)
}

/// Number of bytes for which `kind` holds. Counts in runs of 255 bytes, so that each count fits a vector lane of one
/// byte.
pub(super) fn count(bytes: &[u8], kind: impl Fn(u8) -> bool) -> usize {
    let in_run = |run: &[u8]| run.iter().fold(0_u8, |sum, byte| sum.wrapping_add(u8::from(kind(*byte))));
    bytes.chunks(usize::from(u8::MAX)).map(|run| usize::from(in_run(run))).sum()
}

fn special(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES.wrapping_mul(0x20)) & !word & HIGH;
    control | equal(word, b'"') | equal(word, b'\\')
}

/// Sets the high bit of the first byte of `word` that equals `byte`; bits above it are arbitrary.
fn equal(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ ONES.wrapping_mul(u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Run = fn(&[u8]) -> usize;
    type Ends = fn(u8) -> bool;

    const RUNS: [(Run, Ends); 3] = [
        (plain_run, |byte| byte < 0x20 || b"\"\\".contains(&byte)),
        (plain_run_for_go, |byte| byte < 0x20 || b"\"\\<>&\xe2".contains(&byte)),
        (plain_run_for_python, |byte| !(0x20..0x7f).contains(&byte) || b"\"\\".contains(&byte)),
    ];

    proptest! {
        #[test]
        fn a_run_ends_where_the_first_special_byte_stands(
            bytes in proptest::collection::vec(prop_oneof![20 => 0x20..0x7f_u8, 1 => any::<u8>()], 0..40)
        ) {
            for (run, ends) in RUNS {
                let expected = bytes.iter().position(|byte| ends(*byte)).unwrap_or(bytes.len());
                prop_assert_eq!(run(&bytes), expected);
            }
        }
    }

    #[test]
    fn counting_does_not_overflow_in_a_long_run() {
        assert_eq!(count(&[b','; 1000], |byte| byte == b','), 1000);
    }

    #[test]
    fn every_byte_is_judged_alike_at_every_position() {
        for (run, ends) in RUNS {
            for position in 0..17 {
                for byte in 0..=u8::MAX {
                    let mut bytes = [b'a'; 17];
                    bytes[position] = byte;
                    assert_eq!(run(&bytes), if ends(byte) { position } else { 17 }, "{byte} at {position}");
                }
            }
        }
    }
}
