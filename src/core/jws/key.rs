//! Public keys, parsed from `SubjectPublicKeyInfo` in one encoding for each kind (rules 15 and 39).
//! Elliptic-curve keys are matched byte for byte: named curve, uncompressed point, no optional part.

use crate::der;
use crate::encoding::{Digest, sha256};
use crate::limits::{RSA_BITS, cost};
use crate::refusal::{Reason, Refusal};
use std::fmt;

/// Contents of the `AlgorithmIdentifier` of each kind of key (RFC 5480 §2.1, RFC 3279 §2.3.1, RFC 8410 §3).
const P256_ID: &[u8] =
    &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384_ID: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 5, 0x2b, 0x81, 4, 0, 0x22];
const RSA_ID: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0];
const ED25519_ID: &[u8] = &[0x06, 3, 0x2b, 0x65, 0x70];

/// The kind of a key, which decides the algorithms that fit and the cost of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// An elliptic-curve key on P-256.
    P256,
    /// An elliptic-curve key on P-384.
    P384,
    /// An RSA key.
    Rsa {
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// An Ed25519 key.
    Ed25519,
}

impl KeyKind {
    /// Cost of one signature check with such a key, in the unit of [`crate::limits::cost`].
    pub(crate) const fn cost(self) -> u32 {
        match self {
            Self::P256 => cost::P256,
            Self::P384 => cost::P384,
            Self::Ed25519 => cost::ED25519,
            Self::Rsa { bits: 0..=2048 } => cost::RSA_2048,
            Self::Rsa { .. } => cost::RSA_4096,
        }
    }

