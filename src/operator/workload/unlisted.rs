//! Turn of a workload of a kind that cannot be listed. Its AgentCards still close it.

use super::marks::apply_mark;
use super::observe::observed_cards;
use super::policies::remove_policy;
use crate::context::Context;
use crate::index::{IndexKey, WorkloadRef};
use crate::written::WATCH_LAG;
use countersign_controller::next::Next;
use countersign_io::clock::instant;
use countersign_plan::agent_card::schedule::SHORTEST_PERIOD;
use countersign_plan::unlisted::{Observed, plan_unlisted};
use std::time::Duration;

/// Wait until the next turn once the list has been missing for as long.
const RETRY: Duration = Duration::from_secs(10);

/// Closes what an AgentCard does not prove any more. Every mark is tried, whichever of them fails; policies come after.
pub(super) async fn reconcile(context: &Context, key: &WorkloadRef) -> Result<Next, kube::Error> {
    context.unlisted.begin(key, instant());
    let (index, namespace) = (&context.index, key.object.namespace.as_str());
    let cards = observed_cards(context, key);
    let policies = index.policies.with_key(namespace, IndexKey::Label, &key.label()).into_iter().collect();
    let marked = index.pods.pick(namespace, |object, pod| pod.mark().map(|_| (object.clone(), pod.clone())));
    let observed = Observed { reference: key, cards: &cards, policies: &policies, marked: &marked };
    let plan = plan_unlisted(&observed);
    let mut failed = None;
    for mark in &plan.unmark {
        if let Err(error) = apply_mark(context, mark).await {
            failed = failed.or(Some(error));
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    for object in &plan.remove {
        remove_policy(context, object).await?;
    }
    if !plan.unmark.is_empty() {
        // No turn follows the change of a Pod whose workload is not known.
        return Ok(Next::In(WATCH_LAG));
    }
    let is_new = context.unlisted.since(key, instant()) < RETRY;
    Ok(Next::In(if is_new { SHORTEST_PERIOD } else { RETRY }))
}
