//! The bundles of all configured trust domains, never pooled (rule 42).

use super::Bundle;
use crate::limits::{BUNDLE_DOMAINS, DOMAINS_CONFIGURED};
use crate::refusal::{Reason, Refusal};
use crate::spiffe::TrustDomain;
use std::collections::BTreeMap;

/// The refusal of a trust domain without a bundle, `TrustDomainUnknown`; it names those that have one.
fn no_bundle<'d>(
    trust_domain: &TrustDomain,
    configured: impl ExactSizeIterator<Item = &'d TrustDomain>,
) -> Refusal {
    let more = configured.len().saturating_sub(DOMAINS_CONFIGURED);
    let named = configured.take(DOMAINS_CONFIGURED).map(TrustDomain::as_str).collect::<Vec<_>>().join(", ");
    let only = match (named.is_empty(), more) {
        (true, _) => "nor for any other trust domain".to_owned(),
        (false, 0) => format!("only for {named}"),
        (false, _) => format!("only for {named} and {more} more"),
    };
    let found = format!("no bundle is configured for {trust_domain}, {only}");
    Refusal::new(Reason::TrustDomainUnknown, found)
}

/// One bundle per trust domain. No method returns the anchors of several domains: one domain must not vouch for the
/// names of another (rule 42).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleSet(BTreeMap<TrustDomain, Bundle>);

impl BundleSet {
    /// Makes a set without bundles, which refuses every card.
    pub fn new() -> Self {
        Self::default()
    }

    /// Inserts a bundle and returns the previous bundle of its trust domain. Fails beyond 256 trust domains.
    pub fn insert(&mut self, bundle: Bundle) -> Result<Option<Bundle>, Refusal> {
        if self.0.len() >= BUNDLE_DOMAINS && !self.0.contains_key(bundle.trust_domain()) {
            let message = format!("there are already bundles for {BUNDLE_DOMAINS} trust domains");
            return Err(Refusal::new(Reason::BundleMalformed, message));
        }
        Ok(self.0.insert(bundle.trust_domain().clone(), bundle))
    }

    /// Removes the bundle of a trust domain, whose cards are refused from then on.
    pub fn remove(&mut self, trust_domain: &TrustDomain) -> Option<Bundle> {
        self.0.remove(trust_domain)
    }

    /// The bundle of exactly `trust_domain`; fails with `TrustDomainUnknown` if there is none.
    pub fn get(&self, trust_domain: &TrustDomain) -> Result<&Bundle, Refusal> {
        self.0.get(trust_domain).ok_or_else(|| no_bundle(trust_domain, self.0.keys()))
    }

    /// The bundles in the order of their trust domains.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Bundle> {
        self.0.values()
    }
}
