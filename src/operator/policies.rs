//! Acceptance policies by trust domain: those of the flags, or of a file that is read again when it changes.
//! A file that cannot be used changes nothing: what was in force stays, and the log and a metric say so.

use super::error::OperatorError;
use super::flags::Config;
use super::metrics::Metrics;
use countersign_api::policy_file::{Base, POLICY_FILE_BYTES, PolicyFile, PolicyFileError, parse_policy_file};
use countersign_core::encoding::{Digest, sha256};
use countersign_core::policy::{Freshness, Policy};
use countersign_core::spiffe::TrustDomain;
use countersign_io::clock::instant;
use countersign_io::files::read_file;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep;

/// Period between two reads of the file. The kubelet itself takes up to a minute to show a changed ConfigMap.
const PERIOD: Duration = Duration::from_secs(5);

/// Policy of one trust domain.
#[derive(Debug)]
pub(crate) struct DomainPolicy {
    /// Acceptance policy.
    pub(crate) policy: Policy,
    /// Digest of the policy: while it is unchanged, an evaluation may be repeated (rule 59).
    pub(crate) digest: Digest,
}

/// Policies in force.
#[derive(Debug)]
struct Current {
    bytes: Option<Digest>,
    file: PolicyFile,
    /// Trust domains of the configuration and of the file. A card may name others, as many as its author likes.
    named: Vec<Arc<DomainPolicy>>,
}

/// Policies of all trust domains.
#[derive(Debug)]
pub(crate) struct Policies {
    own: Option<TrustDomain>,
    base: Base,
    path: Option<PathBuf>,
    current: RwLock<Arc<Current>>,
    changes: watch::Sender<u64>,
    superseded: Mutex<Vec<Arc<Current>>>,
    since: RwLock<Instant>,
}

/// Policies that were superseded and not evaluated against yet.
pub(crate) struct Changed(Vec<Arc<Current>>);

impl Changed {
    /// True if the policy of a trust domain is another one now.
    pub(crate) fn concerns(&self, policies: &Policies, domain: &TrustDomain) -> bool {
        let now = policies.of(domain).digest;
        self.0.iter().any(|before| before.of(domain, policies.base).digest != now)
    }
}

impl Policies {
    /// Policies of the configuration. A file that cannot be used is an error here: there is nothing to keep yet.
    pub(crate) fn new(config: &Config) -> Result<Self, OperatorError> {
        let (own, path) = (config.identity.trust_domain.clone(), config.policy_file.clone());
        let base = Base { profiles: Some(config.profiles), freshness: config.freshness };
        let current = match &path {
            None => Current::new(None, PolicyFile::default(), base, own.as_ref()),
            Some(path) => {
                let failed = |problem: String| {
                    OperatorError::setup("the policy", format!("{}: {problem}", path.display()))
                };
                let bytes = read(path).map_err(failed)?;
                let file = parse_policy_file(&bytes).map_err(|error| failed(error.to_string()))?;
                Current::new(Some(sha256(&bytes)), file, base, own.as_ref())
            }
        };
        Ok(Self::with(own, base, path, current))
    }

    fn with(own: Option<TrustDomain>, base: Base, path: Option<PathBuf>, current: Current) -> Self {
        let (superseded, since) = (Mutex::default(), RwLock::new(instant()));
        let (current, changes) = (RwLock::new(Arc::new(current)), watch::channel(0).0);
        Self { own, base, path, current, changes, superseded, since }
    }

    /// Policy for a trust domain.
    pub(crate) fn of(&self, domain: &TrustDomain) -> Arc<DomainPolicy> {
        self.current().of(domain, self.base)
    }

