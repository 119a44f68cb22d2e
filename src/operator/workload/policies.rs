//! Writes of policies. The index is updated at once, so that the next turn does not depend on the watch.

use crate::context::Context;
use crate::index::{ObjectRef, StoredPolicy};
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Applies a policy and stores the answer in the index.
pub(crate) async fn apply_policy(context: &Context, policy: &NetworkPolicy) -> Result<(), kube::Error> {
    let (policies, object) = (&context.index.policies, ObjectRef::from(&policy.metadata));
    let (before, removals) = (policies.get(&object), policies.removals(&object.namespace));
    let stored = context.writer.apply(policy).await?;
    context.metrics.wrote("networkpolicies");
    policies.insert_answer(object, (before.as_ref(), removals), StoredPolicy::of(&stored));
    Ok(())
}

/// Deletes a managed policy from cluster and index.
pub(crate) async fn remove_policy(context: &Context, object: &ObjectRef) -> Result<(), kube::Error> {
    context.writer.delete::<NetworkPolicy>(object, None).await?;
    context.metrics.wrote("networkpolicies");
    context.index.policies.remove(object);
    Ok(())
}
