//! Shared context of all reconciliations: configuration, index, bundles, evaluations and writer.
//! The context decides nothing about agents.

use super::bundles::Bundles;
use super::constraint::SccState;
use super::enforcements::Enforcements;
use super::evaluations::Evaluations;
use super::events::Events;
use super::findings::Findings;
use super::flags::Config;
use super::identity::OwnSvid;
use super::index::{Index, ObjectRef, WorkloadRef};
use super::limits::PAGES_AT_ONCE;
use super::metrics::Metrics;
use super::notices::Notices;
use super::policies::Policies;
use super::sidecars::Sidecars;
use super::undecided::Undecided;
use super::written::Written;
use countersign_controller::apply::Writer;
use countersign_controller::key::Key;
use countersign_controller::queue::Urgency;
use countersign_controller::turns::Work;
use countersign_core::policy::Freshness;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use countersign_io::fetch::FetchLimits;
use countersign_plan::agent_card::ending::{next_check, witness};
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::agent_card::result::Proof;
use countersign_plan::mesh::{Mesh, ShownMesh};
use countersign_plan::{ClusterAccess, Dns, Egress, InputError, Mode, Namespace, PodGroup};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// Label of the operator's own Pods, as the chart and the existing manifests set it.
const OWN_PODS: (&str, &str) = ("control-plane", "controller-manager");

/// Maximum time for connecting to an agent, within the fetch timeout.
const CONNECT: Duration = Duration::from_secs(3);

/// Maximum time for which an evaluation waits until status shows the card.
const SHOWN: Duration = Duration::from_secs(5);

/// Context that all reconciliations share.
pub(crate) struct Context {
    /// Checked configuration of the operator.
    pub(crate) config: Arc<Config>,
    /// Client of the API server, for reads.
    pub(crate) client: Client,
    /// Client of the API server for watches.
    pub(crate) watching: Client,
    /// Writer to the API server.
    pub(crate) writer: Writer,
    /// Acceptance policies by trust domain.
    pub(crate) policies: Policies,
    /// Index of observed objects.
    pub(crate) index: Arc<Index>,
    /// Queues of turns.
    pub(crate) work: Arc<Work>,
    /// Trust bundles of all known domains.
    pub(crate) bundles: Arc<Bundles>,
    /// Settings of the cluster for sidecars.
    pub(crate) sidecars: Arc<Sidecars>,
    /// SVID of the operator, for mTLS fetches.
    pub(crate) identity: OwnSvid,
    /// Writer of Kubernetes Events.
    pub(crate) events: Events,
    /// Prometheus metrics of the process.
    pub(crate) metrics: Metrics,
    /// Recent writes of peer marks, which the watch may not have reported yet.
    pub(crate) marks: Written,
    /// Time at which this replica began to lead.
    pub(crate) leading_since: OnceLock<Timestamp>,
    /// Workloads without a decision.
    pub(crate) undecided: Undecided,
    /// Enforcement of the last decision about each workload.
    pub(crate) enforcements: Enforcements,
    /// What was last said about each workload in an event.
    pub(crate) notices: Notices<WorkloadRef>,
    /// What was last said about each AgentCard whose verdict stands because something was not read.
    pub(crate) waits: Notices<ObjectRef>,
    /// Workloads of a kind that is not listed.
    pub(crate) unlisted: Undecided,
    /// What was last found about the mesh in each namespace with an `AgentRuntime`.
    pub(crate) meshes: Findings<String, Mesh>,
    /// What is known about OpenShift's security context constraint for the sidecar.
    pub(crate) scc: SccState,
    /// Turns to read pages of whole objects, which bounds their memory.
    pub(crate) pages: Semaphore,
    /// Notified after each attempt to write a status.
    pub(crate) status_written: Notify,
    /// Notified when a proof may end before all others.
    pub(crate) ends_earlier: Notify,
    evaluations: Mutex<Evaluations>,
}

impl Context {
    /// Context without evaluations.
    pub(crate) fn new(
        config: Arc<Config>,
        (client, watching): (Client, Client),
        (work, policies): (Arc<Work>, Policies),
        (bundles, sidecars): (Arc<Bundles>, Arc<Sidecars>),
        events: Events,
        metrics: Metrics,
    ) -> Self {
        let writer = Writer::new(client.clone());
        let (identity, evaluations) = (OwnSvid::default(), Mutex::default());
        Self {
            config,
            client,
            watching,
            writer,
            policies,
            index: Arc::new(Index::new()),
            work,
            bundles,
            sidecars,
            identity,
            events,
            metrics,
            marks: Written::default(),
            leading_since: OnceLock::new(),
            undecided: Undecided::default(),
            enforcements: Enforcements::default(),
            notices: Notices::default(),
            waits: Notices::default(),
            unlisted: Undecided::default(),
            meshes: Findings::default(),
            scc: SccState::default(),
            pages: Semaphore::new(PAGES_AT_ONCE),
            status_written: Notify::new(),
            ends_earlier: Notify::new(),
            evaluations,
        }
    }

    /// Enqueues a turn of `key` that is due now.
    pub(crate) fn enqueue(&self, key: Key, urgency: Urgency) {
        self.work.enqueue(key, urgency);
    }

    /// Enqueues a turn of `key` that is due after `wait`.
    pub(crate) fn enqueue_in(&self, wait: Duration, key: Key, urgency: Urgency) {
        self.work.enqueue_in(wait, key, urgency);
    }

