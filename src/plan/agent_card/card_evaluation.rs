//! Evaluation of the card of one replica, and the terms that it was made under.

use super::evaluate::{Received, Terms, Verification};
use super::replica::Replica;
use super::result::VerificationResult;
use crate::input::identity::Expected;
use crate::input::{CardOutcome, CardRef};
use countersign_core::bundle::Bundle;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::policy::Policy;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verdict::Verdict;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Terms of an evaluation, kept for evaluating again; time and history are left out.
#[derive(Clone, Debug)]
pub struct Basis {
    /// Digest of the terms, see [`Terms::fingerprint`].
    pub terms: Digest,
    /// UID of the evaluated AgentCard, so that a recreated one of that name is evaluated anew.
    pub card_uid: String,
    /// DNS names of the workload inside the cluster.
    pub hosts: BTreeSet<String>,
    /// Ingress hosts that belong to the workload.
    pub ingress_hosts: BTreeSet<String>,
    /// Expected signer.
    pub expected: Expected,
}

impl Basis {
    /// Terms with the kept host names and another bundle, policy, signer and time. The history is empty, because the
    /// card was accepted before.
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

/// Evaluation of one card.
#[derive(Clone, Debug)]
pub struct CardEvaluation {
    /// SPIFFE ID that the verdict is about; `None` if no signer could be expected.
    pub spiffe_id: Option<SpiffeId>,
    /// Outcome for the planner.
    pub card: CardOutcome,
    /// Presentation of the verdict, for status.
    pub result: Arc<VerificationResult>,
    /// SHA-256 of the served bytes; `None` if the next fetch must evaluate again.
    pub bytes: Option<Digest>,
    /// Evaluated card, if kept.
    pub received: Option<Arc<Received>>,
    /// Terms of the evaluation.
    pub basis: Option<Arc<Basis>>,
}

impl CardEvaluation {
    /// Evaluation that was refused before a card was received.
    pub fn refused(reference: &CardRef, refusal: Refusal) -> Self {
        Self {
            spiffe_id: None,
            card: CardOutcome::new(reference.clone(), &Verdict::refused(refusal.clone())),
            result: Arc::new(VerificationResult::without_card(refusal)),
            bytes: None,
            received: None,
            basis: None,
        }
    }

    /// Evaluation of a received card from its verification.
    pub fn of(reference: &CardRef, verification: Verification, received: Received, basis: Basis) -> Self {
        Self {
            spiffe_id: Some(verification.spiffe_id),
            card: CardOutcome::new(reference.clone(), &verification.verdict),
            result: Arc::new(verification.result),
            bytes: Some(sha256(&received.bytes)),
            received: Some(Arc::new(received)),
            basis: Some(Arc::new(basis)),
        }
    }

    /// Evaluation whose refusal says in its message which card it is about; a verified one is unchanged.
    #[must_use]
    pub fn named(self, reference: &CardRef, which: &str) -> Self {
        self.saying(reference, |found| format!("{which}: {found}"))
    }

    /// Evaluation whose refusal has another message; a verified one is unchanged.
    #[must_use]
    pub fn saying(self, reference: &CardRef, say: impl FnOnce(&str) -> String) -> Self {
        let mut result = (*self.result).clone();
        let Err(refused) = &mut result.outcome else { return self };
        refused.refusal = Refusal::new(refused.refusal.reason(), say(refused.refusal.message()));
        let card = CardOutcome::new(reference.clone(), &Verdict::refused(refused.refusal.clone()));
        Self { card, result: Arc::new(result), ..self }
    }
}

/// Evaluation of the card of one replica.
#[derive(Clone, Debug)]
pub struct ReplicaEvaluation {
    /// Replica that was asked for its card.
    pub replica: Replica,
    /// Time of the fetch.
    pub at: Instant,
    /// Evaluation of the card, or the reason why none was received.
    pub evaluation: CardEvaluation,
}

impl ReplicaEvaluation {
    pub(super) fn is_good(&self) -> bool {
        self.evaluation.result.outcome.is_ok()
    }

    pub(super) fn is_unreachable(&self) -> bool {
        self.evaluation.result.reason().is_some_and(is_unreachable)
    }
}

/// True for reasons that mean that no card was received.
pub const fn is_unreachable(reason: Reason) -> bool {
    matches!(reason, Reason::FetchFailed | Reason::FetchTimeout | Reason::FetchStatus)
}
