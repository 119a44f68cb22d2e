//! Observation of a workload, read once per turn.

use crate::context::Context;
use crate::index::{IndexKey, IndexedCard, ObjectRef, Workload, WorkloadRef};
use countersign_api::agent_card::Outcome;
use countersign_api::keys::Family;
use countersign_core::limits::CLOCK_SKEW_MAX;
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_io::clock::{instant, now};
use countersign_plan::input::delivered::default_card_name;
use countersign_plan::input::pod::selector_text;
use countersign_plan::workload::{Observed, ObservedCard, StoredProof};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

/// Observes a workload from the index; only Pods without the agent label of the template, which are not watched, are read from the
/// API server. An error of that read comes beside the observation, which is good enough for what closes.
pub(crate) async fn observe<'a>(
    context: &'a Context,
    reference: &'a WorkloadRef,
    workload: &'a Workload,
) -> (Observed<'a>, Option<kube::Error>) {
    let (has_unlabelled_pods, unread) =
        assumed_unlabelled(has_unlabelled_pods(context, reference, workload).await);
    let index = &context.index;
    let namespace = &reference.object.namespace;
    // An AgentCard of that name that is going, or that is for another workload, cannot become the default one. As long
    // as it is there, the workload has none.
    let default_card =
        ObjectRef::new(namespace, default_card_name(&reference.object.name, reference.kind.as_str()));
    let is_isolated = |family: &Family| index.is_isolated(namespace, *family);
    let observed = Observed {
        reference,
        workload,
        cards: observed_cards(context, reference),
        may_make_card: index.cards.is_synced() && index.cards.get(&default_card).is_none(),
        is_complete: index.is_synced(),
        undecided_for: context.undecided.since(reference, instant()),
        pods: index.pods_of(reference, workload),
        has_unlabelled_pods,
        policies: index
            .policies
            .with_key(namespace, IndexKey::Label, &reference.label())
            .into_iter()
            .collect(),
        isolated_families: Family::ALL.into_iter().filter(is_isolated).collect(),
        cluster: context.cluster(),
        mode: context.mode(namespace),
        identity: &context.config.identity,
    };
    (observed, unread)
}

/// Answer to plan with: what could not be read may be a Pod that the policies of the namespace miss.
fn assumed_unlabelled<E>(read: Result<bool, E>) -> (bool, Option<E>) {
    match read {
        Ok(has_unlabelled_pods) => (has_unlabelled_pods, None),
        Err(error) => (true, Some(error)),
    }
}

/// AgentCards that target the workload, with their last evaluations.
pub(super) fn observed_cards(context: &Context, reference: &WorkloadRef) -> Vec<ObservedCard> {
    let card = |(object, card)| {
        let evaluation = context.evaluation(&object);
        let evaluated = evaluation.map(|last| (last.workload.clone(), last.card.clone()));
        let stored = stored_proof(context, &card);
        ObservedCard { object, card, evaluated, stored }
    };
    context.index.cards_of(reference).into_iter().map(card).collect()
}

/// Proof that status shows, of the spec as it is, for a card from before this replica led: a later one was never
/// verified unless this replica did it, whatever its status says. Under the witnessed freshness of the signer's trust
/// domain a proof may outlast the leaf, so status alone does not end it.
fn stored_proof(context: &Context, card: &IndexedCard) -> StoredProof {
    let status = card.status.read();
    let verdict = status.verdict.as_ref().filter(|verdict| verdict.outcome == Outcome::Verified);
    let is_earlier = context.leading_since.get().is_some_and(|since| card.created < *since)
        && status.observed_generation == Some(card.generation);
    let Some(end) = verdict.filter(|_| is_earlier).and_then(|verdict| verdict.not_after.as_ref()) else {
        return StoredProof::None;
    };
    let end = Timestamp::from_unix(end.0.as_second()).plus(CLOCK_SKEW_MAX);
    let signer = status.signature_spiffe_id.as_deref().and_then(|id| SpiffeId::parse(id).ok());
    let may_outlast = |signer: SpiffeId| context.policies.may_outlast_a_leaf(signer.trust_domain());
    if now() > end && !signer.is_some_and(may_outlast) { StoredProof::Ended } else { StoredProof::Holds }
}

/// True if the workload selects a Pod without the agent label of its template. Such Pods are not watched, so the API
/// server is asked, but only if the template carries the label now and lacked it before: else the answer changes no plan.
async fn has_unlabelled_pods(
    context: &Context,
    reference: &WorkloadRef,
    workload: &Workload,
) -> Result<bool, kube::Error> {
    let (None, Some(family)) = (workload.always_labelled_its_pods(), workload.labels_its_pods()) else {
        return Ok(false);
    };
    if workload.selects_nobody() {
        // An empty selector would ask about all Pods, and what it is is not known.
        return Ok(true);
    }
    let selector = format!("{},{}", selector_text(&workload.selector.read()), family.others_selector());
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &reference.object.namespace);
    let unlabelled = api.list_metadata(&ListParams::default().labels(&selector).limit(1)).await?;
    Ok(!unlabelled.items.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_cannot_be_read_count_as_unlabelled_and_the_error_is_kept() {
        let table = [
            (Ok(false), (false, None)),
            (Ok(true), (true, None)),
            (Err("the API server answered 500"), (true, Some("the API server answered 500"))),
        ];
        for (read, expected) in table {
            assert_eq!(assumed_unlabelled(read), expected, "{read:?}");
        }
    }
}
