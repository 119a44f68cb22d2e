//! One workload: its AgentCard, its policies and the marks of its Pods, all under one key.
//! Isolation comes first, then what closes, then what opens.

mod automatic;
mod enrol;
mod marks;
mod policies;
mod written;

use super::context::Context;
use super::index::{By, Kind, Workload};
use super::key::{self, WorkloadKey};
use super::kinds;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::workers::Kinds;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use policies::{remove as remove_policy, write as write_policy};
use written::ON_ITS_WAY;
pub(crate) use written::Written;

/// How soon to look again while something that must come first is missing.
const SOON: Duration = Duration::from_millis(200);
/// How soon to look again while Pods of an unlabelled template still run, or the API server's address is unknown.
const LATER: Duration = Duration::from_secs(10);

/// Registers what brings workloads in step, and Pods that none of them vouches for.
pub(crate) fn register(kinds: &mut Kinds, context: &Arc<Context>) {
    kinds::register(kinds, &key::DEPLOYMENT, context, |context, object| async move {
        Ok(reconcile(&context, &WorkloadKey { kind: Kind::Deployment, object }).await?)
    });
    kinds::register(kinds, &key::STATEFUL_SET, context, |context, object| async move {
        Ok(reconcile(&context, &WorkloadKey { kind: Kind::StatefulSet, object }).await?)
    });
    kinds::register(kinds, &key::POD, context, |context, object| async move {
        let known = marks::clear(&context, &object).await?;
        Ok(if known { Next::Never } else { Next::In(ON_ITS_WAY) })
    });
}

/// Brings one workload in step.
async fn reconcile(context: &Context, key: &WorkloadKey) -> Result<Next, kube::Error> {
    let Some(workload) = context.index.workload(key).filter(|workload| workload.is_agent) else {
        return Ok(leave(context, key));
    };
    if workload.is_leaving {
        return Ok(Next::Never);
    }
    // A card that cannot be made is no reason to leave anything open: that is told of last.
    let kept = automatic::keep_card(context, key, &workload).await;
    let next = close_or_open(context, key, &workload).await?;
    kept.map(|()| next)
}

/// Brings policies and marks in step with the verdicts.
async fn close_or_open(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
) -> Result<Next, kube::Error> {
    let Some(cluster) = context.cluster() else { return Ok(Next::In(LATER)) };
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(error) => {
            tracing::error!(%error, "the cluster's facts cannot be planned with; no policy is changed");
            return Ok(Next::In(LATER));
        }
    };
    let (enrolled, settled) = match enrol::enrol(context, key, workload).await? {
        Ok(enrolled) => enrolled,
        Err(error) => {
            context.events.about_workload(key, workload, "WorkloadError", &error.to_string());
            return Ok(Next::In(LATER));
        }
    };
    let cards = match policies::outcomes_of(context, key) {
        policies::Cards::Evaluated(cards) => cards,
        // Nothing is known yet: what stands, stands, and new Pods have what their namespace gives them.
        policies::Cards::NotYet => {
            policies::isolate(context, &enrolled, &cluster).await?;
            return Ok(Next::Never);
        }
    };
    if !policies::apply(context, key, &cards, &enrolled, &cluster).await? {
        context.index.enqueue(key::namespace(key.object.namespace.clone()), Urgency::Closing);
        return Ok(Next::In(SOON));
    }
    let known = marks::keep(context, key, workload, &cards, &enrolled).await?;
    Ok(match (known, settled) {
        (false, _) => Next::In(ON_ITS_WAY),
        (true, false) => Next::In(LATER),
        (true, true) => Next::Never,
    })
}

/// A workload that is gone, or no agent any more: its marks go now, its policies when no Pod is left.
fn leave(context: &Context, key: &WorkloadKey) -> Next {
    let (namespace, label) = (&key.object.namespace, key.label());
    for (object, _) in context.index.policies.with_key(namespace, By::Label, &label) {
        context.index.enqueue(key::orphan(object), Urgency::Routine);
    }
    for object in context.index.pods.pick(namespace, |object, pod| {
        (pod.mark().is_some() && context.index.workload_of(namespace, pod).is_none()).then(|| object.clone())
    }) {
        context.index.enqueue(key::pod(object), Urgency::Closing);
    }
    context.index.enqueue(key::namespace(namespace.clone()), Urgency::Routine);
    Next::Never
}
