//! Every cap of the core in one place, each with its reason.
//! Verification work is bounded by these numbers, never by what the sender chose.

use super::refusal::{Reason, Refusal};
use super::time::Seconds;

/// Largest card body read, in bytes. Real cards are 1–16 KiB; 128 KiB ones exist.
pub const BODY_BYTES: usize = 256 * 1024;
/// Largest body that configuration may allow, in bytes. Offsets into a document are 32-bit and stay small.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest canonical form, in bytes. A form grows where its writer escapes what the card does not; a real card
/// of the largest size in any script stays below this under RFC 8785, and far below in a smaller card.
pub(crate) const FORM_BYTES: usize = 2 * BODY_BYTES;
/// Deepest nesting of arrays and objects. The A2A tools use up to 128; no card needs 32.
pub const JSON_DEPTH: usize = 32;
/// Most JSON values in one document: bounds the arena to about twice [`BODY_BYTES`].
pub const JSON_NODES: usize = 20_000;
/// Most members of one object: bounds sorting and duplicate search.
pub const JSON_MEMBERS: usize = 1024;
/// Longest member name, in bytes after unescaping.
pub const JSON_KEY_BYTES: usize = 256;
/// Longest string, in bytes after unescaping.
pub const JSON_STRING_BYTES: usize = 64 * 1024;
/// Longest number literal, in bytes. A shortest binary64 needs 24; the rest is slack for other writers.
pub(crate) const JSON_NUMBER_BYTES: usize = 1024;

/// Most entries of the top-level `signatures` array: own, `--also-kagenti`, and both again while a key rotates.
pub(crate) const SIGNATURES: usize = 4;
/// Longest base64url text of a `protected` header, in bytes: a five-certificate chain and room.
pub(crate) const PROTECTED_BYTES: usize = 32 * 1024;
/// Longest decoded protected header, in bytes (rule 12).
pub const PROTECTED_DECODED_BYTES: usize = 16 * 1024;
/// Longest base64url text of a signature, in bytes: RSA-4096 needs 683.
pub const SIGNATURE_TEXT_BYTES: usize = 1024;
/// Most parameters of one protected or unprotected header (rule 28).
pub(crate) const HEADER_PARAMETERS: usize = 32;
/// Digits of the short key ID that kagenti writes: the first 64 bits of the leaf's SHA-256.
pub(crate) const SHORT_KEY_ID_DIGITS: usize = 16;
/// Longest `kid`, in characters (rule 25).
pub const KEY_ID_CHARS: usize = 256;

/// Most certificates of an `x5c` chain: leaf, SPIRE CA, three upstream intermediates (rule 29).
pub(crate) const CHAIN_CERTIFICATES: usize = 5;
/// Largest certificate, in DER bytes (rule 29).
pub(crate) const CERTIFICATE_BYTES: usize = 8 * 1024;
/// Most extensions of one certificate: an SVID has 6; bounds the search for duplicates (rule 30).
pub(crate) const CERTIFICATE_EXTENSIONS: usize = 32;
/// Largest chain, in DER bytes (rule 29).
pub(crate) const CHAIN_BYTES: usize = 16 * 1024;
/// Smallest and largest RSA modulus, in bits: below is weak, above costs the verifier (rule 15).
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Longest SPIFFE ID, in bytes (SPIFFE-ID §2.3).
pub(crate) const SPIFFE_ID_BYTES: usize = 2048;
/// Longest trust domain name, in bytes (SPIFFE-ID §2.1).
pub(crate) const TRUST_DOMAIN_BYTES: usize = 255;

