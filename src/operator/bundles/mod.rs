//! The trust bundles that count now, and the word that their authorities changed.
//! JWT keys, order and sequence numbers change nothing here; only X.509 authorities do.

mod config_map;
mod federation;
mod state;
mod workload_api;

pub(crate) use config_map::{BundleSource, follow_config_map};
pub(crate) use federation::follow_federation;
pub(crate) use state::SourceState;
pub(crate) use workload_api::follow_workload_api;

use crate::core::bundle::Bundle;
use crate::core::encoding::{Digest, Sha256};
use crate::core::refusal::{Reason, Refusal};
use crate::core::spiffe::TrustDomain;
use crate::core::time::{Seconds, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// The bundles of every trust domain that is known.
#[derive(Debug)]
pub(crate) struct Bundles {
    sources: RwLock<BTreeMap<TrustDomain, SourceState>>,
    max_age: Seconds,
    fingerprint: watch::Sender<Digest>,
}

impl Bundles {
    /// No bundles yet. `max_age` bounds how long one counts whose source fails.
    pub(crate) fn new(max_age: Seconds) -> Self {
        Self { sources: RwLock::default(), max_age, fingerprint: watch::channel(Sha256::new().finish()).0 }
    }

    /// Changes with the authorities of any domain.
    pub(crate) fn changes(&self) -> watch::Receiver<Digest> {
        self.fingerprint.subscribe()
    }

    /// The bundle of one domain; each domain has its own authorities and no other ones (rule 42).
    pub(crate) fn get(&self, trust_domain: &TrustDomain, now: Timestamp) -> Result<Arc<Bundle>, Refusal> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        match sources.get(trust_domain) {
            Some(source) => source.current(now, self.max_age).map(Arc::clone),
            None => Err(Refusal::new(
                Reason::TrustDomainUnknown,
                format!("no bundle is configured for {trust_domain}"),
            )),
        }
    }

    /// Changes what is known of one domain, and says so if its authorities changed.
    pub(crate) fn update(
        &self,
        trust_domain: &TrustDomain,
        now: Timestamp,
        change: impl FnOnce(&mut SourceState),
    ) {
        {
            let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
            let source =
                sources.entry(trust_domain.clone()).or_insert_with(|| SourceState::new(trust_domain.clone()));
            change(source);
        }
        self.announce(now);
    }

    /// Forgets a domain: nothing of it is trusted any more.
    pub(crate) fn forget(&self, trust_domain: &TrustDomain, now: Timestamp) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).remove(trust_domain);
        self.announce(now);
    }

    /// What is wrong with each source that fails.
    pub(crate) fn problems(&self) -> Vec<(TrustDomain, Refusal)> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources
            .iter()
            .filter_map(|(domain, source)| Some((domain.clone(), source.problem()?.clone())))
            .collect()
    }

    /// When the source of a domain was last known to hold what counts.
    pub(crate) fn refreshed(&self, trust_domain: &TrustDomain) -> Option<Timestamp> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(trust_domain)?.refreshed()
    }

    /// Looks at the clock: says so if a bundle has become too old.
    pub(crate) fn age(&self, now: Timestamp) {
        for source in self.sources.write().unwrap_or_else(PoisonError::into_inner).values_mut() {
            source.confirm(now);
        }
        self.announce(now);
    }

    fn announce(&self, now: Timestamp) {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        let mut hasher = Sha256::new();
        for (domain, source) in sources.iter() {
            hasher.update(domain.as_str().as_bytes());
            match source.current(now, self.max_age) {
                Ok(bundle) => hasher.update(bundle.fingerprint().as_bytes()),
                Err(refusal) => hasher.update(refusal.reason().code().as_bytes()),
            }
        }
        let fingerprint = hasher.finish();
        self.fingerprint.send_if_modified(|last| {
            let changed = *last != fingerprint;
            *last = fingerprint;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_set_of_authorities_is_announced() {
        let (bundles, now) = (Bundles::new(Seconds::new(60)), Timestamp::from_unix(1_795_219_200));
        let domain = TrustDomain::parse("example.org").unwrap();
        let text = include_str!("../../../tests/fixtures/doc/bundle.json");
        let mut changes = bundles.changes();
        let mut publish = |text: &str| {
            bundles.update(&domain, now, |source| source.update(Ok(text.as_bytes().to_vec()), now));
            let announced = changes.has_changed().unwrap();
            changes.mark_unchanged();
            announced
        };
        assert!(publish(text));
        assert!(!publish(text));
        let with_jwt_key = text.replacen("\"keys\":", "\"spiffe_sequence\":9000000000,\"keys\":", 1);
        assert!(!publish(&with_jwt_key), "a higher sequence changes nothing");
        assert!(publish(r#"{"keys":[]}"#));
    }
}
