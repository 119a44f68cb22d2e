//! Trust bundles of all known domains, and the signal that their authorities changed.
//! Only X.509 authorities count as a change; JWT keys, order and sequence numbers do not.

mod cluster_trust_bundle;
mod config_map;
mod federation;
mod follow;
mod source;
mod state;
mod workload_api;

pub(crate) use cluster_trust_bundle::follow_cluster_trust_bundle;
pub(crate) use config_map::{ConfigMapKey, follow_config_map};
pub(crate) use federation::follow_federation;
pub(crate) use workload_api::follow_workload_api;

use super::metrics::Metrics;
use countersign_core::bundle::Bundle;
use countersign_core::encoding::{Digest, Sha256};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::TrustDomain;
use countersign_core::time::{Seconds, Timestamp};
use source::{ReadFailure, word_of};
use state::SourceState;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// Bundles of all known trust domains, each with its own source.
#[derive(Debug)]
pub(crate) struct Bundles {
    sources: RwLock<BTreeMap<TrustDomain, SourceState>>,
    max_age: Seconds,
    metrics: Metrics,
    fingerprint: watch::Sender<Digest>,
}

impl Bundles {
    /// Empty set of bundles. `max_age` bounds how long a bundle counts after its last read (rule 45).
    pub(crate) fn new(max_age: Seconds, metrics: Metrics) -> Self {
        let fingerprint = watch::channel(Sha256::new().finish()).0;
        Self { sources: RwLock::default(), max_age, metrics, fingerprint }
    }

    /// Receiver of a digest over the authorities of all domains.
    pub(crate) fn changes(&self) -> watch::Receiver<Digest> {
        self.fingerprint.subscribe()
    }

