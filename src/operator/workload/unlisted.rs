//! Turn of a workload of a kind that cannot be listed. Its AgentCards still close it.

use super::marks::apply_every_mark;
use super::observe::observed_cards;
use super::policies::remove_policy;
use crate::card::store_evaluation;
use crate::context::Context;
use crate::index::{IndexKey, WorkloadRef};
use crate::written::WATCH_LAG;
use countersign_controller::next::Next;
use countersign_io::clock::instant;
use countersign_plan::agent_card::schedule::SHORTEST_PERIOD;
use countersign_plan::input::pod::ControllerKind;
use countersign_plan::unlisted::{Evidence, Observed, ended, plan_unlisted};
use std::time::Duration;

/// Wait until the next turn once the list has been missing for as long.
const RETRY: Duration = Duration::from_secs(10);

/// Closes what no AgentCard proves any more, and forgets a workload that no AgentCard names.
pub(super) async fn reconcile(context: &Context, key: &WorkloadRef) -> Result<Next, kube::Error> {
    context.unlisted.begin(key, instant());
    let is_new = context.unlisted.since(key, instant()) < RETRY;
    let cards = observed_cards(context, key);
    let evidence = Evidence::of(key, &cards);
    if evidence == Evidence::Missing {
        context.undecided.begin(key, instant());
    } else {
        context.undecided.end(key);
    }
    if evidence.must_close(context.undecided.since(key, instant())) {
        if close(context, key).await? {
            // No turn follows the change of a Pod whose workload is not known.
            return Ok(Next::In(WATCH_LAG));
        }
        // Status has the proof by which this is closed, so it is told last; and not while the operator starts, when the list
        // only takes a while.
        for (object, evaluation) in ended(key, &cards).into_iter().filter(|_| !is_new) {
            store_evaluation(context, &object, evaluation);
        }
    }
    if cards.is_empty() {
        context.unlisted.end(key);
        return Ok(Next::Never);
    }
    Ok(Next::In(if is_new { SHORTEST_PERIOD } else { RETRY }))
}

/// Removes the marks of a workload, then its policy; false if nothing was left to do. Every mark is tried, whichever of them
/// fails.
async fn close(context: &Context, key: &WorkloadRef) -> Result<bool, kube::Error> {
    let (index, namespace) = (&context.index, key.object.namespace.as_str());
    let policies = index.policies.with_key(namespace, IndexKey::Label, &key.label()).into_iter().collect();
    let pods = index.pods.pick(namespace, |object, pod| {
        let is_of_a_sandbox =
            pod.controller.as_ref().is_some_and(|owner| owner.kind == ControllerKind::Sandbox);
        is_of_a_sandbox.then(|| (object.clone(), pod.clone()))
    });
    let plan = plan_unlisted(&Observed { reference: key, policies: &policies, pods: &pods });
    if let (_, Some(error)) = apply_every_mark(context, &plan.unmark).await {
        return Err(error);
    }
    for object in &plan.remove {
        remove_policy(context, object).await?;
    }
    Ok(!plan.unmark.is_empty() || !plan.remove.is_empty())
}
