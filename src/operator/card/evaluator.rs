//! Evaluation of received cards under the terms of one AgentCard. Hosts of other Services and of Ingresses are looked up
//! once for all replicas, and only if a card names one.

use super::observe::{self, ReachableAgent};
use super::pages::Unread;
use super::receive;
use super::unusable::Unusable;
use crate::context::Context;
use crate::index::{IndexedCard, ObjectRef, Workload, WorkloadRef};
use countersign_core::encoding::sha256;
use countersign_core::history::History;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_io::clock::{instant, now};
use countersign_plan::Mode;
use countersign_plan::agent_card::card_evaluation::{
    Basis, CardEvaluation, ReplicaEvaluation, is_unreachable,
};
use countersign_plan::agent_card::evaluate::{Received, Terms, Verification, as_served, evaluate};
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::input::identity::Expected;
use countersign_plan::input::service::{HostsOfServices, service_names};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Lookups of one evaluation, made once for all replicas and only if a card needs them.
#[derive(Default)]
pub(super) struct Lookups {
    /// Other Services that lead to the workload.
    services: OnceCell<Result<HostsOfServices, Unread>>,
    /// Hosts of Ingresses that lead to the workload.
    ingresses: OnceCell<Result<BTreeSet<String>, Unread>>,
    /// First lookup that failed for a cause that passes by itself.
    failed: OnceCell<Unusable>,
}

impl Lookups {
    /// Failed lookup that keeps an evaluation from being known. A card that is refused for what it is stays refused.
    pub(super) fn hides(&self, evaluation: &Evaluation) -> Option<Unusable> {
        let is_open = evaluation.result.reason().is_none_or(is_unreachable);
        self.failed.get().filter(|_| is_open).cloned()
    }
}

/// Kind of objects whose hosts may belong to a workload, in the order in which they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostsOf {
    Services,
    Ingresses,
}

/// Terms under which all cards of one AgentCard are evaluated.
#[derive(Clone, Copy)]
pub(super) struct EvaluateCard<'a> {
    pub(super) context: &'a Context,
    pub(super) card: &'a IndexedCard,
    pub(super) key: &'a WorkloadRef,
    pub(super) workload: &'a Workload,
    pub(super) expected: &'a Expected,
    pub(super) history: Option<&'a History>,
    pub(super) lookups: &'a Lookups,
}