    /// Time since when the policies are in force.
    pub(crate) fn since(&self) -> Instant {
        *self.since.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Policies that were superseded since the last call.
    pub(crate) fn take_changed(&self) -> Changed {
        Changed(std::mem::take(&mut *self.superseded.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// True if the content of a card may count longer than its leaf of this trust domain.
    pub(crate) fn may_outlast_a_leaf(&self, domain: &TrustDomain) -> bool {
        self.of(domain).policy.freshness != Freshness::Live
    }

    /// Changes of the policies, as a counter.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads the file again whenever it may have changed, until dropped.
    pub(crate) async fn follow(&self, metrics: &Metrics) {
        let Some(path) = &self.path else { return std::future::pending().await };
        let mut last = None;
        loop {
            sleep(PERIOD).await;
            let problem = self.read_again(path, metrics);
            if let Some(problem) = problem.as_deref().filter(|problem| last.as_deref() != Some(*problem)) {
                let path = path.display();
                tracing::warn!(%path, problem, "the policy cannot be used; what was in force stays");
            }
            last = problem;
        }
    }

    /// Reads the file again and returns why it cannot be used, which every such read counts.
    fn read_again(&self, path: &Path, metrics: &Metrics) -> Option<String> {
        let (reason, problem) = match read(path) {
            Ok(bytes) => ("parse", self.take_over(&bytes).err()?.to_string()),
            Err(problem) => ("unreadable", problem),
        };
        metrics.policy_failed(reason);
        Some(problem)
    }

    /// Puts the policies of a file into force, if its bytes differ from those in force.
    fn take_over(&self, bytes: &[u8]) -> Result<(), PolicyFileError> {
        let digest = Some(sha256(bytes));
        if self.current().bytes == digest {
            return Ok(());
        }
        let current = Current::new(digest, parse_policy_file(bytes)?, self.base, self.own.as_ref());
        let before = {
            let mut now = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, Arc::new(current))
        };
        *self.since.write().unwrap_or_else(PoisonError::into_inner) = instant();
        self.superseded.lock().unwrap_or_else(PoisonError::into_inner).push(before);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        tracing::info!("another policy is in force");
        Ok(())
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Current {
    fn of(&self, domain: &TrustDomain, base: Base) -> Arc<DomainPolicy> {
        let named = self.named.iter().find(|known| known.policy.trust_domain == *domain);
        named.cloned().unwrap_or_else(|| Arc::new(DomainPolicy::new(self.file.policy(domain.clone(), base))))
    }

    fn new(bytes: Option<Digest>, file: PolicyFile, base: Base, own: Option<&TrustDomain>) -> Self {
        let others = file.trust_domains().filter(|domain| Some(*domain) != own);
        let named = own
            .into_iter()
            .chain(others)
            .map(|domain| Arc::new(DomainPolicy::new(file.policy(domain.clone(), base))))
            .collect();
        Self { bytes, file, named }
    }
}

impl DomainPolicy {
    fn new(policy: Policy) -> Self {
        Self { digest: policy.fingerprint(), policy }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_file(path, POLICY_FILE_BYTES).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::time::Seconds;

    #[test]
    fn a_file_that_cannot_be_used_keeps_what_was_in_force() {
        let own = TrustDomain::parse("example.org").unwrap();
        let base = Base::default();
        let current = Current::new(None, PolicyFile::default(), base, Some(&own));
        let policies = Policies::with(Some(own.clone()), base, None, current);
        let changes = policies.changes();
        let first = policies.of(&own);
        let text = b"version: 1\ndefaults: { clockSkew: 5s, freshness: witnessed }";
        policies.take_over(text).unwrap();
        policies.take_over(text).unwrap();
        assert_eq!(*changes.borrow(), 1, "equal bytes change nothing");
        assert!(policies.take_over(b"version: 1\ndefaults: { clockSkew: 5 parsecs }").is_err());
        let now = policies.of(&own);
        assert_eq!(now.policy.chain.skew, Seconds::new(5));
        assert_ne!(first.digest, now.digest);
        assert_eq!((*changes.borrow(), policies.may_outlast_a_leaf(&own)), (1, true));
        assert!(policies.take_changed().concerns(&policies, &own), "its policy is another one");
        policies
            .take_over(b"version: 1 # a comment\ndefaults: { clockSkew: 5s, freshness: witnessed }")
            .unwrap();
        assert!(!policies.take_changed().concerns(&policies, &own), "a comment changes no policy");
        policies
            .take_over(b"version: 1\ntrustDomains: { partner.example: { freshness: witnessed } }")
            .unwrap();
        let partner = TrustDomain::parse("partner.example").unwrap();
        assert!(policies.may_outlast_a_leaf(&partner) && !policies.may_outlast_a_leaf(&own));
        policies.take_over(text).unwrap();
        // A domain that nobody configured has the defaults of the file.
        let other = policies.of(&TrustDomain::parse("partner.example").unwrap());
        assert_eq!(other.policy.chain.skew, Seconds::new(5));
    }

    #[test]
    fn every_read_of_a_file_that_cannot_be_used_counts_and_the_last_good_one_stays_in_force() {
        let path = std::env::temp_dir().join(format!("countersign-policy-{}.yaml", std::process::id()));
        let own = TrustDomain::parse("example.org").unwrap();
        let current = Current::new(None, PolicyFile::default(), Base::default(), Some(&own));
        let policies = Policies::with(Some(own.clone()), Base::default(), Some(path.clone()), current);
        let metrics = Metrics::default();
        let counted = |reason: &str| {
            let line = format!("countersign_policy_load_errors_total{{reason=\"{reason}\"}} ");
            let text = metrics.text();
            text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
        };
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            policies.read_again(&path, &metrics)
        };
        let skew = || policies.of(&own).policy.chain.skew;
        assert_eq!(read("version: 1\ndefaults: { clockSkew: 5s }"), None);
        for count in 1..=2 {
            assert!(read("version: 1\ndefaults: { clockSkew: 5 parsecs }").is_some());
            assert_eq!((counted("parse"), counted("unreadable"), skew()), (count, 0, Seconds::new(5)));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(policies.read_again(&path, &metrics).is_some());
        assert_eq!((counted("parse"), counted("unreadable"), skew()), (2, 1, Seconds::new(5)));
        assert_eq!(read("version: 1\ndefaults: { clockSkew: 7s }"), None);
        assert_eq!((counted("parse"), counted("unreadable"), skew()), (2, 1, Seconds::new(7)));
        std::fs::remove_file(&path).unwrap();
    }
}
