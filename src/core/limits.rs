//! Every limit of the core, each with its reason.
//! These numbers bound the work of a verification; nothing that a sender chooses does.

use super::time::Seconds;

/// Largest card body read, in bytes. Real cards are 1–16 KiB; 128 KiB ones exist.
pub const BODY_BYTES: usize = 256 * 1024;
/// Largest JSON document of any kind, in bytes. Offsets into a document have 32 bits, of which one is a flag.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest canonical form, in bytes. A form is longer than its card where its writer escapes characters; under RFC
/// 8785 a card of [`BODY_BYTES`] in any script stays below this limit.
pub(crate) const FORM_BYTES: usize = 2 * BODY_BYTES;
/// Deepest nesting of arrays and objects. A2A tools accept up to 128; no real card reaches 32.
pub const JSON_DEPTH: usize = 32;
/// Most JSON values in one document: bounds the arena to about twice [`BODY_BYTES`] of memory.
pub const JSON_NODES: usize = 20_000;
/// Most members of one object: bounds sorting and duplicate search.
pub const JSON_MEMBERS: usize = 1024;
/// Longest member name, in bytes after unescaping.
pub const JSON_KEY_BYTES: usize = 256;
/// Longest string, in bytes after unescaping.
pub const JSON_STRING_BYTES: usize = 64 * 1024;
/// Longest number literal, in bytes. The shortest form of a binary64 number needs at most 24.
pub(crate) const JSON_NUMBER_BYTES: usize = 1024;

/// Most entries of `signatures`: one over the 1.0 form, one over kagenti's, and both again while a key rotates.
pub const SIGNATURES: usize = 4;
/// Longest base64url text of a `protected` header, in bytes: a chain of five certificates with room to spare.
pub(crate) const PROTECTED_BYTES: usize = 32 * 1024;
/// Longest decoded protected header, in bytes (rule 12).
pub const PROTECTED_DECODED_BYTES: usize = 16 * 1024;
/// Longest base64url text of a signature, in bytes: RSA-4096 needs 683.
pub const SIGNATURE_TEXT_BYTES: usize = 1024;
/// Most parameters of one protected or unprotected header (rule 28).
pub(crate) const HEADER_PARAMETERS: usize = 32;
/// Hexadecimal digits of the short key ID that kagenti writes: the first 64 bits of the leaf's SHA-256 (rule 25).
pub(crate) const SHORT_KEY_ID_DIGITS: usize = 16;
/// Longest `kid`, in characters (rule 25).
pub const KEY_ID_CHARS: usize = 256;

/// Most certificates of an `x5c` chain: leaf, SPIRE CA, three upstream intermediates (rule 29).
pub(crate) const CHAIN_CERTIFICATES: usize = 5;
/// Largest certificate, in DER bytes (rule 29).
pub(crate) const CERTIFICATE_BYTES: usize = 8 * 1024;
/// Most extensions of one certificate: bounds the search for duplicates; an SVID has 6 (rule 30).
pub(crate) const CERTIFICATE_EXTENSIONS: usize = 32;
/// Most subtrees of the name constraints of one certificate: constrained authorities of enterprises list a dozen
/// domains (rule 37).
pub(crate) const NAME_SUBTREES: usize = 64;
/// Most names of one certificate that are compared with each subtree: names and subtrees are the sender's (rule 37).
pub(crate) const CONSTRAINED_NAMES: usize = 128;
/// Largest chain, in DER bytes (rule 29).
pub(crate) const CHAIN_BYTES: usize = 16 * 1024;
/// Smallest and largest RSA modulus, in bits: a smaller one is weak, a larger one costs the verifier (rule 15).
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Longest SPIFFE ID, in bytes (SPIFFE-ID §2.3).
pub(crate) const SPIFFE_ID_BYTES: usize = 2048;
/// Longest trust domain name, in bytes (SPIFFE-ID §2.1).
pub(crate) const TRUST_DOMAIN_BYTES: usize = 255;