impl EvaluateCard<'_> {
    pub(super) fn refused(&self, refusal: Refusal) -> CardEvaluation {
        CardEvaluation::refused(&self.card.reference, refusal)
    }

    /// Last evaluation of a replica, if bytes and terms are unchanged.
    pub(super) fn repeated(&self, before: &ReplicaEvaluation, received: &Received) -> Option<CardEvaluation> {
        let at = now();
        let (last, domain) = (&before.evaluation, &self.expected.trust_domain);
        let basis = last.basis.as_deref()?;
        let proof = last.result.outcome.as_ref().ok()?;
        let bundle = self.context.bundles.get(domain, at).ok()?;
        let rules = self.context.policies.of(domain);
        let own = own_hosts(self.key);
        let terms = basis.terms(&own, &bundle, (&rules.policy, Some(rules.digest)), self.expected, at);
        let same = basis.has_own_hosts()
            && last.bytes == Some(sha256(&received.bytes))
            && terms.fingerprint(&received.source) == basis.terms
            && self.card.uid == basis.card_uid;
        // Content that status shows was dropped from the evaluation.
        let holds = same && at < proof.valid_until && self.card.shows(last.result.card_id().as_deref());
        holds.then(|| CardEvaluation { received: Some(Arc::new(received.clone())), ..last.clone() })
    }

    /// Evaluation of a served card, or of the card in the ConfigMap if the served one is unsigned.
    pub(super) async fn served(
        &self,
        reachable: &ReachableAgent,
        received: Received,
        delivered: &mut Option<Result<Option<Received>, Unusable>>,
    ) -> CardEvaluation {
        let hosts = reachable.service.hosts.clone();
        let evaluation = self.received(received.clone(), hosts.clone()).await;
        if evaluation.result.reason() != Some(Reason::CardUnsigned) {
            return evaluation;
        }
        if delivered.is_none() {
            *delivered = Some(receive::read_delivered(self.context, reachable).await);
        }
        match delivered {
            Some(Ok(Some(delivered))) => self.delivered(delivered.clone(), &received, hosts).await,
            Some(Err(unusable)) => self.unusable(unusable.clone()),
            Some(Ok(None)) | None => evaluation,
        }
    }

    /// Evaluation of received bytes. While an endpoint is not a host name of the Service, other Services of the workload are
    /// read, then Ingresses, and the card is evaluated once more with each host that they add.
    pub(super) async fn received(&self, received: Received, mut hosts: BTreeSet<String>) -> CardEvaluation {
        let mut ingress_hosts = BTreeSet::new();
        let mut evaluation = self.evaluated(&received, &hosts, &ingress_hosts);
        for kind in [HostsOf::Services, HostsOf::Ingresses] {
            if evaluation.result.reason() != Some(Reason::EndpointNotOwned) {
                break;
            }
            let found = match self.look_up(kind).await {
                Ok(found) => found,
                Err(unread) => return self.without_hosts(evaluation, kind, &unread),
            };
            let known = if kind == HostsOf::Services { &mut hosts } else { &mut ingress_hosts };
            let before = known.len();
            known.extend(found);
            if known.len() > before {
                evaluation = self.evaluated(&received, &hosts, &ingress_hosts);
            }
        }
        evaluation
    }

    /// Hosts of other Services or of Ingresses of the workload.
    async fn look_up(&self, kind: HostsOf) -> Result<BTreeSet<String>, Unread> {
        let Self { context, key, workload, lookups, .. } = *self;
        let services = lookups.services.get_or_init(|| observe::other_services(context, key, workload)).await;
        let services = services.as_ref().map_err(Clone::clone)?;
        if kind == HostsOf::Services {
            return Ok(services.hosts());
        }
        let namespace = key.object.namespace.as_str();
        lookups.ingresses.get_or_init(|| observe::ingress_hosts(context, namespace, services)).await.clone()
    }

    /// Evaluation of a card with an endpoint of an unknown host, because not all hosts of the workload could be read.
    fn without_hosts(&self, evaluation: CardEvaluation, kind: HostsOf, unread: &Unread) -> CardEvaluation {
        let ObjectRef { namespace, name } = &self.key.object;
        let found = format!("the {kind:?} of {} {}", Quoted(namespace), unread.problem);
        // An agent that names its own Service alone never comes here.
        let evaluation = evaluation.saying(&self.card.reference, |refused| {
            format!("{refused}, and {found}; endpoints of the Service {} need no list", Quoted(name))
        });
        match (unread.settles, &evaluation.result.outcome) {
            (Some(settles), Err(refused)) => {
                let refusal = Refusal::new(Reason::FetchFailed, refused.refusal.message());
                self.unusable(Unusable { refusal, settles: Some(settles) })
            }
            _ => evaluation,
        }
    }

    /// Evaluation without a card, for a cause that may pass by itself.
    fn unusable(&self, unusable: Unusable) -> CardEvaluation {
        let refusal = unusable.refusal.clone();
        if unusable.settles.is_some() {
            // One failure is enough to wait for.
            drop(self.lookups.failed.set(unusable));
        }
        self.refused(refusal)
    }

    /// Evaluation of received bytes with these hosts of the workload.
    fn evaluated(
        &self,
        received: &Received,
        hosts: &BTreeSet<String>,
        ingress_hosts: &BTreeSet<String>,
    ) -> CardEvaluation {
        let Self { context, card, key, expected, history, .. } = *self;
        let at = now();
        let bundle = match context.bundles.get(&expected.trust_domain, at) {
            Ok(bundle) => bundle,
            Err(refusal) => return self.refused(refusal),
        };
        let rules = context.policies.of(&expected.trust_domain);
        let terms = Terms {
            bundle: &bundle,
            policy: &rules.policy,
            rules: Some(rules.digest),
            expected,
            cluster_hosts: hosts,
            ingress_hosts,
            history,
            now: at,
        };
        let started = instant();
        let span = tracing::info_span!("verify", reason = tracing::field::Empty);
        let verification: Verification = span.in_scope(|| evaluate(received, terms));
        span.record("reason", verification.result.reason().map(Reason::code));
        let audit = context.mode(&key.object.namespace) == Mode::Audit;
        context.metrics.verified(verification.result.reason(), audit, started.elapsed());
        let basis = Basis::of(received, &terms, card.uid.clone(), &own_hosts(key));
        CardEvaluation::of(&card.reference, verification, received.clone(), basis)
    }

    /// Served card with the signatures of the card in the ConfigMap.
    async fn delivered(
        &self,
        delivered: Received,
        live: &Received,
        hosts: BTreeSet<String>,
    ) -> CardEvaluation {
        let rules = self.context.policies.of(&self.expected.trust_domain);
        let served = match as_served(live, &delivered, &rules.policy) {
            Ok(served) => served,
            Err(refusal) => return self.refused(refusal),
        };
        let differs = served.bytes != delivered.bytes;
        let evaluation = self.received(served, hosts).await;
        if differs && evaluation.result.reason() == Some(Reason::SignatureInvalid) {
            let found = "the workload serves another card than the ConfigMap holds a signature for";
            return self.refused(Refusal::new(Reason::SignatureInvalid, found));
        }
        // The replica serves other bytes than were evaluated, so the next evaluation verifies again.
        CardEvaluation { bytes: None, ..evaluation }
    }
}

/// DNS names of the Service that has the name of the workload.
pub(super) fn own_hosts(key: &WorkloadRef) -> BTreeSet<String> {
    service_names(&key.object.name, &key.object.namespace)
}