/// Largest trust bundle document, in bytes: 200 roots of 2 KiB in base64, and room.
pub const BUNDLE_BYTES: usize = 1024 * 1024;
/// Most anchors of one trust domain: SPIRE keeps 2–3; 120 have been seen after forced rotations.
pub(crate) const BUNDLE_ANCHORS: usize = 256;
/// Most trust domains of one bundle map.
pub(crate) const BUNDLE_DOMAINS: usize = 256;
/// How often a bundle is refreshed when it brings no hint: the default of SPIRE's bundle endpoint.
pub(crate) const BUNDLE_REFRESH_DEFAULT: Seconds = Seconds::new(300);
/// Shortest refresh interval: a hint of zero must not become a busy loop (rule 45).
pub(crate) const BUNDLE_REFRESH_MIN: Seconds = Seconds::new(60);
/// Longest refresh interval: a revocation must not wait for days (rule 45).
pub(crate) const BUNDLE_REFRESH_MAX: Seconds = Seconds::new(3600);
/// Missed refreshes that deserve a warning (rule 45).
pub(crate) const BUNDLE_MISSED_REFRESHES: u32 = 3;
/// Nesting, values, members and string length of a bundle document.
pub(crate) const BUNDLE_JSON_NODES: usize = 20_000;

/// Largest difference between our clock and an issuer's that policy may tolerate.
pub const CLOCK_SKEW_MAX: Seconds = Seconds::new(60);

/// Longest message of a refusal, in characters: fits a Kubernetes event (1,024) with its prefix.
pub(crate) const MESSAGE_CHARS: usize = 700;
/// Longest quotation of untrusted text inside a message, in characters.
pub const QUOTED_CHARS: usize = 120;
/// Most uncovered members listed by name; the rest is counted. A card can leave [`JSON_NODES`] of them uncovered.
pub const UNCOVERED_LISTED: usize = 64;
/// Longest JSON Pointer to an uncovered member, in bytes: longer than the way to any member that a card needs, and
/// than one longest name with every character escaped. All of them in a list are 64 KiB.
pub(crate) const UNCOVERED_POINTER_BYTES: usize = 1024;

/// How much older than the leaves in use a leaf may be that signs other content without saying when, in seconds:
/// replicas renew at different times (rule 55).
pub(crate) const REPLAY_OVERLAP_SECONDS: u32 = 5 * 60;
/// Most replicas of a workload that one look asks for their card; the others are asked by the next looks.
pub const REPLICAS_PER_LOOK: usize = 16;
/// Most of them at a time: each may send a body of [`BODY_BYTES`], and keep the look waiting until its time is over.
pub const REPLICAS_AT_ONCE: usize = 8;
/// Most contents remembered of one workload: twice the replicas that one look sees, each with content of its own
/// (rule 55).
pub const REPLAY_CONTENTS: usize = 64;
/// How often in the longest age of a witness it is renewed while the card is verified under valid leaves: each
/// renewal is a write (rule 57).
pub(crate) const WITNESS_RENEWALS: u32 = 4;

/// Cost of one signature check in tenths of a P-256 check with ring on one core (measured; see `benches/`).
pub mod cost {
    /// ECDSA P-256.
    pub const P256: u32 = 10;
    /// ECDSA P-384: ring has no fast field arithmetic for it.
    pub const P384: u32 = 100;
    /// Ed25519.
    pub const ED25519: u32 = 8;
    /// RSA up to 2048 bits.
    pub const RSA_2048: u32 = 4;
    /// RSA up to 4096 bits.
    pub const RSA_4096: u32 = 18;
}

/// Work for one card, in the unit of [`cost`]: four signatures with P-256 chains of two under four profiles
/// need 240; one P-384 signature under a P-384 chain needs 200 to 500.
pub(crate) const BUDGET: u32 = 600;

/// The signature checks that one card may still cost.
///
/// Weighted, because the sender chooses the curve: counting checks alone would let P-384 cost ten times more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    left: u32,
}

impl Budget {
    /// A budget of `units` tenths of a P-256 check.
    pub const fn new(units: u32) -> Self {
        Self { left: units }
    }

    /// Takes `cost` before the check is made; a refusal leaves the budget as it was.
    pub fn spend(&mut self, cost: u32) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(cost).ok_or_else(|| {
            Refusal::new(
                Reason::WorkBudget,
                format!(
                    "the next signature check costs {cost} units and {} of the card's budget are left",
                    self.left
                ),
            )
        })?;
        Ok(())
    }

    /// Units left.
    pub const fn left(&self) -> u32 {
        self.left
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BUDGET)
    }
}
