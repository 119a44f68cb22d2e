//! Signature algorithms by their JWS names, and the allow-list of algorithms (rule 13).
//! The type has neither `none` nor HMAC, so no configuration can allow one of them (RFC 8725 §3.1).

use super::key::KeyKind;
use crate::refusal::{Reason, Refusal};
use crate::text::Quoted;
use std::fmt;

/// An asymmetric JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256, MGF1 with the same hash and a salt of its length.
    Ps256,
    /// RSASSA-PSS with SHA-384, MGF1 with the same hash and a salt of its length.
    Ps384,
    /// RSASSA-PSS with SHA-512, MGF1 with the same hash and a salt of its length.
    Ps512,
    /// Ed25519, named `EdDSA` by RFC 8037 and `Ed25519` by RFC 9864.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm, in the order of the variants.
    pub const ALL: [Self; 9] = [
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::EdDsa,
    ];

    /// Parses a JWS name; case matters. Ed25519 has two names.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        let found = match name {
            "Ed25519" => Some(Self::EdDsa),
            _ => Self::ALL.into_iter().find(|algorithm| algorithm.name() == name),
        };
        found.ok_or_else(|| {
            let message = format!("alg is {}, which is not a signature algorithm known here", Quoted(name));
            Refusal::new(Reason::AlgorithmNotAllowed, message)
        })
    }

    /// Returns the value of the header parameter `alg` (RFC 7518 §3.1). Ed25519 is always written `EdDSA` (RFC 8037),
    /// although [`Self::parse`] reads `Ed25519` too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// True if a key of `kind` may sign with this algorithm: both key type and curve must match (rule 14).
    pub const fn fits(self, kind: KeyKind) -> bool {
        match self {
            Self::Es256 => matches!(kind, KeyKind::P256),
            Self::Es384 => matches!(kind, KeyKind::P384),
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                matches!(kind, KeyKind::Rsa { .. })
            }
            Self::EdDsa => matches!(kind, KeyKind::Ed25519),
        }
    }

    const fn bit(self) -> u16 {
        match self {
            Self::Es256 => 1,
            Self::Es384 => 1 << 1,
            Self::Rs256 => 1 << 2,
            Self::Rs384 => 1 << 3,
            Self::Rs512 => 1 << 4,
            Self::Ps256 => 1 << 5,
            Self::Ps384 => 1 << 6,
            Self::Ps512 => 1 << 7,
            Self::EdDsa => 1 << 8,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The algorithms that a signature may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// The empty set, which refuses every signature.
    pub(crate) const EMPTY: Self = Self(0);

    /// ES256, ES384, RS256 and PS256: the kinds of key that SPIRE issues, each with the hash of its strength.
    pub const DEFAULT: Self = Self::EMPTY
        .with(Algorithm::Es256)
        .with(Algorithm::Es384)
        .with(Algorithm::Rs256)
        .with(Algorithm::Ps256);

    /// The set with `algorithm` added.
    #[must_use]
    pub const fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | algorithm.bit())
    }

    /// True if `algorithm` is allowed.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }

    /// The allowed algorithms, in the order of [`Algorithm::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |algorithm| self.contains(*algorithm))
    }
}

impl Default for AlgorithmSet {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        algorithms.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_only_in_their_exact_case() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Ok(algorithm));
        }
        assert_eq!(Algorithm::parse("Ed25519"), Ok(Algorithm::EdDsa));
        for name in ["none", "None", "HS256", "es256", "ES256 ", "ES512", "ES256K", "", "Ed448", "RSA1_5"] {
            let refusal = Algorithm::parse(name).expect_err(name);
            assert_eq!(refusal.reason(), Reason::AlgorithmNotAllowed, "{name}");
        }
    }

    #[test]
    fn the_default_set_holds_what_spire_keys_can_make() {
        let names: Vec<_> = AlgorithmSet::DEFAULT.iter().map(Algorithm::name).collect();
        assert_eq!(names, ["ES256", "ES384", "RS256", "PS256"]);
        assert!(!AlgorithmSet::DEFAULT.contains(Algorithm::EdDsa));
        assert!(AlgorithmSet::DEFAULT.with(Algorithm::EdDsa).contains(Algorithm::EdDsa));
        assert_eq!(Algorithm::ALL.into_iter().collect::<AlgorithmSet>().iter().count(), 9);
    }

    #[test]
    fn every_algorithm_fits_exactly_one_kind_of_key() {
        let kinds = [KeyKind::P256, KeyKind::P384, KeyKind::Rsa { bits: 2048 }, KeyKind::Ed25519];
        for algorithm in Algorithm::ALL {
            assert_eq!(kinds.into_iter().filter(|kind| algorithm.fits(*kind)).count(), 1, "{algorithm}");
        }
    }
}
