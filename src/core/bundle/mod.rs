//! Trust bundles: the X.509 authorities of one trust domain, from the formats in which SPIRE publishes them.
//! The domain's name comes from the caller, never from the content (rules 42 and 43).

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

/// The authorities of one trust domain; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    anchors: Vec<Arc<Anchor>>,
    sequence: Option<u64>,
    refresh_hint: Option<Seconds>,
    fingerprint: Digest,
    skipped: Vec<SkippedEntry>,
}

/// A part of a bundle that was not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedEntry {
    /// Where it stands, for example `keys[2].x5c[1]` or `certificate 3`.
    pub location: String,
    /// Why it was not used.
    pub why: String,
}

impl Bundle {
    /// The trust domain whose authorities these are.
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities, newest first, each once. Expired ones are among them and validate nothing.
    pub fn anchors(&self) -> &[Arc<Anchor>] {
        &self.anchors
    }

    /// `spiffe_sequence`, when the document has one.
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// `spiffe_refresh_hint` as published, when the document is a single bundle that has one.
    pub const fn refresh_hint(&self) -> Option<Seconds> {
        self.refresh_hint
    }

    /// A digest of the set of authorities alone: it does not change with JWT keys, order, format or sequence.
    pub const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// What was not used, in document order.
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
