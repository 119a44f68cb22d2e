//! The last judgement of a card, as the process remembers it: for planning, for status, and for judging again.
//! The received bytes are kept, within a limit, so that a change of the authorities needs no agent to answer.

use super::finding::{Content, Finding};
use super::judge::{Expected, Judged, Received, Terms};
use crate::core::bundle::Bundle;
use crate::core::encoding::{Digest, sha256};
use crate::core::policy::Policy;
use crate::core::refusal::{Reason, Refusal};
use crate::core::spiffe::SpiffeId;
use crate::core::time::Timestamp;
use crate::core::verdict::Verdict;
use crate::io::clock::instant;
use crate::operator::key::WorkloadKey;
use crate::plan::{CardRef, JudgedCard};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Everything besides time that a judgement stands on.
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
pub(crate) struct Judgement {
    /// The workload, if it was found.
    pub(crate) workload: Option<WorkloadKey>,
    /// The identity that the verdict is about, if one was expected.
    pub(crate) spiffe_id: Option<SpiffeId>,
    /// For the planner.
    pub(crate) judged: JudgedCard,
    /// For people.
    pub(crate) finding: Arc<Finding>,
    /// Since when its card cannot be fetched, without a success in between.
    pub(crate) failing: Option<Instant>,
    /// True if it was made from the bytes at hand, and status does not say it yet.
    pub(crate) is_unsaid: bool,
    received: Option<Arc<(Received, Basis)>>,
}

impl Judgement {
    /// A refusal from before there was a card.
    pub(crate) fn refused(reference: &CardRef, workload: Option<WorkloadKey>, refusal: Refusal) -> Self {
        let judged = JudgedCard::new(reference.clone(), &Verdict::refused(refusal.clone()));
        let finding = Arc::new(Finding::without_card(refusal));
        Self { workload, spiffe_id: None, judged, finding, failing: None, is_unsaid: false, received: None }
    }

    /// The judgement of a received card.
    pub(crate) fn of(
        reference: &CardRef,
        workload: WorkloadKey,
        judged: Judged,
        received: Received,
        basis: Basis,
    ) -> Self {
        Self {
            workload: Some(workload),
            spiffe_id: Some(judged.spiffe_id),
            judged: JudgedCard::new(reference.clone(), &judged.verdict),
            finding: Arc::new(judged.finding),
            failing: None,
            is_unsaid: false,
            received: Some(Arc::new((received, basis))),
        }
    }

    /// This judgement as the one that follows `last`.
    pub(crate) fn after(mut self, last: Option<&Self>) -> Self {
        let fetches = [Reason::FetchFailed, Reason::FetchTimeout, Reason::FetchStatus];
        if self.finding.reason().is_some_and(|reason| fetches.contains(&reason)) {
            self.failing = last.and_then(|last| last.failing).or_else(|| Some(instant()));
        }
        self
    }

    /// The same, said in status or not yet.
    pub(crate) fn said(self, is_said: bool) -> Self {
        Self { is_unsaid: !is_said, ..self }
    }

    /// Without what status needs of the card, once status has it; `None` if that is left out already.
    pub(crate) fn slimmed(&self) -> Option<Self> {
        let content = self.finding.content.as_ref().filter(|content| content.data.is_some())?;
        let content = Some(Content { digest: content.digest, data: None });
        let finding = Arc::new(Finding { content, outcome: self.finding.outcome.clone() });
        Some(Self { finding, ..self.clone() })
    }

    /// This judgement and what it stands on, if it is about exactly these bytes.
    pub(crate) fn basis_for(&self, bytes: &[u8]) -> Option<(&Self, &Basis)> {
        let (received, basis) = self.received.as_deref()?;
        let digest = self.finding.content.as_ref()?.digest;
        (received.bytes == bytes || digest == sha256(bytes)).then_some((self, basis))
    }

    /// The received card, and what its judgement stood on.
    pub(crate) fn kept(&self) -> Option<(Received, Basis)> {
        self.received.as_deref().cloned()
    }

    /// The received bytes.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.received.as_deref().map(|(received, _)| received.bytes.as_slice())
    }

    /// Without the received bytes.
    pub(crate) fn without_body(mut self) -> Self {
        self.received = None;
        self
    }
}

#[cfg(test)]
impl Judgement {
    /// A refused card of so many bytes, kept.
    pub(crate) fn with_body(bytes: usize) -> Self {
        let id = SpiffeId::parse("spiffe://rig.example/ns/team/sa/weather").unwrap();
        let scope = crate::operator::flags::BindingScope::Workload;
        let expected = Expected { trust_domain: id.trust_domain().clone(), spiffe_id: id, scope };
        let (hosts, ingress_hosts) = (BTreeSet::new(), BTreeSet::new());
        let (terms, card_uid) = (sha256(b"terms"), "uid".to_owned());
        let basis = Basis { terms, card_uid, hosts, ingress_hosts, expected };
        let reference = CardRef::new("weather-card", None).unwrap();
        let refused = Self::refused(&reference, None, Refusal::new(Reason::CardUnsigned, "no signature"));
        let received = Received { bytes: vec![b' '; bytes], source: crate::core::bind::Source::File };
        Self { received: Some(Arc::new((received, basis))), ..refused }
    }
}
