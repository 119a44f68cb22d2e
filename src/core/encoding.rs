//! Strict base64 and SHA-256 digests.
//! A text that two decoders could read differently is refused: deny-lists and key IDs compare texts.

use super::refusal::{Reason, Refusal};
use base64::Engine as _;
use base64::engine::Simd;
use base64::engine::general_purpose::{NO_PAD, STANDARD, URL_SAFE_NO_PAD};
use std::fmt;

/// The base64url engine with vector instructions, for text that this crate wrote. Received text is decoded by the
/// plain engine, which has fewer lines to trust.
fn own_text() -> Simd {
    Simd::url_safe(NO_PAD)
}

/// Decodes base64url without padding, white space or spare bits (rule 12; RFC 7515 §2).
pub fn decode_base64url(text: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| malformed("base64url without padding", &error))
}

/// Appends the base64url form of `bytes`, without padding.
pub fn encode_base64url_into(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// Decodes text that [`encode_base64url_in_place`] wrote; never for received text.
pub(crate) fn decode_own_base64url(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    own_text().decode(text).map_err(|error| malformed("base64url without padding", &error))
}

/// Replaces `bytes` by `prefix` bytes for the caller to fill and then their base64url form, without padding.
pub(crate) fn encode_base64url_in_place(bytes: &mut Vec<u8>, prefix: usize) {
    const CHUNK: usize = 3 * 1024;
    const CHUNK_TEXT: usize = CHUNK / 3 * 4;
    let length = bytes.len();
    bytes.resize(prefix.saturating_add(length.saturating_mul(4).div_ceil(3)), 0);
    let engine = own_text();
    let mut text = [0; CHUNK_TEXT];
    // From the end: encoded text is longer than its bytes, so each chunk is written behind all bytes still to be read.
    for index in (0..length.div_ceil(CHUNK)).rev() {
        let from = index.saturating_mul(CHUNK);
        let chunk = bytes.get(from..from.saturating_add(CHUNK).min(length)).unwrap_or_default();
        let written = engine.encode_slice(chunk, &mut text).unwrap_or_default();
        let to = prefix.saturating_add(index.saturating_mul(CHUNK_TEXT));
        let target = bytes.get_mut(to..to.saturating_add(written)).unwrap_or_default();
        target.copy_from_slice(text.get(..target.len()).unwrap_or_default());
    }
}

/// Appends the standard base64 form of `bytes`, padded.
pub fn encode_base64_standard_into(bytes: &[u8], text: &mut String) {
    STANDARD.encode_string(bytes, text);
}

/// Decodes standard base64 with canonical padding, no white space and no spare bits (rule 29; RFC 7515 §4.1.6).
pub fn decode_base64_standard(text: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text).map_err(|error| malformed("padded standard base64", &error))
}

fn malformed(form: &str, error: &base64::DecodeError) -> Refusal {
    Refusal::new(Reason::Base64Malformed, format!("a text is not {form}: {error}"))
}

/// A SHA-256 digest; prints as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Makes a digest of 32 bytes that were computed elsewhere, for example read back from storage.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the 64 lower-case hexadecimal digits that a digest prints as; `None` for anything else.
    ///
    /// Upper case is refused, so that one digest has one text in files and in status.
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest as 64 lower-case hexadecimal digits, in ASCII.
    pub(crate) fn to_hex(self) -> [u8; 64] {
        let digit = |nibble: u8| {
            if nibble < 10 { b'0' | nibble } else { b'a'.saturating_sub(10).saturating_add(nibble) }
        };
        let mut hex = [0; 64];
        let (pairs, _) = hex.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 0xf)];
        }
        hex
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    hasher.finish()
}

/// An SHA-256 computation over several pieces, which need not be joined in memory.
pub struct Sha256(ring::digest::Context);

impl Sha256 {
    /// Starts a computation without input.
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Appends `bytes` to the input.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all input, in the order of the calls of [`Self::update`].
    pub fn finish(self) -> Digest {
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        Digest(digest)
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64url_has_exactly_one_text_per_value() {
        assert_eq!(decode_base64url("-_8").unwrap(), [0xfb, 0xff]);
        for text in ["-_8=", "-_9", "+/8", "-_8\n", " -_8", "-_\n8", "-", "-_8==", "é"] {
            let refusal = decode_base64url(text).expect_err(text);
            assert_eq!(refusal.reason(), Reason::Base64Malformed, "{text:?}");
        }
    }

    #[test]
    fn standard_base64_needs_its_padding_and_alphabet() {
        assert_eq!(decode_base64_standard("+/8=").unwrap(), [0xfb, 0xff]);
        for text in ["+/8", "+/9=", "-_8=", "+/8=\n", "+/ 8=", "+/8==", "+/8=+/8="] {
            assert!(decode_base64_standard(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_digest_prints_the_published_value_of_abc() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").to_string(), expected);
        let mut pieces = Sha256::new();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(pieces.finish().to_string(), expected);
    }

    #[test]
    fn a_digest_is_read_from_the_digits_it_prints_and_from_nothing_else() {
        let all = Digest::from_bytes(std::array::from_fn(|index| u8::try_from(index * 8 + 7).unwrap()));
        for digest in [all, sha256(b""), Digest::from_bytes([0; 32]), Digest::from_bytes([0xff; 32])] {
            assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        }
        let digits = |count| "a".repeat(count);
        for (what, text) in [
            ("empty", String::new()),
            ("one digit short", digits(63)),
            ("one byte short", digits(62)),
            ("one byte long", digits(66)),
            ("upper case", digits(64).to_ascii_uppercase()),
            ("a sign", digits(62) + "+1"),
            ("a prefix", "0x".to_owned() + &digits(62)),
            ("a space", digits(63) + " "),
            ("below the digits", digits(63) + "/"),
            ("between digits and letters", digits(63) + ":"),
            ("before a", digits(63) + "`"),
            ("after f", digits(63) + "g"),
            ("64 bytes that are not ASCII", "é".repeat(32)),
        ] {
            assert_eq!(Digest::from_hex(&text), None, "{what}");
        }
    }

    #[test]
    fn encoding_in_place_leaves_room_and_changes_nothing_else() {
        let all: Vec<u8> = (0..=u8::MAX).cycle().take(10_000).collect();
        for (length, prefix) in [0, 1, 2, 3, 3071, 3072, 3073, 6143, 6144, 6145, 10_000]
            .into_iter()
            .zip([0, 1, 7, 5000].into_iter().cycle())
        {
            let mut bytes = all[..length].to_vec();
            encode_base64url_in_place(&mut bytes, prefix);
            let mut expected = String::new();
            encode_base64url_into(&all[..length], &mut expected);
            assert_eq!(&bytes[prefix..], expected.as_bytes(), "{length} {prefix}");
            assert_eq!(decode_own_base64url(&bytes[prefix..]).unwrap(), all[..length], "{length} {prefix}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_text(text in "[A-Za-z0-9_-]{0,24}") {
            if let Ok(bytes) = decode_base64url(&text) {
                let mut again = String::new();
                encode_base64url_into(&bytes, &mut again);
                prop_assert_eq!(again, text);
            }
        }
    }
}
