//! The member order of RFC 8785 §3.2.3: by UTF-16 code units of the unescaped names (rule 9).
//! Names are compared in UTF-8, without conversion.

use std::cmp::Ordering;

/// Compares two strings by their UTF-16 code units.
///
/// UTF-8 order is code point order. UTF-16 order differs in one case only: a character above U+FFFF starts with a
/// surrogate (D800–DFFF) and therefore precedes U+E000–U+FFFF. In UTF-8 the former has a lead byte of F0 or above,
/// the latter EE or EF.
pub(super) fn compare_utf16(a: &str, b: &str) -> Ordering {
    for (x, y) in a.bytes().zip(b.bytes()) {
        if x != y {
            return match (x, y) {
                (0xf0.., 0xee | 0xef) => Ordering::Less,
                (0xee | 0xef, 0xf0..) => Ordering::Greater,
                _ => x.cmp(&y),
            };
        }
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rule_09_astral_names_sort_before_the_private_use_area() {
        assert_eq!(compare_utf16("\u{1f600}", "\u{ff01}"), Ordering::Less);
        assert_eq!(compare_utf16("\u{ff01}", "\u{1f600}"), Ordering::Greater);
        assert_eq!(compare_utf16("a\u{1f600}", "a\u{d7ff}"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn rule_09_agrees_with_comparing_utf16_code_units(a in "[a\u{7f}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}é]{0,4}",
                                                  b in "[a\u{7f}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}é]{0,4}") {
            prop_assert_eq!(compare_utf16(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
        }
    }
}
