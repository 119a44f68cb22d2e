//! The card of one workload and its verdict, as the operator would come to it.

use super::authority::Authorities;
use super::manifests::{AgentCard, Manifests, name};
use super::workloads::Workload;
use crate::exit::Unusable;
use crate::policy::AcceptArgs;
use crate::verify::Judge;
use countersign_core::bind::{BoundCard, Source, WorkloadFacts, bind_card};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::verdict::Verdict;
use countersign_plan::{CardOutcome, CardRef};
use k8s_openapi::api::core::v1::ConfigMap;

/// Keys of the ConfigMap that carries a card, the preferred one first.
const CARD_KEYS: [&str; 2] = ["signed-agent-card.json", "agent-card.json"];

/// What was found about a workload.
pub(super) struct Judged {
    pub(super) expected: SpiffeId,
    /// The verdict that explains the plan: the worst of its cards.
    pub(super) verdict: Verdict,
    pub(super) cards: Vec<CardOutcome>,
}

/// Judges the card of a workload for every AgentCard that points at it, or for the one that the operator would
/// make.
pub(super) fn judge(
    workload: &Workload,
    manifests: &Manifests,
    authorities: &Authorities,
    accept: &AcceptArgs,
) -> Result<Judged, Unusable> {
    // The first card's own trust domain is the workload's; a card that names another one is refused for it.
    let domain = match manifests.cards_of(workload).find_map(AgentCard::trust_domain) {
        Some(named) => TrustDomain::parse(named).map_err(Unusable::new)?,
        None => authorities.trust_domain.clone(),
    };
    let expected = workload.expected_id(&domain)?;
    let (mut worst, mut cards) = (None, Vec::new());
    let mut add = |card: Option<&AgentCard>| -> Result<(), Unusable> {
        let verdict = Verdict::of(bind(workload, card, &domain, manifests, authorities, accept)?);
        let default = workload.default_card();
        let (card_name, uid) = match card {
            Some(card) => (name(&card.metadata), card.metadata.uid.as_deref()),
            None => (default.as_str(), None),
        };
        let reference = CardRef::new(card_name, uid).map_err(|error| {
            Unusable::new(format!("AgentCard of {}: {error}; correct the manifest", workload.shown()))
        })?;
        cards.push(CardOutcome::new(reference, &verdict));
        if worst.as_ref().is_none_or(|worst: &Verdict| verdict.reason() > worst.reason()) {
            worst = Some(verdict);
        }
        Ok(())
    };
    let mut found = manifests.cards_of(workload).peekable();
    if found.peek().is_none() {
        add(None)?;
    }
    found.try_for_each(|card| add(Some(card)))?;
    let verdict =
        worst.unwrap_or_else(|| Verdict::refused(Refusal::new(Reason::CardUnsigned, "there is no card")));
    Ok(Judged { expected, verdict, cards })
}

fn bind(
    workload: &Workload,
    card: Option<&AgentCard>,
    default: &TrustDomain,
    manifests: &Manifests,
    authorities: &Authorities,
    accept: &AcceptArgs,
) -> Result<Result<BoundCard, Refusal>, Unusable> {
    let domain = match card.and_then(AgentCard::trust_domain) {
        Some(named) => TrustDomain::parse(named).map_err(Unusable::new)?,
        None => default.clone(),
    };
    let facts = WorkloadFacts {
        expected_id: workload.expected_id(&domain)?,
        cluster_hosts: workload.cluster_hosts(manifests),
        ingress_hosts: workload.ingress_hosts(manifests),
        source: Source::File,
    };
    let bundle = match authorities.bundles.get(&domain) {
        Ok(bundle) => bundle,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let judge = Judge {
        bundle,
        policy: accept.policy(domain),
        expected: Some(&facts.expected_id),
        history: None,
        now: accept.time.at(),
    };
    Ok(bind_delivered(workload, manifests, &judge, &facts))
}

fn bind_delivered(
    workload: &Workload,
    manifests: &Manifests,
    judge: &Judge<'_>,
    facts: &WorkloadFacts,
) -> Result<BoundCard, Refusal> {
    let wanted = format!("{}-card-signed", workload.name);
    let map = manifests.config_map(Some(&workload.namespace), &wanted);
    let Some(map) = map else {
        let found =
            format!("there is no ConfigMap {wanted} among the manifests, and agents are not asked offline");
        return Err(Refusal::new(Reason::FetchFailed, found));
    };
    let data = map.data.as_ref();
    let Some(text) = CARD_KEYS.iter().find_map(|key| data?.get(*key)) else {
        let found = format!("the ConfigMap {wanted} has none of the keys {}", CARD_KEYS.join(", "));
        return Err(Refusal::new(Reason::FetchFailed, found));
    };
    let signed = judge.verify(text.clone().into_bytes()).map_err(|rejection| rejection.refusal)?;
    let facts = WorkloadFacts { source: source(map, workload), ..facts.clone() };
    bind_card(signed, &facts, None)
}

/// A manifest without owners is what its author gave us; one with owners says whose it is (rule 52).
fn source(map: &ConfigMap, workload: &Workload) -> Source {
    let owners = map.metadata.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() {
        return Source::File;
    }
    Source::ConfigMap {
        name: name(&map.metadata).to_owned(),
        expected_name: format!("{}-card-signed", workload.name),
        owned: owners.iter().any(|owner| owner.kind == workload.kind && owner.name == workload.name),
    }
}
