//! The last evaluation of a card, as the process remembers it: for planning, for status, and for judging again.
//! The received bytes are kept, within a limit, so that a change of the authorities needs no agent to answer.

use super::evaluate::{Received, Terms};
use super::merge::{CardEvaluation, ReplicaEvaluation};
use super::result::VerificationResult;
use crate::input::identity::Expected;
use crate::input::workload::WorkloadRef;
use crate::input::{CardOutcome, CardRef};
use countersign_core::bundle::Bundle;
use countersign_core::encoding::Digest;
use countersign_core::history::{Accepted, History, Seen};
use countersign_core::policy::{Freshness, Policy};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Everything besides time that a evaluation stands on.
#[derive(Clone, Debug)]
pub struct Basis {
    /// A digest of the terms.
    pub terms: Digest,
    /// The AgentCard that was judged, not one of the same name before or after it.
    pub card_uid: String,
    /// The names of the workload inside the cluster.
    pub hosts: BTreeSet<String>,
    /// The hosts under which it is reached from outside.
    pub ingress_hosts: BTreeSet<String>,
    /// Who should have signed.
    pub expected: Expected,
}

impl Basis {
    /// The same names under other terms. The card was accepted before, so nothing is remembered against it.
    pub fn terms<'a>(
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
pub struct Evaluation {
    /// The workload, if it was found.
    pub workload: Option<WorkloadRef>,
    /// The identity that the verdict is about, if one was expected.
    pub spiffe_id: Option<SpiffeId>,
    /// For the planner.
    pub card: CardOutcome,
    /// For people.
    pub result: Arc<VerificationResult>,
    /// What each replica of the workload served, in the order of the names of their Pods.
    pub replicas: Vec<ReplicaEvaluation>,
    /// How many of the workload's Pods that is.
    pub seen: Seen,
    /// What is remembered of accepted cards since then; `None` where it was not looked at.
    pub history: Option<Arc<History>>,
    /// Since when its card cannot be fetched, without a success in between.
    pub failing: Option<Instant>,
    /// Since when it is not clear who stands behind the Service.
    pub unsettled: Option<Instant>,
    /// The generation of the AgentCard that was looked at.
    pub generation: i64,
    /// True if it was made from the bytes at hand, and status does not say it yet.
    pub is_unsaid: bool,
    received: Option<Arc<Received>>,
    basis: Option<Arc<Basis>>,
}

impl Evaluation {
    /// A refusal from before there was a card.
    pub fn refused(reference: &CardRef, workload: Option<WorkloadRef>, refusal: Refusal) -> Self {
        Self::of(workload, CardEvaluation::refused(reference, refusal))
    }

    /// The evaluation that one look stands for.
    pub fn of(workload: Option<WorkloadRef>, evaluation: CardEvaluation) -> Self {
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
    #[must_use]
    pub fn after(mut self, last: Option<&Self>, now: Instant) -> Self {
        if self.result.reason().is_some_and(is_unreachable) {
            self.failing = last.and_then(|last| last.failing).or(Some(now));
        }
        self
    }

    /// This evaluation as one of these replicas.
    #[must_use]
    pub fn with_replicas(self, replicas: Vec<ReplicaEvaluation>, seen: Seen) -> Self {
        Self { replicas, seen, ..self }
    }

    /// This evaluation while it is not clear, since then, who stands behind the Service.
    #[must_use]
    pub fn unsettled_since(self, since: Instant) -> Self {
        Self { unsettled: Some(since), ..self }
    }

    /// This evaluation, after which the same is remembered as before.
    #[must_use]
    pub fn with_history(self, history: Option<History>) -> Self {
        Self { history: history.map(Arc::new), ..self }
    }

    /// This evaluation with what is remembered after it. A refusal changes nothing that is remembered.
    #[must_use]
    pub fn remembering(mut self, before: Option<&History>, freshness: Freshness, at: Timestamp) -> Self {
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
    #[must_use]
    pub fn at(self, generation: i64) -> Self {
        Self { generation, ..self }
    }

    /// The same, said in status or not yet.
    #[must_use]
    pub fn said(self, is_said: bool) -> Self {
        Self { is_unsaid: !is_said, ..self }
    }

    /// Without what status needs of the card, once status has it; `None` if that is left out already.
    pub fn slimmed(&self) -> Option<Self> {
        self.result.content.as_ref().filter(|content| content.data.is_some())?;
        Some(Self { result: Arc::new(self.result.slimmed()), ..self.clone() })
    }

    /// The card that it stands on, and what it was judged against.
    pub fn kept(&self) -> Option<(Arc<Received>, Arc<Basis>)> {
        Some((self.received.clone()?, self.basis.clone()?))
    }

    /// The received bytes.
    pub fn body(&self) -> Option<&[u8]> {
        self.received.as_deref().map(|received| received.bytes.as_slice())
    }

    /// Without the received bytes.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.received = None;
        self
    }
}

/// True for reasons that say that no card was received, and nothing about one.
pub const fn is_unreachable(reason: Reason) -> bool {
    matches!(reason, Reason::FetchFailed | Reason::FetchTimeout | Reason::FetchStatus)
}
