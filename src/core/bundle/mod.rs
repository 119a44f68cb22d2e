//! Trust bundles: the X.509 authorities of one trust domain, in the formats in which SPIRE publishes them.
//! The caller names the trust domain; the content of a bundle never does (rules 42 and 43).

mod memory;
mod parse;
mod set;

pub use memory::{AcceptedBundle, BundleFreshness, BundleMemory, FallbackAfter, accept_bundle};
pub use parse::parse_bundle;
pub use set::BundleSet;

use super::encoding::{Digest, Sha256};
use super::spiffe::TrustDomain;
use super::time::Seconds;
use super::x509::Anchor;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The X.509 authorities of one trust domain; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    anchors: Vec<Arc<Anchor>>,
    sequence: Option<u64>,
    refresh_hint: Option<Seconds>,
    fingerprint: Digest,
    skipped: Vec<SkippedEntry>,
}

/// An entry of a bundle document that was not used as an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedEntry {
    /// The location in the document, for example `keys[2].x5c[1]` or `certificate 3`.
    pub location: String,
    /// The problem, for people.
    pub why: String,
}

impl Bundle {
    /// The trust domain of the authorities.
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities, newest first, each once. Expired ones are included and validate nothing.
    pub fn anchors(&self) -> &[Arc<Anchor>] {
        &self.anchors
    }

    /// `spiffe_sequence`, if the document has one.
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// `spiffe_refresh_hint` in seconds as published; `None` in a map of bundles.
    pub const fn refresh_hint(&self) -> Option<Seconds> {
        self.refresh_hint
    }

    /// SHA-256 over the set of authorities alone: JWT keys, order, format and sequence do not change it.
    pub const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// The entries that were not used, in document order.
    pub fn skipped(&self) -> &[SkippedEntry] {
        &self.skipped
    }
}

fn fingerprint(anchors: &BTreeSet<Digest>) -> Digest {
    let mut hasher = Sha256::new();
    for anchor in anchors {
        hasher.update(anchor.as_bytes());
    }
    hasher.finish()
}
