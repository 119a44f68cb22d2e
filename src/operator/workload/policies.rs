//! The policies of a workload: written when they differ from what the API server has, and only then.
//! What isolates is written first; what the plan no longer has is deleted last.

use crate::context::Context;
use crate::key::WorkloadKey;
use crate::world::{By, Place, Policy};
use countersign_api::keys::{NAMESPACE_BASELINE, NAMESPACE_MINIMUM};
use countersign_plan::{ClusterFacts, EnrolledWorkload, Isolation, JudgedCard, Mode, plan_network_policies};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use std::collections::BTreeSet;

/// The verdicts that a plan stands on.
pub(crate) enum Cards {
    /// Every card of the workload was judged by this process; there may be none.
    Judged(Vec<JudgedCard>),
    /// Some card was not looked at yet.
    NotYet,
}

/// The verdicts over all cards of a workload.
pub(crate) fn judged_cards(context: &Context, key: &WorkloadKey) -> Cards {
    if !context.world.is_synced() {
        return Cards::NotYet;
    }
    let mut judged = Vec::new();
    for (place, card) in context.world.cards_of(key) {
        match context.judgement(&place) {
            Some(judgement) if judgement.workload.as_ref() == Some(key) => {
                // A judgement of a card that was deleted and made again opens nothing for this one. What it closed
                // stays closed: making a card again would otherwise undo the end of a proof.
                if judgement.judged.card() != &card.reference && judgement.finding.outcome.is_ok() {
                    return Cards::NotYet;
                }
                judged.push(judgement.judged.clone());
            }
            _ => return Cards::NotYet,
        }
    }
    Cards::Judged(judged)
}

/// Writes what isolates the workload, whatever its verdict will be.
pub(crate) async fn isolate(
    context: &Context,
    enrolled: &EnrolledWorkload,
    cluster: &ClusterFacts,
) -> Result<(), kube::Error> {
    let mode = context.mode(enrolled.namespace().as_str());
    let mut planned = plan_network_policies(&[], enrolled, cluster, mode);
    // The last one follows the verdict, which is not known.
    planned.pop();
    for policy in planned {
        write(context, &policy).await?;
    }
    Ok(())
}

/// Writes the policies of the workload. False if the namespace's isolation has to come first.
pub(crate) async fn apply(
    context: &Context,
    key: &WorkloadKey,
    cards: &[JudgedCard],
    enrolled: &EnrolledWorkload,
    cluster: &ClusterFacts,
) -> Result<bool, kube::Error> {
    let mode = context.mode(&key.place.0);
    if mode == Mode::Enforce && enrolled.isolation() == Isolation::Namespace && !has_isolation(context, key) {
        return Ok(false);
    }
    let planned = plan_network_policies(cards, enrolled, cluster, mode);
    let mut kept = BTreeSet::new();
    for policy in &planned {
        kept.insert(place_of(policy));
        write(context, policy).await?;
    }
    let ours = context.world.policies.with_key(&key.place.0, By::Label, &key.label());
    let stale = ours.into_iter().map(|(place, _)| place).filter(|place| !kept.contains(place));
    for place in stale {
        remove(context, &place).await?;
    }
    Ok(true)
}

/// Writes a policy if the API server has another one, or none.
pub(crate) async fn write(context: &Context, policy: &NetworkPolicy) -> Result<(), kube::Error> {
    let place = place_of(policy);
    let planned = Policy::of(policy);
    if context.world.policies.get(&place).is_some_and(|stored| stored.digest == planned.digest) {
        return Ok(());
    }
    let stored = context.writer.apply(policy).await?;
    context.metrics.wrote("networkpolicies");
    context.world.policies.insert(place, Policy::of(&stored));
    Ok(())
}

/// Deletes a policy of ours.
pub(crate) async fn remove(context: &Context, place: &Place) -> Result<(), kube::Error> {
    context.writer.delete::<NetworkPolicy>(&place.0, &place.1, None).await?;
    context.metrics.wrote("networkpolicies");
    context.world.policies.remove(place);
    Ok(())
}

/// True if both objects stand that isolate the agents of the namespace.
fn has_isolation(context: &Context, key: &WorkloadKey) -> bool {
    [NAMESPACE_BASELINE, NAMESPACE_MINIMUM]
        .iter()
        .all(|name| context.world.policies.get(&(key.place.0.clone(), (*name).to_owned())).is_some())
}

fn place_of(policy: &NetworkPolicy) -> Place {
    let metadata = &policy.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
