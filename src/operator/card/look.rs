//! What one replica served, and what follows from all of them together.
//! One bad card refuses the workload; a replica that gives none decides nothing while another one gives a good one.

use super::finding::Finding;
use super::judge::{Judged, Received};
use super::judgement::{Basis, Judgement, is_unreachable};
use super::replicas::{Replica, Replicas};
use crate::core::encoding::{Digest, sha256};
use crate::core::history::Seen;
use crate::core::refusal::Refusal;
use crate::core::spiffe::SpiffeId;
use crate::core::text::Quoted;
use crate::core::time::Timestamp;
use crate::core::verdict::Verdict;
use crate::operator::key::WorkloadKey;
use crate::plan::{CardRef, JudgedCard};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// One card, judged.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// The identity that the verdict is about, if one was expected.
    pub(crate) spiffe_id: Option<SpiffeId>,
    /// For the planner.
    pub(crate) judged: JudgedCard,
    /// For people.
    pub(crate) finding: Arc<Finding>,
    /// SHA-256 of the bytes that were served.
    pub(crate) bytes: Option<Digest>,
    /// The card that was judged.
    pub(crate) received: Option<Arc<Received>>,
    /// What it was judged against.
    pub(crate) basis: Option<Arc<Basis>>,
}

impl Look {
    /// A refusal from before there was a card.
    pub(crate) fn refused(reference: &CardRef, refusal: Refusal) -> Self {
        Self {
            spiffe_id: None,
            judged: JudgedCard::new(reference.clone(), &Verdict::refused(refusal.clone())),
            finding: Arc::new(Finding::without_card(refusal)),
            bytes: None,
            received: None,
            basis: None,
        }
    }

    /// A received card that was judged.
    pub(crate) fn of(reference: &CardRef, judged: Judged, received: Received, basis: Basis) -> Self {
        Self {
            spiffe_id: Some(judged.spiffe_id),
            judged: JudgedCard::new(reference.clone(), &judged.verdict),
            finding: Arc::new(judged.finding),
            bytes: Some(sha256(&received.bytes)),
            received: Some(Arc::new(received)),
            basis: Some(Arc::new(basis)),
        }
    }

    /// The same refusal with the name of the replica in its sentence.
    fn named(self, reference: &CardRef, name: &str) -> Self {
        let mut finding = (*self.finding).clone();
        let Err(refused) = &mut finding.outcome else { return self };
        let found = format!("replica {}: {}", Quoted(name), refused.refusal.message());
        refused.refusal = Refusal::new(refused.refusal.reason(), found);
        let judged = JudgedCard::new(reference.clone(), &Verdict::refused(refused.refusal.clone()));
        Self { judged, finding: Arc::new(finding), ..self }
    }
}

/// What one replica served.
#[derive(Clone, Debug)]
pub(crate) struct ReplicaLook {
    /// The replica.
    pub(crate) replica: Replica,
    /// When it was asked.
    pub(crate) at: Instant,
    /// What was found; without the card itself but for the one that stands for all.
    pub(crate) look: Look,
}

impl ReplicaLook {
    fn is_good(&self) -> bool {
        self.look.finding.outcome.is_ok()
    }

    fn is_unreachable(&self) -> bool {
        self.look.finding.reason().is_some_and(is_unreachable)
    }
}

/// Which replicas to ask now, at most `limit`: those that were not asked yet, then those that served a bad card, then
/// those that were asked longest ago.
pub(crate) fn choose<'r>(replicas: &'r Replicas, last: &[ReplicaLook], limit: usize) -> Vec<&'r Replica> {
    let last: BTreeMap<&str, &ReplicaLook> =
        last.iter().map(|look| (look.replica.uid.as_str(), look)).collect();
    let mut all: Vec<&Replica> = replicas.ready.iter().collect();
    all.sort_by_key(|replica| {
        last.get(replica.uid.as_str()).map(|look| (look.is_good() || look.is_unreachable(), look.at))
    });
    all.truncate(limit);
    all
}

/// One judgement of all replicas: of those that were asked now, and of those whose last look still holds.
pub(crate) fn merge(
    reference: &CardRef,
    workload: &WorkloadKey,
    replicas: &Replicas,
    asked: Vec<ReplicaLook>,
    last: &[ReplicaLook],
    now: Timestamp,
) -> Option<Judgement> {
    let ready: BTreeSet<&str> = replicas.ready.iter().map(|replica| replica.uid.as_str()).collect();
    let asked_now: BTreeSet<String> = asked.iter().map(|look| look.replica.uid.clone()).collect();
    let holds = |look: &&ReplicaLook| {
        let proof = look.look.finding.outcome.as_ref();
        let has_ended = proof.is_ok_and(|proof| proof.valid_until <= now);
        let uid = look.replica.uid.as_str();
        ready.contains(uid) && !asked_now.contains(uid) && !has_ended
    };
    let mut all: Vec<ReplicaLook> = last.iter().filter(holds).cloned().collect();
    all.extend(asked);
    all.sort_by(|a, b| a.replica.name.cmp(&b.replica.name));
    let is_bad = |look: &&ReplicaLook| !look.is_good() && !look.is_unreachable();
    let lead = all.iter().find(is_bad).or_else(|| all.iter().find(|look| look.is_good()));
    let lead = lead.or(all.first())?;
    let is_alone = replicas.ready.len() <= 1;
    let mut look = lead.look.clone();
    if !is_alone {
        look = look.named(reference, &lead.replica.name);
    }
    let (lead, is_verified) = (lead.replica.uid.clone(), lead.is_good());
    let accepted: BTreeSet<&str> =
        all.iter().filter(|look| look.is_good()).map(|look| look.replica.uid.as_str()).collect();
    let has_seen_all = replicas.all.iter().all(|uid| accepted.contains(uid.as_str()));
    let seen = if is_verified && has_seen_all { Seen::Everything } else { Seen::Part };
    if is_verified {
        look.finding = Arc::new(joined(&look.finding, &all));
    }
    for other in all.iter_mut().filter(|other| other.replica.uid != lead) {
        other.look.received = None;
        if other.look.finding.content.as_ref().is_some_and(|content| content.data.is_some()) {
            other.look.finding = Arc::new(other.look.finding.slimmed());
        }
    }
    Some(Judgement::of(Some(workload.clone()), look).with_replicas(all, seen))
}

/// A proof for all replicas ends with the first of theirs.
fn joined(lead: &Finding, all: &[ReplicaLook]) -> Finding {
    let mut finding = lead.clone();
    let proofs = || all.iter().filter_map(|look| look.look.finding.outcome.as_ref().ok());
    if let Ok(proof) = &mut finding.outcome {
        for other in proofs() {
            proof.valid_until = proof.valid_until.min(other.valid_until);
            proof.not_after = proof.not_after.min(other.not_after);
        }
    }
    let unreachable = all.iter().filter_map(|look| {
        let reason = look.look.finding.reason()?;
        Some(format!("replica {}: {}", Quoted(&look.replica.name), reason.code()))
    });
    finding.unreachable = unreachable.collect();
    finding
}