    /// Contents of the `AlgorithmIdentifier` of such a key, in DER.
    pub const fn algorithm_id(self) -> &'static [u8] {
        match self {
            Self::P256 => P256_ID,
            Self::P384 => P384_ID,
            Self::Rsa { .. } => RSA_ID,
            Self::Ed25519 => ED25519_ID,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::Rsa { bits } => write!(f, "RSA of {bits} bits"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// A public key borrowed from its `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyView<'a> {
    pub(crate) kind: KeyKind,
    /// The key bits: an uncompressed point, an `RSAPublicKey`, or the 32 bytes of an Ed25519 key.
    pub(crate) bits: &'a [u8],
}

impl<'a> KeyView<'a> {
    /// Parses a `SubjectPublicKeyInfo` that fills `spki`; the error completes a sentence that begins with "the key".
    pub(crate) fn parse(spki: &'a [u8]) -> Result<Self, String> {
        const BROKEN: &str = "is not a SubjectPublicKeyInfo in DER";
        let contents = der::read_only(spki, der::SEQUENCE).ok_or(BROKEN)?;
        let algorithm = der::read(contents, der::SEQUENCE).ok_or(BROKEN)?;
        let bits =
            der::read_only(algorithm.rest, der::BIT_STRING).and_then(der::whole_bytes).ok_or(BROKEN)?;
        let kind = match (algorithm.contents, bits) {
            (P256_ID, [4, xy @ ..]) if xy.len() == 64 => KeyKind::P256,
            (P384_ID, [4, xy @ ..]) if xy.len() == 96 => KeyKind::P384,
            (P256_ID | P384_ID, _) => return Err("is not an uncompressed point of its curve".to_owned()),
            (ED25519_ID, bits) if bits.len() == 32 => KeyKind::Ed25519,
            (RSA_ID, bits) => KeyKind::Rsa { bits: rsa_bits(bits)? },
            _ => return Err("is of a kind other than P-256, P-384, RSA and Ed25519".to_owned()),
        };
        Ok(Self { kind, bits })
    }
}

/// Length of the modulus of an `RSAPublicKey`, in bits; an error if modulus or exponent breaks rule 15.
fn rsa_bits(key: &[u8]) -> Result<usize, String> {
    const BROKEN: &str = "is not an RSAPublicKey in DER";
    let contents = der::read_only(key, der::SEQUENCE).ok_or(BROKEN)?;
    let modulus = der::read(contents, der::INTEGER).ok_or(BROKEN)?;
    let exponent = der::read_only(modulus.rest, der::INTEGER).and_then(der::positive).ok_or(BROKEN)?;
    let magnitude = der::positive(modulus.contents).ok_or(BROKEN)?;
    let unused = magnitude.first().map_or(0, |byte| byte.leading_zeros());
    let bits = magnitude.len().saturating_mul(8).saturating_sub(usize::try_from(unused).unwrap_or(0));
    if !RSA_BITS.contains(&bits) {
        return Err(format!("is RSA of {bits} bits, not {} to {}", RSA_BITS.start(), RSA_BITS.end()));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let value = exponent.iter().take(5).fold(0_u64, |value, byte| value.wrapping_shl(8) | u64::from(*byte));
    if !odd(exponent) || value < 65_537 || exponent.len() > 4 {
        return Err("has an RSA exponent that is even or outside 65537 to 2^32".to_owned());
    }
    if !odd(magnitude) {
        return Err("has an even RSA modulus".to_owned());
    }
    Ok(bits)
}

/// A public key that meets the rules for its kind (rules 15 and 39).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    spki: Box<[u8]>,
    kind: KeyKind,
    /// Length of the key bits in bytes; `spki` ends with them.
    bits_len: usize,
}

impl PublicKey {
    /// Parses a DER `SubjectPublicKeyInfo`.
    pub fn from_spki(spki: &[u8]) -> Result<Self, Refusal> {
        let view = KeyView::parse(spki)
            .map_err(|problem| Refusal::new(Reason::ChainAlgorithm, format!("the key {problem}")))?;
        Ok(Self { spki: spki.into(), kind: view.kind, bits_len: view.bits.len() })
    }

    /// The kind of the key.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The `SubjectPublicKeyInfo`, in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the DER `SubjectPublicKeyInfo`, by which deny-lists name a key.
    pub fn spki_sha256(&self) -> Digest {
        sha256(&self.spki)
    }

    pub(crate) fn view(&self) -> KeyView<'_> {
        let start = self.spki.len().saturating_sub(self.bits_len);
        KeyView { kind: self.kind, bits: self.spki.get(start..).unwrap_or_default() }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, spki sha256:{})", self.kind, self.spki_sha256())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match u16::try_from(contents.len()).unwrap().to_be_bytes() {
            [0, low @ 0..=0x7f] => out.push(low),
            [0, low] => out.extend([0x81, low]),
            [high, low] => out.extend([0x82, high, low]),
        }
        out.extend(contents);
        out
    }

    fn spki(id: &[u8], bits: &[u8]) -> Vec<u8> {
        let bits = [&[0], bits].concat();
        tlv(0x30, &[tlv(0x30, id), tlv(0x03, &bits)].concat())
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        spki(RSA_ID, &tlv(0x30, &[tlv(2, modulus), tlv(2, exponent)].concat()))
    }

    /// A modulus of `bits` bits with its sign byte where one is needed.
    fn modulus(bits: usize) -> Vec<u8> {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] = 0xff >> bytes.len().strict_mul(8).strict_sub(bits);
        if bytes[0] >= 0x80 {
            bytes.insert(0, 0);
        }
        bytes
    }

    #[test]
    fn rule_15_rsa_keys_are_bounded_in_modulus_and_exponent() {
        let e = [1, 0, 1];
        for (bits, accepted) in
            [(1024, false), (2047, false), (2048, true), (3072, true), (4096, true), (4097, false)]
        {
            let key = PublicKey::from_spki(&rsa(&modulus(bits), &e));
            assert_eq!(key.ok().map(|key| key.kind()), accepted.then_some(KeyKind::Rsa { bits }), "{bits}");
        }
        for (exponent, accepted) in [
            (&[3][..], false),
            (&[1, 0, 0], false),
            (&[1, 0, 2], false),
            (&[1, 0, 1], true),
            (&[0, 0xff, 0xff, 0xff, 0xff], true),
            (&[1, 0, 0, 0, 1], false),
            (&[0, 1, 0, 1], false),
            (&[0], false),
            (&[], false),
        ] {
            assert_eq!(
                PublicKey::from_spki(&rsa(&modulus(2048), exponent)).is_ok(),
                accepted,
                "{exponent:?}"
            );
        }
        let mut even = modulus(2048);
        *even.last_mut().unwrap() = 0xfe;
        assert!(PublicKey::from_spki(&rsa(&even, &e)).is_err());
    }

    #[test]
    fn curve_keys_have_one_encoding() {
        let point = [&[4][..], &[7; 64]].concat();
        let good = spki(P256_ID, &point);
        assert_eq!(PublicKey::from_spki(&good).unwrap().kind(), KeyKind::P256);
        assert_eq!(PublicKey::from_spki(&good).unwrap().view().bits, point);
        let compressed = spki(P256_ID, &[&[2][..], &[7; 32]].concat());
        let trailing = [&good[..], &[0]].concat();
        let wrong_curve = spki(P384_ID, &point);
        let unknown = spki(&[0x06, 3, 0x2b, 0x65, 0x71], &[0; 57]);
        let ed25519_with_null = spki(&[ED25519_ID, &[5, 0]].concat(), &[1; 32]);
        for (name, bytes) in [
            ("compressed", compressed),
            ("trailing", trailing),
            ("wrong curve", wrong_curve),
            ("unknown", unknown),
            ("parameters", ed25519_with_null),
            ("empty", Vec::new()),
        ] {
            let refusal = PublicKey::from_spki(&bytes).expect_err(name);
            assert_eq!(refusal.reason(), Reason::ChainAlgorithm, "{name}");
        }
    }

    #[test]
    fn the_key_decides_what_a_check_costs() {
        assert_eq!(KeyKind::P256.cost(), cost::P256);
        assert_eq!(KeyKind::P384.cost(), cost::P384);
        assert_eq!(KeyKind::Rsa { bits: 2048 }.cost(), cost::RSA_2048);
        assert_eq!(KeyKind::Rsa { bits: 2049 }.cost(), cost::RSA_4096);
        assert_eq!(KeyKind::Ed25519.cost(), cost::ED25519);
    }
}