    /// Limits in time and bytes of one fetch.
    pub(crate) fn limits(&self) -> FetchLimits {
        let total = self.config.fetch_timeout;
        FetchLimits { connect: total.min(CONNECT), total, ..FetchLimits::default() }
    }

    /// Enforcement mode of a namespace: from its label, else from the configuration.
    pub(crate) fn mode(&self, namespace: &str) -> Mode {
        self.index.mode(namespace).unwrap_or(self.config.mode)
    }

    /// Network access of the cluster for plans; `None` until the endpoints of the API server are known.
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
        let mut access = ClusterAccess::new(operator, api_server, dns)?;
        for caller in &config.callers {
            access = access.with_caller(caller.clone());
        }
        for namespace in &config.agent_namespaces {
            access = access.with_agent_namespace(namespace.clone());
        }
        if !config.egress_anywhere {
            access = access.with_egress(Egress::Listed(BTreeSet::new()));
        }
        Ok(access)
    }

    /// What the `AgentRuntime`s of a namespace show about the mesh.
    pub(crate) fn shown_mesh(&self, namespace: &str) -> ShownMesh {
        if !self.config.surroundings.istio_mesh_labels {
            return ShownMesh::Off;
        }
        self.meshes.get(&namespace.to_owned()).map_or(ShownMesh::Unknown, ShownMesh::Found)
    }

    /// True if the configuration includes a namespace; an empty list includes all.
    pub(crate) fn watches(&self, namespace: &str) -> bool {
        let watched = &self.config.watched;
        watched.is_empty() || watched.iter().map(Namespace::as_str).any(|name| name == namespace)
    }

    /// Last evaluation of an AgentCard.
    pub(crate) fn evaluation(&self, object: &ObjectRef) -> Option<Arc<Evaluation>> {
        self.lock().get(object).cloned()
    }

    /// Stores an evaluation with the time of its next check, and returns the previous one.
    pub(crate) fn store(&self, object: &ObjectRef, evaluation: Evaluation) -> Option<Arc<Evaluation>> {
        let proof = evaluation.result.outcome.as_ref().ok();
        let check = proof.map(|proof| next_check(self.freshness(proof), proof, witness(&evaluation), now()));
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

    /// Freshness rule for a proof, of the trust domain of its signer.
    pub(crate) fn freshness(&self, proof: &Proof) -> Freshness {
        self.policies.of(proof.spiffe_id.trust_domain()).policy.freshness
    }

    /// Replaces `before` by `now`; false, without effect, if the card was evaluated meanwhile.
    pub(crate) fn replace(&self, object: &ObjectRef, before: &Evaluation, now: Evaluation) -> bool {
        self.lock().replace(object, before, now)
    }

    /// Records that status shows an evaluation.
    pub(crate) fn status_shown(&self, object: &ObjectRef, evaluation: &Evaluation) {
        let mut evaluations = self.lock();
        // The held evaluation may have lost its content since, so the outcome is compared, not the whole.
        if let Some(held) = evaluations.get(object).map(|held| held.as_ref().clone())
            && held.card == evaluation.card
        {
            evaluations.replace(object, &held, held.clone().status_shown(true));
        }
    }

    /// Waits until status shows the content of a card, for 5 s at most: received content must not pile up faster than
    /// it is written, and a status that cannot be written must not keep other cards from being evaluated.
    pub(crate) async fn wait_until_shown(&self, object: &ObjectRef) {
        let shown = async {
            loop {
                let status_written = self.status_written.notified();
                let held = self.evaluation(object);
                let content = held.as_ref().and_then(|held| held.result.content.as_ref());
                if content.is_none_or(|content| content.data.is_none()) {
                    return;
                }
                status_written.await;
            }
        };
        // A timeout only ends the wait.
        drop(timeout(SHOWN, shown).await);
    }

    /// Removes the evaluation of an AgentCard and returns it.
    pub(crate) fn forget(&self, object: &ObjectRef) -> Option<Arc<Evaluation>> {
        self.lock().remove(object)
    }

    /// AgentCards whose proof may have ended by `now`.
    pub(crate) fn ending(&self, now: Timestamp) -> Vec<ObjectRef> {
        self.lock().ending(now)
    }

    /// Earliest time at which a proof may end.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.lock().next_check()
    }

    /// Schedules the next check of a proof at `check`, unless the card was evaluated meanwhile.
    pub(crate) fn postpone(&self, object: &ObjectRef, evaluation: &Evaluation, check: Timestamp) {
        self.lock().postpone(object, evaluation, check);
    }

    /// Evaluations of all AgentCards.
    pub(crate) fn evaluated(&self) -> Vec<(ObjectRef, Arc<Evaluation>)> {
        self.lock().iter().map(|(object, evaluation)| (object.clone(), Arc::clone(evaluation))).collect()
    }

    /// Ok if a bundle of the operator's own trust domain is valid now.
    pub(crate) fn own_bundle(&self) -> Result<(), Refusal> {
        let domain = self.config.identity.trust_domain.as_ref().ok_or_else(|| {
            Refusal::new(Reason::TrustDomainUnknown, "the operator has no --spire-trust-domain")
        })?;
        self.bundles.get(domain, now()).map(drop)
    }

    /// Updates the gauges of cards by outcome and of the bundle's age.
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
