//! Writes of policies. The index is told at once, so that a turn that follows sees them before the watch does.

use crate::context::Context;
use crate::index::{ObjectRef, StoredPolicy};
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Applies a policy.
pub(crate) async fn apply_policy(context: &Context, policy: &NetworkPolicy) -> Result<(), kube::Error> {
    let stored = context.writer.apply(policy).await?;
    context.metrics.wrote("networkpolicies");
    context.index.policies.insert(ObjectRef::from(&policy.metadata), StoredPolicy::of(&stored));
    Ok(())
}

/// Deletes a policy of ours.
pub(crate) async fn remove_policy(context: &Context, object: &ObjectRef) -> Result<(), kube::Error> {
    context.writer.delete::<NetworkPolicy>(object, None).await?;
    context.metrics.wrote("networkpolicies");
    context.index.policies.remove(object);
    Ok(())
}
