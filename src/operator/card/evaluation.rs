//! The last evaluation of a card, as the process remembers it: for planning, for status, and for judging again.
//! The received bytes are kept, within a limit, so that a change of the authorities needs no agent to answer.

use super::evaluate::{Expected, Received, Terms};
use super::merge::{CardEvaluation, ReplicaEvaluation};
use super::result::VerificationResult;
use crate::key::WorkloadKey;
use countersign_core::bundle::Bundle;
use countersign_core::encoding::Digest;
use countersign_core::history::{Accepted, History, Seen};
use countersign_core::policy::{Freshness, Policy};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_io::clock::instant;
use countersign_plan::{CardOutcome, CardRef};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Everything besides time that a evaluation stands on.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    /// A digest of the terms.
    pub(crate) terms: Digest,
    /// The AgentCard that was judged, not one of the same name before or after it.
    pub(crate) card_uid: String,
    /// The names of the workload inside the cluster.
    pub(crate) hosts: BTreeSet<String>,
    /// The hosts under which it is reached from outside.
    pub(crate) ingress_hosts: BTreeSet<String>,
    /// Who should have signed.
    pub(crate) expected: Expected,
}

impl Basis {
    /// The same names under other terms. The card was accepted before, so nothing is remembered against it.
    pub(crate) fn terms<'a>(
        &'a self,
        bundle: &'a Bundle,
        (policy, rules): (&'a Policy, Option<Digest>),
        expected: &'a Expected,
        now: Timestamp,
    ) -> Terms<'a> {
        let (cluster_hosts, ingress_hosts) = (&self.hosts, &self.ingress_hosts);
        Terms { bundle, policy, rules, expected, cluster_hosts, ingress_hosts, history: None, now }
    }
}

/// What is remembered of a judged card.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// The workload, if it was found.
    pub(crate) workload: Option<WorkloadKey>,
    /// The identity that the verdict is about, if one was expected.
    pub(crate) spiffe_id: Option<SpiffeId>,
    /// For the planner.
    pub(crate) card: CardOutcome,
    /// For people.
    pub(crate) result: Arc<VerificationResult>,
    /// What each replica of the workload served, in the order of the names of their Pods.
    pub(crate) replicas: Vec<ReplicaEvaluation>,
    /// How many of the workload's Pods that is.
    pub(crate) seen: Seen,
    /// What is remembered of accepted cards since then; `None` where it was not looked at.
    pub(crate) history: Option<Arc<History>>,
    /// Since when its card cannot be fetched, without a success in between.
    pub(crate) failing: Option<Instant>,
    /// Since when it is not clear who stands behind the Service.
    pub(crate) unsettled: Option<Instant>,
    /// The generation of the AgentCard that was looked at.
    pub(crate) generation: i64,
    /// True if it was made from the bytes at hand, and status does not say it yet.
    pub(crate) is_unsaid: bool,
    received: Option<Arc<Received>>,
    basis: Option<Arc<Basis>>,
}

impl Evaluation {
    /// A refusal from before there was a card.
    pub(crate) fn refused(reference: &CardRef, workload: Option<WorkloadKey>, refusal: Refusal) -> Self {
        Self::of(workload, CardEvaluation::refused(reference, refusal))
    }

    /// The evaluation that one look stands for.
    pub(crate) fn of(workload: Option<WorkloadKey>, evaluation: CardEvaluation) -> Self {
        let CardEvaluation { spiffe_id, card, result, received, basis, bytes: _ } = evaluation;
        Self {
            workload,
            spiffe_id,
            card,
            result,
            replicas: Vec::new(),
            seen: Seen::Part,
            history: None,
            failing: None,
            unsettled: None,
            generation: 0,
            is_unsaid: false,
            received,
            basis,
        }
    }

    /// This evaluation as the one that follows `last`.
    pub(crate) fn after(mut self, last: Option<&Self>) -> Self {
        if self.result.reason().is_some_and(is_unreachable) {
            self.failing = last.and_then(|last| last.failing).or_else(|| Some(instant()));
        }
        self
    }

    /// This evaluation as one of these replicas.
    pub(crate) fn with_replicas(self, replicas: Vec<ReplicaEvaluation>, seen: Seen) -> Self {
        Self { replicas, seen, ..self }
    }

    /// This evaluation while it is not clear, since then, who stands behind the Service.
    pub(crate) fn unsettled_since(self, since: Instant) -> Self {
        Self { unsettled: Some(since), ..self }
    }

    /// This evaluation, after which the same is remembered as before.
    pub(crate) fn with_history(self, history: Option<History>) -> Self {
        Self { history: history.map(Arc::new), ..self }
    }

    /// This evaluation with what is remembered after it. A refusal changes nothing that is remembered.
    pub(crate) fn remembering(
        mut self,
        before: Option<&History>,
        freshness: Freshness,
        at: Timestamp,
    ) -> Self {
        let accepted: Vec<Accepted> = match &self.result.outcome {
            Ok(_) => {
                let proofs =
                    self.replicas.iter().filter_map(|look| look.evaluation.result.outcome.as_ref().ok());
                proofs.map(|proof| proof.accepted).collect()
            }
            Err(_) => Vec::new(),
        };
        self.history = History::after(before, &accepted, self.seen, freshness, at).map(Arc::new);
        self
    }

    /// The same about an AgentCard of this generation.
    pub(crate) fn at(self, generation: i64) -> Self {
        Self { generation, ..self }
    }

    /// The same, said in status or not yet.
    pub(crate) fn said(self, is_said: bool) -> Self {
        Self { is_unsaid: !is_said, ..self }
    }

    /// Without what status needs of the card, once status has it; `None` if that is left out already.
    pub(crate) fn slimmed(&self) -> Option<Self> {
        self.result.content.as_ref().filter(|content| content.data.is_some())?;
        Some(Self { result: Arc::new(self.result.slimmed()), ..self.clone() })
    }

    /// The card that it stands on, and what it was judged against.
    pub(crate) fn kept(&self) -> Option<(Arc<Received>, Arc<Basis>)> {
        Some((self.received.clone()?, self.basis.clone()?))
    }

    /// The received bytes.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.received.as_deref().map(|received| received.bytes.as_slice())
    }

    /// Without the received bytes.
    pub(crate) fn without_body(mut self) -> Self {
        self.received = None;
        self
    }
}

/// True for reasons that say that no card was received, and nothing about one.
pub(crate) const fn is_unreachable(reason: Reason) -> bool {
    matches!(reason, Reason::FetchFailed | Reason::FetchTimeout | Reason::FetchStatus)
}

#[cfg(test)]
impl Evaluation {
    /// A refused card of so many bytes, kept.
    pub(crate) fn with_body(bytes: usize) -> Self {
        let id = SpiffeId::parse("spiffe://rig.example/ns/team/sa/weather").unwrap();
        let scope = crate::flags::BindingScope::Workload;
        let expected = Expected { trust_domain: id.trust_domain().clone(), spiffe_id: id, scope };
        let (hosts, ingress_hosts) = (BTreeSet::new(), BTreeSet::new());
        let (terms, card_uid) = (countersign_core::encoding::sha256(b"terms"), "uid".to_owned());
        let basis = Basis { terms, card_uid, hosts, ingress_hosts, expected };
        let reference = CardRef::new("weather-card", None).unwrap();
        let refused = Self::refused(&reference, None, Refusal::new(Reason::CardUnsigned, "no signature"));
        let received = Received { bytes: vec![b' '; bytes], source: countersign_core::bind::Source::File };
        Self { received: Some(received.into()), basis: Some(basis.into()), ..refused }
    }
}
