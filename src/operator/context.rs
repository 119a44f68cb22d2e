//! Everything that reconciling needs: configuration, what was observed, the bundles, and the way to write.
//! One value, shared; nothing in it decides.

use super::bundles::Bundles;
use super::evaluations::Evaluations;
use super::events::Events;
use super::flags::Config;
use super::identity::Identity;
use super::index::{Index, ObjectRef};
use super::metrics::Metrics;
use super::workload::Written;
use countersign_controller::apply::Writer;
use countersign_core::encoding::Digest;
use countersign_core::policy::Policy;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::TrustDomain;
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use countersign_io::fetch::FetchLimits;
use countersign_plan::agent_card::ending::{next_check, witness};
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::{ClusterAccess, Dns, Egress, InputError, Mode, Namespace, PodGroup};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Labels of the operator's own Pods, as the chart and the existing manifests set them.
const OWN_PODS: (&str, &str) = ("control-plane", "controller-manager");

/// The longest wait for a connection to an agent, of the time that a fetch may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a look waits until the status shows what it found.
const SHOWN: Duration = Duration::from_secs(5);

/// The acceptance rules for a trust domain. Those of two domains differ in nothing but its name.
fn policy(config: &Config, trust_domain: TrustDomain) -> Policy {
    let mut policy = Policy::new(trust_domain);
    policy.profiles = config.profiles;
    policy.freshness = config.freshness;
    policy
}

/// What every reconciliation shares.
pub(crate) struct Context {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The way to the API server.
    pub(crate) client: Client,
    /// The way to change things.
    pub(crate) writer: Writer,
    /// A digest of the acceptance rules, whatever the trust domain.
    pub(crate) rules: Option<Digest>,
    /// What was observed.
    pub(crate) index: Arc<Index>,
    /// The trust bundles.
    pub(crate) bundles: Arc<Bundles>,
    /// The operator's own identity.
    pub(crate) identity: Identity,
    /// What happened, for people.
    pub(crate) events: Events,
    /// What happened, in numbers.
    pub(crate) metrics: Metrics,
    /// Marks that the watch may not have told of yet.
    pub(crate) marks: Written,
    /// Told when it was tried to say something in a status.
    pub(crate) spoke: Notify,
    /// Told when a proof may end before all others.
    pub(crate) ends_earlier: Notify,
    evaluations: Mutex<Evaluations>,
}

impl Context {
    /// A context that has judged nothing yet.
    pub(crate) fn new(
        config: Arc<Config>,
        client: Client,
        index: Arc<Index>,
        bundles: Arc<Bundles>,
        events: Events,
        metrics: Metrics,
    ) -> Self {
        let writer = Writer::new(client.clone());
        let (identity, evaluations) = (Identity::default(), Mutex::default());
        let rules = config.identity.trust_domain.clone().map(|domain| policy(&config, domain).fingerprint());
        Self {
            config,
            client,
            writer,
            rules,
            index,
            bundles,
            identity,
            events,
            metrics,
            marks: Written::default(),
            spoke: Notify::new(),
            ends_earlier: Notify::new(),
            evaluations,
        }
    }

    /// How long and how much an agent may keep us.
    pub(crate) fn limits(&self) -> FetchLimits {
        let total = self.config.fetch_timeout;
        FetchLimits { connect: total.min(CONNECT), total, ..FetchLimits::default() }
    }

    /// The acceptance rules for a trust domain.
    pub(crate) fn policy(&self, trust_domain: TrustDomain) -> Policy {
        policy(&self.config, trust_domain)
    }

    /// Whether a refusal stops traffic in a namespace: its own word, else the configuration.
    pub(crate) fn mode(&self, namespace: &str) -> Mode {
        self.index.mode(namespace).unwrap_or(self.config.mode)
    }

    /// The facts that every plan needs; `None` until it is known where the API server answers.
    pub(crate) fn cluster(&self) -> Option<Result<ClusterAccess, InputError>> {
        let api_server = self.index.api_server()?;
        Some(self.cluster_with(api_server))
    }

    fn cluster_with(&self, api_server: countersign_plan::ApiServer) -> Result<ClusterAccess, InputError> {
        let config = &self.config;
        let (key, value) = OWN_PODS;
        let own = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let operator = PodGroup::labelled(config.namespace.clone(), own)?;
        let mut dns = Dns::new(config.dns.clone(), &config.dns_ports)?;
        for address in &config.dns_addresses {
            dns = dns.with_address(*address)?;
        }
        let mut facts = ClusterAccess::new(operator, api_server, dns)?;
        for caller in &config.callers {
            facts = facts.with_caller(caller.clone());
        }
        for namespace in &config.agent_namespaces {
            facts = facts.with_agent_namespace(namespace.clone());
        }
        if !config.egress_anywhere {
            facts = facts.with_egress(Egress::Listed(BTreeSet::new()));
        }
        Ok(facts)
    }

