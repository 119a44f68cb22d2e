//! The card of one workload and its verdict, as the operator would come to it.

use super::authority::Authorities;
use super::manifests::{CardManifest, Manifests};
use super::metadata::{name, shown_name};
use super::workloads::ManifestWorkload;
use crate::exit::Unusable;
use crate::policy::AcceptArgs;
use crate::verify::CardVerifier;
use countersign_core::bind::{BoundCard, Source, WorkloadFacts, bind_card};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::TrustDomain;
use countersign_core::verdict::Verdict;
use countersign_plan::input::delivered::{KEYS, card_text, config_map_name};
use countersign_plan::input::identity::{Binding, Expected};
use countersign_plan::input::service::Hosts;
use countersign_plan::{CardOutcome, CardRef};
use k8s_openapi::api::core::v1::ConfigMap;

/// Evaluation of a workload: its expected signer, the worst verdict of its cards, and the outcome of each card.
pub(super) struct Evaluated {
    pub(super) expected: Expected,
    /// The verdict that explains the plan: the worst of its cards.
    pub(super) verdict: Verdict,
    pub(super) cards: Vec<CardOutcome>,
}

/// Evaluates the card of a workload for every AgentCard that points at it, or for the one that the operator would
/// make.
pub(super) fn evaluate(
    workload: &ManifestWorkload,
    manifests: &Manifests,
    authorities: &Authorities,
    accept: &AcceptArgs,
) -> Result<Evaluated, Unusable> {
    // The first card's own trust domain is the workload's; a card that names another one is refused for it.
    let first = manifests.cards_of(workload).next();
    let named = first.and_then(CardManifest::trust_domain);
    let own = Binding { trust_domain: named, ..Binding::default() };
    if let Some(named) = named {
        TrustDomain::parse(named).map_err(Unusable::new)?;
    }
    let expected = workload.expected(&authorities.identity, own);
    let expected = expected.map_err(|refusal| workload.unusable(refusal.message()))?;
    let (mut worst, mut cards) = (None, Vec::new());
    let mut add = |card: Option<&CardManifest>| -> Result<(), Unusable> {
        let verdict = Verdict::of(bind(workload, card, named, manifests, authorities, accept));
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
        // The operator makes no AgentCard for such a workload, so none counts.
        if let Some(notice) = workload.standing().notice() {
            let verdict = Verdict::refused(Refusal::new(Reason::ProtocolMissing, notice.to_string()));
            return Ok(Evaluated { expected, verdict, cards: Vec::new() });
        }
        add(None)?;
    }
    found.try_for_each(|card| add(Some(card)))?;
    let verdict =
        worst.unwrap_or_else(|| Verdict::refused(Refusal::new(Reason::CardUnsigned, "there is no card")));
    Ok(Evaluated { expected, verdict, cards })
}

fn bind(
    workload: &ManifestWorkload,
    card: Option<&CardManifest>,
    default: Option<&str>,
    manifests: &Manifests,
    authorities: &Authorities,
    accept: &AcceptArgs,
) -> Result<BoundCard, Refusal> {
    workload.check_labels()?;
    let mut binding = card.map(CardManifest::binding).unwrap_or_default();
    binding.trust_domain = binding.trust_domain.or(default);
    let expected = workload.expected(&authorities.identity, binding)?;
    workload.check_protocol()?;
    let Hosts { cluster, ingress } =
        workload.hosts(&manifests.services, &manifests.ingresses, &authorities.ingress_hosts);
    let facts = WorkloadFacts {
        expected_id: expected.spiffe_id,
        cluster_hosts: cluster,
        ingress_hosts: ingress,
        source: Source::File,
    };
    let bundle = authorities.bundles.get(&expected.trust_domain)?;
    let verifier = CardVerifier {
        bundle,
        policy: accept.policy(expected.trust_domain),
        expected: Some(&facts.expected_id),
        history: None,
        now: accept.time.at(),
    };
    bind_delivered(workload, manifests, &verifier, &facts)
}

fn bind_delivered(
    workload: &ManifestWorkload,
    manifests: &Manifests,
    verifier: &CardVerifier<'_>,
    facts: &WorkloadFacts,
) -> Result<BoundCard, Refusal> {
    let wanted = config_map_name(&workload.name);
    let map = manifests.config_map(Some(&workload.namespace), &wanted);
    let Some(map) = map else {
        let found = format!(
            "there is no card among the manifests, and `plan` asks no agent, so this says nothing about the agent: to \
             judge its card here, sign it with `countersign sign` and add it as the ConfigMap {} with the key {}; \
             the operator asks the running agent",
            shown_name(&wanted),
            KEYS.first().copied().unwrap_or_default()
        );
        return Err(Refusal::new(Reason::FetchFailed, found));
    };
    let data = map.data.as_ref();
    let Some(text) = data.and_then(card_text) else {
        let found = format!("the ConfigMap {} has none of the keys {}", shown_name(&wanted), KEYS.join(", "));
        return Err(Refusal::new(Reason::FetchFailed, found));
    };
    let signed = verifier.verify(text.clone().into_bytes()).map_err(|rejection| rejection.refusal)?;
    let facts = WorkloadFacts { source: source(map, workload), ..facts.clone() };
    bind_card(signed, &facts, None)
}

/// A manifest without owners is what its author gave us; one with owners says whose it is (rule 52).
fn source(map: &ConfigMap, workload: &ManifestWorkload) -> Source {
    let owners = map.metadata.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() {
        return Source::File;
    }
    Source::ConfigMap {
        name: name(&map.metadata).to_owned(),
        expected_name: config_map_name(&workload.name),
        owned: owners.iter().any(|owner| owner.kind == workload.kind && owner.name == workload.name),
    }
}
