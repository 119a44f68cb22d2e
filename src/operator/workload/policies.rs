//! The policies of a workload: written when they differ from what the API server has, and only then.
//! What isolates is written first; what the plan no longer has is deleted last.

use crate::context::Context;
use crate::index::{By, ObjectRef, Policy};
use crate::key::WorkloadKey;
use countersign_api::keys::{NAMESPACE_BASELINE, NAMESPACE_MINIMUM};
use countersign_plan::{
    CardOutcome, ClusterAccess, EnrolledWorkload, Isolation, Mode, plan_network_policies,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use std::collections::BTreeSet;

/// The verdicts that a plan stands on.
pub(crate) enum Cards {
    /// Every card of the workload was outcomes by this process; there may be none.
    Evaluated(Vec<CardOutcome>),
    /// Some card was not looked at yet.
    NotYet,
}

/// The verdicts over all cards of a workload.
pub(crate) fn outcomes_of(context: &Context, key: &WorkloadKey) -> Cards {
    if !context.index.is_synced() {
        return Cards::NotYet;
    }
    let mut outcomes = Vec::new();
    for (object, card) in context.index.cards_of(key) {
        match context.evaluation(&object) {
            Some(evaluation) if evaluation.workload.as_ref() == Some(key) => {
                // A evaluation of a card that was deleted and made again opens nothing for this one. What it closed
                // stays closed: making a card again would otherwise undo the end of a proof.
                if evaluation.card.reference() != &card.reference && evaluation.result.outcome.is_ok() {
                    return Cards::NotYet;
                }
                outcomes.push(evaluation.card.clone());
            }
            _ => return Cards::NotYet,
        }
    }
    Cards::Evaluated(outcomes)
}

/// Writes what isolates the workload, whatever its verdict will be.
pub(crate) async fn isolate(
    context: &Context,
    enrolled: &EnrolledWorkload,
    cluster: &ClusterAccess,
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
    cards: &[CardOutcome],
    enrolled: &EnrolledWorkload,
    cluster: &ClusterAccess,
) -> Result<bool, kube::Error> {
    let mode = context.mode(&key.object.namespace);
    if mode == Mode::Enforce && enrolled.isolation() == Isolation::Namespace && !has_isolation(context, key) {
        return Ok(false);
    }
    let planned = plan_network_policies(cards, enrolled, cluster, mode);
    let mut kept = BTreeSet::new();
    for policy in &planned {
        kept.insert(ObjectRef::from(&policy.metadata));
        write(context, policy).await?;
    }
    let ours = context.index.policies.with_key(&key.object.namespace, By::Label, &key.label());
    let stale = ours.into_iter().map(|(object, _)| object).filter(|object| !kept.contains(object));
    for object in stale {
        remove(context, &object).await?;
    }
    Ok(true)
}

/// Writes a policy if the API server has another one, or none.
pub(crate) async fn write(context: &Context, policy: &NetworkPolicy) -> Result<(), kube::Error> {
    let object = ObjectRef::from(&policy.metadata);
    let planned = Policy::of(policy);
    if context.index.policies.get(&object).is_some_and(|stored| stored.digest == planned.digest) {
        return Ok(());
    }
    let stored = context.writer.apply(policy).await?;
    context.metrics.wrote("networkpolicies");
    context.index.policies.insert(object, Policy::of(&stored));
    Ok(())
}

/// Deletes a policy of ours.
pub(crate) async fn remove(context: &Context, object: &ObjectRef) -> Result<(), kube::Error> {
    context.writer.delete::<NetworkPolicy>(object, None).await?;
    context.metrics.wrote("networkpolicies");
    context.index.policies.remove(object);
    Ok(())
}

/// True if both objects stand that isolate the agents of the namespace.
fn has_isolation(context: &Context, key: &WorkloadKey) -> bool {
    [NAMESPACE_BASELINE, NAMESPACE_MINIMUM]
        .iter()
        .all(|name| context.index.policies.get(&ObjectRef::new(&key.object.namespace, *name)).is_some())
}
