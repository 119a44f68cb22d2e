//! Evaluation of one AgentCard: workload found, card received, verified and bound. Another turn writes the status.
//! Every path ends in an evaluation; what cannot be evaluated is refused.

mod dispatch;
mod ending;
mod evaluator;
pub(crate) mod key;
mod observe;
mod pages;
mod receive;
mod reevaluate;
mod replicas;
mod status;
mod unusable;

pub(crate) use ending::end_proofs;
pub(crate) use reevaluate::{Cause, reevaluate_all};

use super::context::Context;
use super::index::{Index, IndexedCard, ObjectRef, Workload, WorkloadRef};
use super::registration::register_agents;
use super::workload::key as workload_key;
use countersign_api::agent_card::CardVerdict;
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry};
use countersign_core::history::History;
use countersign_core::limits::{REPLICAS_AT_ONCE, REPLICAS_PER_EVALUATION};
use countersign_core::refusal::{Reason, Refusal};
use countersign_io::clock::{instant, now};
use countersign_io::fetch::Representation;
use countersign_plan::agent_card::card_evaluation::ReplicaEvaluation;
use countersign_plan::agent_card::evaluate::broken_memory;
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::agent_card::merge::{choose, merge};
use countersign_plan::agent_card::replica::Replica;
use countersign_plan::agent_card::schedule::{SHORTEST_PERIOD, is_starting, may_settle, next_evaluation};
use countersign_plan::agent_card::transition::Transition;
use countersign_plan::agent_card::unread;
use countersign_plan::unlisted::notice;
use evaluator::{EvaluateCard, Lookups, own_hosts};
use futures::stream::{self, StreamExt};
use observe::ReachableAgent;
use std::pin::pin;
use std::sync::Arc;
use unusable::Unusable;

/// Clients that name no version of A2A.
const UNVERSIONED: Representation = Representation::Unversioned;

/// Registers the turns that evaluate AgentCards and those that write their status.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    dispatch::subscribe(context);
    let unread = Index::unread;
    register_agents(registry, &key::EVALUATION, context, unread, |context, object| async move {
        Ok(reconcile(&context, &object).await)
    })?;
    register_agents(registry, &key::STATUS, context, unread, |context, object| async move {
        Ok(status::reconcile(&context, &object).await?)
    })
}

/// Turn of one AgentCard: observes, evaluates and keeps the evaluation. Writes nothing to the API server.
async fn reconcile(context: &Context, object: &ObjectRef) -> Next {
    let Some(card) = context.index.cards.get(object).filter(|card| !card.is_leaving) else {
        context.waits.forget(object);
        return Next::Never;
    };
    if let Some(notice) = waits_for_list(context, object, &card) {
        tell(context, object, &card, notice);
        // Nothing is known of the workload yet, so the last verdict neither ends nor begins.
        return Next::In(SHORTEST_PERIOD);
    }
    let found = observe::find_workload(context, object, &card).await;
    let (authorities, policies) = (context.bundles.changes(), context.policies.changes());
    let evaluation = evaluate_card(context, object, &card, found).await;
    tell(context, object, &card, unread::notice(&evaluation, &card.status, instant()));
    if context.evaluation(object).is_none() && is_starting(&card, &evaluation, now()) {
        return Next::In(SHORTEST_PERIOD);
    }
    let evaluation = evaluation.after(context.evaluation(object).as_deref(), instant()).at(card.generation);
    let period = next_evaluation(&card, &evaluation, context.config.min_sync_period, now(), instant());
    store_evaluation(context, object, evaluation);
    if authorities.has_changed().unwrap_or(true) || policies.has_changed().unwrap_or(true) {
        context.enqueue(key::evaluation(object.clone()), Urgency::Urgent);
    } else {
        context.wait_until_shown(object).await;
    }
    // A change meanwhile evaluated all cards again, perhaps before this one was stored.
    for (changes, cause) in
        [(authorities.has_changed(), Cause::Authorities), (policies.has_changed(), Cause::Policy)]
    {
        if changes.unwrap_or(true) {
            reevaluate::reevaluate_one(context, object, cause);
            context.enqueue(key::evaluation(object.clone()), Urgency::Urgent);
        }
    }
    Next::In(period)
}