    /// Bundle of one domain at `now`; authorities of domains are never pooled (rule 42).
    pub(crate) fn get(&self, trust_domain: &TrustDomain, now: Timestamp) -> Result<Arc<Bundle>, Refusal> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        match sources.get(trust_domain) {
            Some(source) => source.current(now, self.max_age).map(Arc::clone),
            None => Err(no_bundle(trust_domain)),
        }
    }

    /// Accepts the content of a domain's source, or the reason for none, and announces changed authorities. True if the
    /// content was accepted as the current bundle.
    fn accept(
        &self,
        trust_domain: &TrustDomain,
        now: Timestamp,
        content: Result<Vec<u8>, ReadFailure>,
    ) -> bool {
        let word = content.as_ref().err().map(|unread| unread.word);
        let problem = {
            let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
            let source =
                sources.entry(trust_domain.clone()).or_insert_with(|| SourceState::new(trust_domain.clone()));
            let before = source.problem().map(Refusal::reason);
            source.update(content.map_err(|unread| unread.refusal), now);
            let problem = source.problem().cloned();
            // A repeated problem is logged by a periodic task instead, to keep the log short.
            if let Some(problem) = problem.as_ref().filter(|problem| Some(problem.reason()) != before) {
                tracing::warn!(trust_domain = %trust_domain, %problem, "the trust bundle cannot be refreshed");
            }
            problem
        };
        if let Some(problem) = &problem {
            self.metrics.bundle_failed(word.unwrap_or_else(|| word_of(problem.reason())));
        }
        self.announce(now);
        problem.is_none()
    }

    /// Records that federated domains could not be listed.
    fn could_not_read(&self, problem: &Refusal, word: &'static str) {
        self.metrics.bundle_failed(word);
        tracing::warn!(%problem, "it is not known whether there are federated trust domains");
    }

    /// Removes a domain, so that none of its authorities is trusted any more.
    pub(crate) fn forget(&self, trust_domain: &TrustDomain, now: Timestamp) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).remove(trust_domain);
        self.announce(now);
    }

    /// Problems of all failing sources, by domain.
    pub(crate) fn problems(&self) -> Vec<(TrustDomain, Refusal)> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources
            .iter()
            .filter_map(|(domain, source)| Some((domain.clone(), source.problem()?.clone())))
            .collect()
    }

    /// Time at which the current bundle of a domain was last read.
    pub(crate) fn refreshed(&self, trust_domain: &TrustDomain) -> Option<Timestamp> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(trust_domain)?.refreshed()
    }

    /// Announces changed authorities as of `now`; a stale bundle has none, so that time alone can be a change.
    pub(crate) fn announce(&self, now: Timestamp) {
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

/// Refusal of a trust domain without a source. It names no other domain: status is what a tenant reads, who is no party to
/// whom the cluster federates with, and each domain that comes or goes would be a write for every such card.
fn no_bundle(trust_domain: &TrustDomain) -> Refusal {
    Refusal::new(Reason::TrustDomainUnknown, format!("no bundle is configured for {trust_domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_set_of_authorities_is_announced() {
        let (bundles, now) =
            (Bundles::new(Seconds::new(60), Metrics::default()), Timestamp::from_unix(1_795_219_200));
        let domain = TrustDomain::parse("example.org").unwrap();
        let text = include_str!("../../../tests/fixtures/doc/bundle.json");
        let mut changes = bundles.changes();
        let mut publish = |text: &str| {
            bundles.accept(&domain, now, Ok(text.as_bytes().to_vec()));
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

    #[test]
    fn a_bundle_that_is_not_read_again_grows_old_and_that_is_announced() {
        let metrics = Metrics::default();
        let (bundles, start) =
            (Bundles::new(Seconds::new(60), metrics.clone()), Timestamp::from_unix(1_795_219_200));
        let at = |seconds| start.plus(Seconds::new(seconds));
        let domain = TrustDomain::parse("example.org").unwrap();
        let text = include_bytes!("../../../tests/fixtures/doc/bundle.json").to_vec();
        assert!(bundles.accept(&domain, at(0), Ok(text.clone())));
        let unknown = bundles.get(&TrustDomain::parse("other.example").unwrap(), at(0)).unwrap_err();
        assert_eq!(unknown.message(), "no bundle is configured for other.example");
        let mut changes = bundles.changes();
        // Neither content nor an error arrives, as from a silent or stopped watch.
        bundles.announce(at(60));
        assert!(!changes.has_changed().unwrap() && bundles.get(&domain, at(60)).is_ok());
        bundles.announce(at(61));
        assert!(changes.has_changed().unwrap());
        assert_eq!(bundles.get(&domain, at(61)).unwrap_err().reason(), Reason::BundleStale);
        changes.mark_unchanged();
        assert!(bundles.accept(&domain, at(70), Ok(text)));
        assert!(changes.has_changed().unwrap() && bundles.get(&domain, at(130)).is_ok());
        // A failure is counted, and does not refresh the bundle.
        for second in [80, 90] {
            assert!(!bundles.accept(&domain, at(second), Err(ReadFailure::missing("gone".to_owned()))));
        }
        assert!(!bundles.accept(&domain, at(95), Ok(b"{".to_vec())));
        assert_eq!(bundles.get(&domain, at(131)).unwrap_err().reason(), Reason::BundleStale);
        for line in [r#"{reason="not_found"} 2"#, r#"{reason="parse"} 1"#] {
            let line = format!("kagenti_x5c_trust_bundle_load_errors_total{line}");
            assert!(metrics.text().lines().any(|found| found == line), "{line}\n{}", metrics.text());
        }
    }

    #[test]
    fn a_partner_changes_nothing_of_what_is_said_of_an_unknown_domain() {
        let (bundles, start) =
            (Bundles::new(Seconds::new(60), Metrics::default()), Timestamp::from_unix(1_795_219_200));
        let [asked, partner, unread] =
            ["other.example", "example.org", "silent.example"].map(|name| TrustDomain::parse(name).unwrap());
        let before = bundles.get(&asked, start).unwrap_err();
        assert_eq!(before.reason(), Reason::TrustDomainUnknown);
        assert!(before.message().contains("other.example"), "{before}");
        let text = include_bytes!("../../../tests/fixtures/doc/bundle.json").to_vec();
        assert!(bundles.accept(&partner, start, Ok(text)));
        bundles.accept(&unread, start, Err(ReadFailure::missing("gone".to_owned())));
        assert_eq!(bundles.get(&asked, start).unwrap_err(), before);
    }
}