    /// True if the namespace is among those to work in.
    pub(crate) fn watches(&self, namespace: &str) -> bool {
        let watched = &self.config.watched;
        watched.is_empty() || watched.iter().map(Namespace::as_str).any(|name| name == namespace)
    }

    /// The last evaluation of a card.
    pub(crate) fn evaluation(&self, object: &ObjectRef) -> Option<Arc<Evaluation>> {
        self.lock().get(object).cloned()
    }

    /// Keeps a evaluation; returns the one before.
    pub(crate) fn keep(&self, object: &ObjectRef, evaluation: Evaluation) -> Option<Arc<Evaluation>> {
        let proof = evaluation.result.outcome.as_ref().ok();
        let check = proof.map(|proof| next_check(self.config.freshness, proof, witness(&evaluation), now()));
        let (before, is_first) = {
            let mut evaluations = self.lock();
            let first = evaluations.next_check();
            let before = evaluations.insert(object, evaluation, check);
            (before, check.is_some_and(|check| first.is_none_or(|first| check < first)))
        };
        if is_first {
            self.ends_earlier.notify_one();
        }
        before
    }

    /// Keeps `now` in the place of `before`, unless the card was judged again meanwhile. True if it is kept.
    pub(crate) fn replace(&self, object: &ObjectRef, before: &Evaluation, now: Evaluation) -> bool {
        self.lock().replace(object, before, now)
    }

    /// Remembers that a evaluation is said in status.
    pub(crate) fn said(&self, object: &ObjectRef, evaluation: &Evaluation) {
        let mut evaluations = self.lock();
        // What was said may have been cut down since.
        if let Some(held) = evaluations.get(object).map(|held| held.as_ref().clone())
            && held.card == evaluation.card
        {
            evaluations.replace(object, &held, held.clone().said(true));
        }
    }

    /// Waits until the status has what it shows of a card, but not for long: what was received must not pile up faster
    /// than it is written, nor a status that cannot be written keep others from being looked at.
    pub(crate) async fn until_shown(&self, object: &ObjectRef) {
        let shown = async {
            loop {
                let spoke = self.spoke.notified();
                let held = self.evaluation(object);
                let content = held.as_ref().and_then(|held| held.result.content.as_ref());
                if content.is_none_or(|content| content.data.is_none()) {
                    return;
                }
                spoke.await;
            }
        };
        // Waiting no longer is all that the end of the time means.
        drop(timeout(SHOWN, shown).await);
    }

    /// Forgets a card; returns what was known of it.
    pub(crate) fn forget(&self, object: &ObjectRef) -> Option<Arc<Evaluation>> {
        self.lock().remove(object)
    }

    /// The verified cards whose proof may have ended by `now`.
    pub(crate) fn ending(&self, now: Timestamp) -> Vec<ObjectRef> {
        self.lock().ending(now)
    }

    /// When the first proof may end.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.lock().next_check()
    }

    /// A proof has not ended: it is looked at again at `check`.
    pub(crate) fn postpone(&self, object: &ObjectRef, evaluation: &Evaluation, check: Timestamp) {
        self.lock().postpone(object, evaluation, check);
    }

    /// Every judged card.
    pub(crate) fn evaluated(&self) -> Vec<(ObjectRef, Arc<Evaluation>)> {
        self.lock().iter().map(|(object, evaluation)| (object.clone(), Arc::clone(evaluation))).collect()
    }

    /// Whether cards of the operator's own trust domain can be judged now.
    pub(crate) fn own_bundle(&self) -> Result<(), Refusal> {
        let domain = self.config.identity.trust_domain.as_ref().ok_or_else(|| {
            Refusal::new(Reason::TrustDomainUnknown, "the operator has no --spire-trust-domain")
        })?;
        self.bundles.get(domain, now()).map(drop)
    }

    /// Brings the numbers of cards and the age of the bundle up to date.
    pub(crate) fn count(&self) {
        let evaluations = self.lock();
        let verified = evaluations.iter().filter(|(_, evaluation)| evaluation.result.outcome.is_ok()).count();
        self.metrics.cards("verified", verified);
        self.metrics.cards("refused", evaluations.iter().count().saturating_sub(verified));
        let refreshed =
            self.config.identity.trust_domain.as_ref().and_then(|domain| self.bundles.refreshed(domain));
        if let Some(age) = refreshed.and_then(|at| u64::try_from(now().since(at)).ok()) {
            self.metrics.bundle_age(Duration::from_secs(age));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Evaluations> {
        self.evaluations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
