//! A million numbers through our reader and writer and through an independent RFC 8785 implementation.
#![cfg(test)]

use countersign_core::json::{Document, JsonLimits, Numbers, canonical_bytes};

const NUMBERS: usize = 1_000_000;
/// Numbers of one document, well below the cap on values.
const BATCH: usize = 10_000;

/// `splitmix64`: every run generates the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A literal from one of the classes where writers of numbers differ.
    fn literal(&mut self) -> String {
        let bits = self.next();
        match self.next() % 8 {
            // Any finite double, and those around the switches to exponents at 1e21 and 1e-6.
            0..=2 => finite(bits),
            3 => format!("{:e}", 1e21 * (1.0 + f64::from(u8::try_from(bits % 200).unwrap()) / 1000.0 - 0.1)),
            4 => format!("{:e}", 1e-6 * (1.0 + f64::from(u8::try_from(bits % 200).unwrap()) / 1000.0 - 0.1)),
            // Integers, subnormals, and decimals with more digits than a double keeps.
            5 => (bits >> 11).to_string(),
            6 => finite(bits & 0x800f_ffff_ffff_ffff),
            _ => format!("{}.{}", bits % 1_000_000, self.next()),
        }
    }
}

fn finite(bits: u64) -> String {
    let value = f64::from_bits(bits);
    if value.is_finite() { format!("{value:e}") } else { "-0".to_owned() }
}

#[test]
fn a_million_numbers_are_written_as_an_independent_implementation_writes_them() {
    let mut random = Random(8785);
    for batch in 0..NUMBERS / BATCH {
        let literals: Vec<_> = (0..BATCH).map(|_| random.literal()).collect();
        let text = format!("[{}]", literals.join(","));
        let limits = JsonLimits { bytes: 1 << 20, ..JsonLimits::CARD };
        let document = Document::parse(text.clone().into_bytes(), &limits, Numbers::Binary64).unwrap();
        let ours = canonical_bytes(document.root());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let theirs = serde_json_canonicalizer::to_vec(&value).unwrap();
        let differs = ours
            .split(|byte| *byte == b',')
            .zip(theirs.split(|byte| *byte == b','))
            .zip(&literals)
            .find(|((ours, theirs), _)| ours != theirs);
        assert!(differs.is_none(), "batch {batch}: {differs:?}");
        assert_eq!(ours.len(), theirs.len());
    }
}