/// What to tell, if anything, while the workloads of the target's kind are not listed; `None` once they are. An event tells
/// of it once it has lasted for a while.
#[expect(clippy::option_option, reason = "a wait of which nothing is told yet is a wait all the same")]
fn waits_for_list(context: &Context, object: &ObjectRef, card: &IndexedCard) -> Option<Option<Transition>> {
    let target = card.workload(&object.namespace)?;
    if context.index.is_listed(target.kind) {
        context.unlisted.end(&target);
        return None;
    }
    context.unlisted.begin(&target, instant());
    Some(notice(&target, &card.status, context.unlisted.since(&target, instant())))
}

/// Sends what there is to say of an AgentCard that is not evaluated, unless it was said last.
fn tell(context: &Context, object: &ObjectRef, card: &IndexedCard, notice: Option<Transition>) {
    context.waits.tell((object, &card.uid), notice, |notice| {
        context.events.send(status::CARD_VERIFIED, object, &card.uid, notice)
    });
}

/// Evaluation from a fresh observation. Infallible: a failure on the way is a refused evaluation.
async fn evaluate_card(
    context: &Context,
    object: &ObjectRef,
    card: &IndexedCard,
    found: Result<(WorkloadRef, Workload), Refusal>,
) -> Evaluation {
    let reference = &card.reference;
    let (key, workload) = match found {
        Ok(found) => found,
        Err(refusal) => return Evaluation::refused(reference, None, refusal),
    };
    let refuse = |refusal| Evaluation::refused(reference, Some(key.clone()), refusal);
    if let Some(conflict) = &workload.refusal {
        return refuse(conflict.clone());
    }
    let expected =
        context.config.identity.expect(card.binding(), &object.namespace, &workload.service_account);
    let expected = match expected {
        Ok(expected) => expected,
        Err(refusal) => return refuse(refusal),
    };
    // An AgentCard of the same name that was made again is another one.
    let is_same =
        |last: &Arc<Evaluation>| last.workload.as_ref() == Some(&key) && last.card.reference() == reference;
    let last = context.evaluation(object).filter(is_same);
    let last = last.as_deref();
    let history = match remembered(card, last) {
        Ok(history) => history,
        Err(refusal) => return refuse(refusal),
    };
    let refuse = |refusal| refuse(refusal).with_history(history.clone());
    let (observed, lookups) = (workload.clone(), Lookups::default());
    let evaluator = EvaluateCard {
        context,
        card,
        key: &key,
        workload: &observed,
        expected: &expected,
        history: history.as_ref(),
        lookups: &lookups,
    };
    if card.spec.paused == Some(true) {
        let paused = Refusal::new(Reason::CardPaused, "spec.paused is set, and the last card is not at hand");
        let Some((received, _)) = last.and_then(Evaluation::kept) else { return refuse(paused) };
        let evaluation = evaluator.received((*received).clone(), own_hosts(&key)).await;
        let evaluation = Evaluation::of(Some(key.clone()), evaluation);
        if let Some(failed) = lookups.hides(&evaluation) {
            return pending(last, failed).unwrap_or_else(refuse);
        }
        // No replica was fetched, so nothing new is remembered.
        return evaluation.with_history(history.clone());
    }
    let replicas = last.map(|last| last.replicas.as_slice()).unwrap_or_default();
    let reachable = match observe::find_reachable(context, key.clone(), workload, replicas).await {
        Ok(reachable) => reachable,
        Err(unusable) => return pending(last, unusable).unwrap_or_else(refuse),
    };
    let evaluations = evaluate_replicas(evaluator, &reachable, last).await;
    let Some(evaluation) =
        merge(reference, &key, &reachable.replicas, evaluations, replicas, (now(), context.policies.since()))
    else {
        return refuse(Refusal::new(Reason::WorkloadNotReady, "no replica of the workload is ready"));
    };
    if let Some(failed) = lookups.hides(&evaluation) {
        return pending(last, failed).unwrap_or_else(refuse);
    }
    let freshness = context.policies.of(&expected.trust_domain).policy.freshness;
    evaluation.remembering(history.as_ref(), freshness, now())
}

