//! Last evaluation of a card in memory: for planning, for status, and for evaluating again.
//! The received bytes are kept, within a limit, so that a change of authorities takes effect without a fetch.

use super::card_evaluation::{Basis, CardEvaluation, ReplicaEvaluation, is_unreachable};
use super::evaluate::Received;
use super::result::VerificationResult;
use super::settles::Settles;
use crate::input::workload::WorkloadRef;
use crate::input::{CardOutcome, CardRef};
use countersign_core::history::{Accepted, History, Seen};
use countersign_core::policy::Freshness;
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Evaluation of an AgentCard over all replicas of its workload.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Evaluated workload; `None` if it was not found.
    pub workload: Option<WorkloadRef>,
    /// SPIFFE ID that the verdict is about; `None` if no signer could be expected.
    pub spiffe_id: Option<SpiffeId>,
    /// Outcome for the planner.
    pub card: CardOutcome,
    /// Presentation of the verdict, for status.
    pub result: Arc<VerificationResult>,
    /// Evaluations of single replicas, ordered by Pod name.
    pub replicas: Vec<ReplicaEvaluation>,
    /// Coverage of the workload's Pods by `replicas`: all Pods, or a part.
    pub seen: Seen,
    /// History of accepted cards after the evaluation; `None` where the evaluation did not come so far.
    pub history: Option<Arc<History>>,
    /// Time since which every fetch has failed.
    pub failing: Option<Instant>,
    /// Times since which causes that pass by themselves keep the agent from being evaluated, while there are any.
    pub pending: BTreeMap<Settles, Instant>,
    /// What the API server did not say, if it was that the last time.
    pub unread: Option<Refusal>,
    /// Generation of the evaluated AgentCard.
    pub generation: i64,
    /// True if the evaluation used kept bytes and status does not show the outcome yet.
    pub is_unshown: bool,
    received: Option<Arc<Received>>,
    basis: Option<Arc<Basis>>,
}

impl Evaluation {
    /// Evaluation that was refused before a card was received.
    pub fn refused(reference: &CardRef, workload: Option<WorkloadRef>, refusal: Refusal) -> Self {
        Self::of(workload, CardEvaluation::refused(reference, refusal))
    }

    /// Evaluation of an AgentCard from one card, without replicas and history.
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
            pending: BTreeMap::new(),
            unread: None,
            generation: 0,
            is_unshown: false,
            received,
            basis,
        }
    }

    /// Evaluation that follows `last`: carries on the time since which fetches fail.
    #[must_use]
    pub fn after(mut self, last: Option<&Self>, now: Instant) -> Self {
        if self.result.reason().is_some_and(is_unreachable) {
            self.failing = last.and_then(|last| last.failing).or(Some(now));
        }
        self
    }

    /// Evaluation with those of single replicas.
    #[must_use]
    pub fn with_replicas(self, replicas: Vec<ReplicaEvaluation>, seen: Seen) -> Self {
        Self { replicas, seen, ..self }
    }

    /// Evaluation once more, while such a cause lasts, which was found at `now` if not before; `cause` says what it is.
    #[must_use]
    pub fn pending_since(mut self, settles: Settles, now: Instant, cause: Refusal) -> Self {
        self.pending.entry(settles).or_insert(now);
        // Only the API server is to blame for the other ones: the text is told with what to do about it.
        Self { unread: Some(cause).filter(|_| settles == Settles::Later), ..self }
    }

    /// Evaluation that leaves the history unchanged.
    #[must_use]
    pub fn with_history(self, history: Option<History>) -> Self {
        Self { history: history.map(Arc::new), ..self }
    }

    /// Evaluation with the history after it. A refusal adds nothing to the history, so that a bad card cannot displace
    /// an accepted one.
    #[must_use]
    pub fn remembering(mut self, before: Option<&History>, freshness: Freshness, at: Timestamp) -> Self {
        let accepted: Vec<Accepted> = match &self.result.outcome {
            Ok(_) => {
                let proofs =
                    self.replicas.iter().filter_map(|served| served.evaluation.result.outcome.as_ref().ok());
                proofs.map(|proof| proof.accepted).collect()
            }
            Err(_) => Vec::new(),
        };
        self.history = History::after(before, &accepted, self.seen, freshness, at).map(Arc::new);
        self
    }

    /// Evaluation of an AgentCard of this generation.
    #[must_use]
    pub fn at(self, generation: i64) -> Self {
        Self { generation, ..self }
    }

    /// Evaluation that status shows, or does not show yet.
    #[must_use]
    pub fn status_shown(self, is_shown: bool) -> Self {
        Self { is_unshown: !is_shown, ..self }
    }

    /// Evaluation without the card content, once status has the content; `None` if already left out.
    pub fn slimmed(&self) -> Option<Self> {
        self.result.content.as_ref().filter(|content| content.data.is_some())?;
        let mut slim = Self { result: Arc::new(self.result.slimmed()), ..self.clone() };
        for replica in &mut slim.replicas {
            if replica.evaluation.result == slim.result {
                replica.evaluation.result = Arc::clone(&slim.result);
            }
        }
        Some(slim)
    }

    /// Kept card and terms; `None` if either was dropped.
    pub fn kept(&self) -> Option<(Arc<Received>, Arc<Basis>)> {
        Some((self.received.clone()?, self.basis.clone()?))
    }

    /// Received bytes, if kept.
    pub fn body(&self) -> Option<&[u8]> {
        self.received.as_deref().map(|received| received.bytes.as_slice())
    }

    /// Evaluation without the received bytes, to free memory.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.received = None;
        self
    }
}