/// Largest trust bundle document, in bytes: 200 roots of 2 KiB in base64, and room.
pub const BUNDLE_BYTES: usize = 1024 * 1024;
/// Most anchors of one trust domain: SPIRE keeps 2 or 3, and forced rotations have left 120.
pub(crate) const BUNDLE_ANCHORS: usize = 256;
/// Most trust domains of one bundle map.
pub(crate) const BUNDLE_DOMAINS: usize = 256;
/// Refresh interval of a bundle without a hint: the default of SPIRE's bundle endpoint (rule 45).
pub(crate) const BUNDLE_REFRESH_DEFAULT: Seconds = Seconds::new(300);
/// Shortest refresh interval: a published hint of zero must not become a busy loop (rule 45).
pub(crate) const BUNDLE_REFRESH_MIN: Seconds = Seconds::new(60);
/// Longest refresh interval: a published hint must not delay a revocation by days (rule 45).
pub(crate) const BUNDLE_REFRESH_MAX: Seconds = Seconds::new(3600);
/// Most JSON values of a bundle document; one key has about 10.
pub(crate) const BUNDLE_JSON_NODES: usize = 20_000;

/// Largest difference between the verifier's clock and an issuer's that a policy may tolerate.
pub const CLOCK_SKEW_MAX: Seconds = Seconds::new(60);

/// Longest message of a refusal, in characters: leaves room for a prefix in the 1,024 of a Kubernetes event.
pub(crate) const MESSAGE_CHARS: usize = 700;
/// Longest quotation of untrusted text inside a message, in characters.
pub const QUOTED_CHARS: usize = 120;
/// Most uncovered members listed by name; further ones are counted. A card can have [`JSON_NODES`] of them.
pub const UNCOVERED_LISTED: usize = 64;
/// Longest JSON Pointer to an uncovered member, in bytes: one member name of [`JSON_KEY_BYTES`] with every character
/// escaped fits. A full list of [`UNCOVERED_LISTED`] pointers takes 64 KiB.
pub(crate) const UNCOVERED_POINTER_BYTES: usize = 1024;

/// Seconds by which the leaf of other content without `iat` may be older than the leaves in use: replicas renew their
/// leaves at different times (rule 55).
pub(crate) const REPLAY_OVERLAP_SECONDS: u32 = 5 * 60;
/// Most replicas of a workload whose card is fetched in one round; the next rounds fetch from the others.
pub const REPLICAS_PER_EVALUATION: usize = 16;
/// Most replicas of a workload that are fetched from at a time: each may hold [`BODY_BYTES`] of memory until its
/// timeout.
pub const REPLICAS_AT_ONCE: usize = 8;
/// Most contents remembered of one workload: four times [`REPLICAS_PER_EVALUATION`], in case each replica serves content of
/// its own (rule 55).
pub const REPLAY_CONTENTS: usize = 64;
/// Renewals of a witness within its longest age while the card is verified under valid leaves; each one is a write to
/// the API server (rule 57).
pub(crate) const WITNESS_RENEWALS: u32 = 4;

/// Cost of one signature check, in tenths of a P-256 check by ring on one core (measured by `benches/`).
pub mod cost {
    /// Cost of an ECDSA check on P-256, to which all other costs relate: 10 tenths of itself.
    pub const P256: u32 = 10;
    /// Cost of an ECDSA check on P-384, ten times that on P-256: ring has no fast field arithmetic for P-384.
    pub const P384: u32 = 100;
    /// Cost of an Ed25519 check, in tenths of a P-256 check.
    pub const ED25519: u32 = 8;
    /// Cost of an RSA check with a modulus of at most 2048 bits, in tenths of a P-256 check.
    pub const RSA_2048: u32 = 4;
    /// Cost of an RSA check with a modulus of 2049 to 4096 bits, in tenths of a P-256 check.
    pub const RSA_4096: u32 = 18;
}

/// Work that one card may cost, in the unit of [`cost`]: four signatures with P-256 chains of two under four profiles
/// cost 240; one P-384 signature under a P-384 chain costs 200 to 500 (rule 40).
pub(crate) const BUDGET: u32 = 600;
/// Most trust domains that a message names of those whose authorities a bundle holds instead: the rest is more of the same.
pub(crate) const DOMAINS_FOUND: usize = 4;
/// Most trust domains that a message names of those that have a bundle: a line that is still read.
pub(crate) const DOMAINS_CONFIGURED: usize = 5;