/// Last evaluation once more, while the cause for another one may pass by itself; after a while the card is refused.
fn pending(last: Option<&Evaluation>, unusable: Unusable) -> Result<Evaluation, Refusal> {
    let Unusable { refusal, settles } = unusable;
    let Some(settles) = settles else { return Err(refusal) };
    match last.filter(|last| may_settle(last, settles, now(), instant())) {
        Some(last) => Ok(last.clone().pending_since(settles, instant(), refusal)),
        None => Err(refusal),
    }
}

/// Evaluations of replicas, fetched some at a time and evaluated as each card arrives.
async fn evaluate_replicas(
    evaluator: EvaluateCard<'_>,
    reachable: &ReachableAgent,
    last: Option<&Evaluation>,
) -> Vec<ReplicaEvaluation> {
    let known = last.map(|last| last.replicas.as_slice()).unwrap_or_default();
    let chosen = choose(&reachable.replicas, known, REPLICAS_PER_EVALUATION);
    let service = &reachable.service;
    let fetches = chosen.into_iter().cloned().map(|replica| async move {
        let received = receive::fetch_live(evaluator.context, service, &replica, evaluator.expected).await;
        (replica, received)
    });
    let mut answers = pin!(stream::iter(fetches).buffer_unordered(REPLICAS_AT_ONCE));
    let mut delivered = None;
    let mut evaluations = Vec::new();
    while let Some((replica, received)) = answers.next().await {
        let served = match received {
            Ok(served) => served,
            Err(refusal) => {
                let evaluation = evaluator.refused(refusal);
                evaluations.push(ReplicaEvaluation { replica, at: instant(), evaluation });
                continue;
            }
        };
        // Clients may see either card, so each is evaluated as if a replica of its own served it: one that is bad refuses
        // the workload, both are remembered, and neither proof outlasts the other.
        let other = served.unversioned.map(|card| {
            let replica = Replica { answer: Some(UNVERSIONED.as_str()), ..replica.clone() };
            (replica, UNVERSIONED, card)
        });
        let differs = other.is_some();
        for (replica, representation, card) in
            [(replica, served.representation, served.card)].into_iter().chain(other)
        {
            let is_this = |known: &&ReplicaEvaluation| {
                known.replica.uid == replica.uid && known.replica.answer == replica.answer
            };
            let before = known.iter().find(is_this);
            let evaluation = match before.and_then(|before| evaluator.repeated(before, &card)) {
                Some(evaluation) => evaluation,
                None => evaluator.served(reachable, card, &mut delivered).await,
            };
            let evaluation = if differs {
                let which = format!("answer to requests {}", representation.as_str());
                evaluation.named(&evaluator.card.reference, &which)
            } else {
                evaluation
            };
            evaluations.push(ReplicaEvaluation { replica, at: instant(), evaluation });
        }
    }
    evaluations
}

/// History of accepted cards: that of this process, which is ahead of the status, or that in the status.
fn remembered(card: &IndexedCard, last: Option<&Evaluation>) -> Result<Option<History>, Refusal> {
    let written = history(card)?;
    Ok(last.and_then(|last| last.history.as_deref().cloned()).or(written))
}

/// History of accepted cards in the status.
fn history(card: &IndexedCard) -> Result<Option<History>, Refusal> {
    match card.status.read().verdict.as_ref().and_then(CardVerdict::history) {
        None => Ok(None),
        Some(Ok(history)) => Ok(Some(history)),
        Some(Err(problem)) => Err(broken_memory(&problem.to_string())),
    }
}

/// Stores an evaluation. Closing is enqueued before the status, so that no write of text delays it.
pub(crate) fn store_evaluation(context: &Context, object: &ObjectRef, evaluation: Evaluation) {
    let (outcome, workload) = (evaluation.card.clone(), evaluation.workload.clone());
    let before = context.store(object, evaluation);
    let old = before.as_ref().and_then(|before| before.workload.clone());
    let differs = before.as_ref().is_none_or(|before| before.card != outcome);
    let moved = old != workload;
    if moved {
        enqueue_workload(context, old.as_ref());
    }
    if differs || moved {
        enqueue_workload(context, workload.as_ref());
    }
    // The status turn also forgets a card that is gone by now.
    context.enqueue(key::status(object.clone()), Urgency::Urgent);
}

fn enqueue_workload(context: &Context, workload: Option<&WorkloadRef>) {
    if let Some(key) = workload {
        context.enqueue(workload_key::workload(key.clone()), Urgency::Closing);
    }
}
