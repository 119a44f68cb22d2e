//! One AgentCard: find its workload, receive its card, judge it, say so in status.
//! Every way through ends in a judgement; what cannot be judged is refused.

mod conditions;
mod finding;
mod judge;
mod judgement;
mod observe;
mod receive;
mod rejudge;
mod report;
mod status;

pub(crate) use judgement::Judgement;
pub(crate) use rejudge::rejudge_all;

use super::context::Context;
use super::key::{Key, WorkloadKey};
use super::outcome::Next;
use super::queue::Urgency;
use super::world::{Card, Place, Workload};
use crate::api::agent_card::{CardVerdict, TargetRef};
use crate::core::history::History;
use crate::core::refusal::{Reason, Refusal};
use crate::io::clock::{instant, now};
use crate::plan::Mode;
use judge::{Expected, Judged, Received, Terms, broken_memory, judge};
use judgement::Basis;
use observe::Reachable;
use std::collections::BTreeSet;
use std::time::Duration;

/// The shortest time between two fetches of one card.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);
/// The longest time between two fetches of one card: a verdict must not outlive its facts for long.
const LONGEST_PERIOD: Duration = Duration::from_hours(1);
/// How long a new agent is given before its card says that there is no agent yet. Until then it is closed, as every
/// agent without a verdict is; and what lasts longer than the controllers of the cluster take is worth saying.
const STARTING: Duration = Duration::from_secs(2);
/// Finalizers of other operators, which would keep a card from going once they are gone.
const FOREIGN_FINALIZERS: [&str; 2] =
    ["agentcard.kagenti.dev/finalizer", "agentcard.kagenti.dev/network-policy"];

/// Brings one AgentCard in step.
pub(crate) async fn reconcile(context: &Context, place: &Place) -> Result<Next, kube::Error> {
    let Some(card) = context.world.cards.get(place) else {
        if let Some(judgement) = context.judgement(place) {
            context.forget(place);
            ask_for(context, judgement.workload.as_ref());
        }
        return Ok(Next::Never);
    };
    if card.is_leaving {
        return release(context, place, &card).await;
    }
    let found = observe::find_workload(context, place, &card).await;
    let workload = found.as_ref().ok().cloned();
    let target = card.target().cloned();
    if let Some(unsaid) = context.judgement(place).filter(|last| last.is_unsaid)
        && unsaid.judged.card() == &card.reference
    {
        let said = unsaid.as_ref().clone().said(true);
        settle(context, place, &card, said, workload.as_ref(), target.as_ref()).await?;
        // Whether the agent has a better card by now is asked once everybody's loss of trust is said.
        return Ok(Next::In(SHORTEST_PERIOD));
    }
    let authorities = context.bundles.changes();
    let judgement = look(context, place, &card, found).await;
    if context.judgement(place).is_none() && is_starting(&card, &judgement) {
        return Ok(Next::In(STARTING));
    }
    let judgement = judgement.after(context.judgement(place).as_deref());
    let period = period(&card, &judgement);
    let settled = settle(context, place, &card, judgement, workload.as_ref(), target.as_ref()).await;
    // Whoever judged all cards again may not have seen this judgement yet.
    if authorities.has_changed().unwrap_or(true) {
        context.world.ask(Key::Card(place.clone()), Urgency::Urgent);
    }
    settled?;
    Ok(Next::In(period))
}

/// True while a card without a verdict is as new as the workload and the Service that it is about: they are usually
/// applied together, and a verdict about half of them would be followed by another one at once.
fn is_starting(card: &Card, judgement: &Judgement) -> bool {
    let awaited = [
        Reason::WorkloadNotFound,
        Reason::NotAgentWorkload,
        Reason::WorkloadNotReady,
        Reason::ProtocolMissing,
        Reason::ServiceNotFound,
    ];
    // A clock that differs from that of the API server gives no time at all.
    let age = u64::try_from(now().since(card.created)).ok().map(Duration::from_secs);
    card.status.verdict.is_none()
        && judgement.finding.reason().is_some_and(|reason| awaited.contains(&reason))
        && age.is_some_and(|age| age < STARTING)
}

/// Observes and judges, in that order. It cannot fail: what goes wrong is the judgement.
async fn look(
    context: &Context,
    place: &Place,
    card: &Card,
    found: Result<(WorkloadKey, Workload), Refusal>,
) -> Judgement {
    let reference = card.reference.clone();
    let (key, workload) = match found {
        Ok(found) => found,
        Err(refusal) => return Judgement::refused(&reference, None, refusal),
    };
    let expected = Expected::of(&context.config, &card.spec, &place.0, &workload.service_account);
    let expected = match expected {
        Ok(expected) => expected,
        Err(refusal) => return Judgement::refused(&reference, Some(key), refusal),
    };
    let last = context.judgement(place).filter(|last| last.workload.as_ref() == Some(&key));
    if card.spec.paused == Some(true) {
        let paused = Refusal::new(Reason::CardPaused, "spec.paused is set, and the last card is not at hand");
        let Some((received, basis)) = last.as_ref().and_then(|last| last.kept()) else {
            return Judgement::refused(&reference, Some(key), paused);
        };
        return judge_received(context, card, &key, &expected, received, basis.hosts).await;
    }
    let reachable = match observe::find_way(context, key.clone(), workload).await {
        Ok(reachable) => reachable,
        Err(refusal) => return Judgement::refused(&reference, Some(key), refusal),
    };
    let hosts = reachable.service.hosts.clone();
    let received = match receive::fetch_live(context, &reachable, &expected).await {
        Ok(received) => received,
        Err(refusal) => return Judgement::refused(&reference, Some(key), refusal),
    };
    if let Some(last) = last.as_ref().and_then(|last| repeated(context, last, card, &received, &expected)) {
        return last;
    }
    let judgement = judge_received(context, card, &key, &expected, received.clone(), hosts.clone()).await;
    if judgement.finding.reason() != Some(Reason::CardUnsigned) {
        return judgement;
    }
    judge_delivered(context, card, &reachable, &expected, &received, hosts).await.unwrap_or(judgement)
}

/// The last judgement again, if nothing that it depends on has changed.
fn repeated(
    context: &Context,
    last: &Judgement,
    card: &Card,
    received: &Received,
    expected: &Expected,
) -> Option<Judgement> {
    let at = now();
    let (kept, basis) = last.basis_for(&received.bytes)?;
    let bundle = context.bundles.get(&expected.trust_domain, at).ok()?;
    let policy = context.policy(expected.trust_domain.clone());
    let terms = basis.terms(&bundle, (&policy, context.rules), expected, at);
    let same = terms.fingerprint(&received.source) == basis.terms && card.uid == basis.card_uid;
    (same && kept.finding.outcome.as_ref().is_ok_and(|proof| at < proof.valid_until)).then(|| kept.clone())
}

/// Judges received bytes. If an endpoint is not among the names of the Service, other Services and Ingresses of
/// the workload are looked up, and the card is judged once more.
async fn judge_received(
    context: &Context,
    card: &Card,
    key: &WorkloadKey,
    expected: &Expected,
    received: Received,
    mut hosts: BTreeSet<String>,
) -> Judgement {
    let reference = card.reference.clone();
    let history = match history(card) {
        Ok(history) => history,
        Err(refusal) => return Judgement::refused(&reference, Some(key.clone()), refusal),
    };
    let mut ingress_hosts = BTreeSet::new();
    for more in [false, true] {
        let at = now();
        if more {
            match observe_hosts(context, key).await {
                Ok((services, ingresses)) => {
                    hosts.extend(services);
                    ingress_hosts = ingresses;
                }
                Err(refusal) => return Judgement::refused(&reference, Some(key.clone()), refusal),
            }
        }
        let bundle = match context.bundles.get(&expected.trust_domain, at) {
            Ok(bundle) => bundle,
            Err(refusal) => return Judgement::refused(&reference, Some(key.clone()), refusal),
        };
        let policy = context.policy(expected.trust_domain.clone());
        let terms = Terms {
            bundle: &bundle,
            policy: &policy,
            rules: context.rules,
            expected,
            cluster_hosts: &hosts,
            ingress_hosts: &ingress_hosts,
            history: history.as_ref(),
            now: at,
        };
        let started = instant();
        let span = tracing::info_span!("verify", reason = tracing::field::Empty);
        let judged: Judged = span.in_scope(|| judge(&received, terms));
        span.record("reason", judged.finding.reason().map(Reason::code));
        let audit = context.mode(&key.place.0) == Mode::Audit;
        context.metrics.verified(judged.finding.reason(), audit, started.elapsed());
        if !more && judged.finding.reason() == Some(Reason::EndpointNotOwned) {
            continue;
        }
        let terms = terms.fingerprint(&received.source);
        let basis =
            Basis { terms, card_uid: card.uid.clone(), hosts, ingress_hosts, expected: expected.clone() };
        return Judgement::of(&reference, key.clone(), judged, received, basis);
    }
    Judgement::refused(
        &reference,
        Some(key.clone()),
        Refusal::new(Reason::EndpointNotOwned, "an endpoint is not the workload's"),
    )
}

/// The card of a ConfigMap, if the served one is the same card without its signatures.
async fn judge_delivered(
    context: &Context,
    card: &Card,
    reachable: &Reachable,
    expected: &Expected,
    live: &Received,
    hosts: BTreeSet<String>,
) -> Option<Judgement> {
    let reference = card.reference.clone();
    let key = reachable.key.clone();
    let delivered = match receive::read_delivered(context, reachable).await {
        Ok(delivered) => delivered?,
        Err(refusal) => return Some(Judgement::refused(&reference, Some(key), refusal)),
    };
    let judgement = judge_received(context, card, &key, expected, delivered.clone(), hosts).await;
    let Ok(proof) = &judgement.finding.outcome else { return Some(judgement) };
    if judge::same_but_signatures(&live.bytes, &delivered.bytes, proof.profile) {
        return Some(judgement);
    }
    let found = "the workload serves another card than the ConfigMap holds a signature for";
    Some(Judgement::refused(&reference, Some(key), Refusal::new(Reason::SignatureInvalid, found)))
}

/// What is remembered of the last accepted card.
fn history(card: &Card) -> Result<Option<History>, Refusal> {
    match card.status.verdict.as_ref().and_then(CardVerdict::history) {
        None => Ok(None),
        Some(Ok(history)) => Ok(Some(history)),
        Some(Err(problem)) => Err(broken_memory(&problem.to_string())),
    }
}

async fn observe_hosts(
    context: &Context,
    key: &WorkloadKey,
) -> Result<(BTreeSet<String>, BTreeSet<String>), Refusal> {
    let workload = context
        .world
        .workload(key)
        .ok_or_else(|| Refusal::new(Reason::WorkloadNotFound, format!("{key} is gone")))?;
    observe::other_hosts(context, key, &workload).await
}

/// Takes the judgement over: first what is open is closed, then it is said.
async fn settle(
    context: &Context,
    place: &Place,
    card: &Card,
    judgement: Judgement,
    workload: Option<&(WorkloadKey, Workload)>,
    target: Option<&TargetRef>,
) -> Result<(), kube::Error> {
    let before = context.judge(place, judgement.clone());
    let old = before.as_ref().and_then(|before| before.workload.clone());
    let differs = before.as_ref().is_none_or(|before| before.judged != judgement.judged);
    let moved = old != judgement.workload;
    if moved {
        ask_for(context, old.as_ref());
    }
    if differs || moved {
        ask_for(context, judgement.workload.as_ref());
    }
    report::write_status(context, place, card, &judgement, workload, target).await
}

/// Lets a card go that other operators would hold.
async fn release(context: &Context, place: &Place, card: &Card) -> Result<Next, kube::Error> {
    if let Some(judgement) = context.judgement(place) {
        context.forget(place);
        ask_for(context, judgement.workload.as_ref());
    }
    let rest: Vec<String> =
        card.finalizers.iter().filter(|name| !FOREIGN_FINALIZERS.contains(&name.as_str())).cloned().collect();
    if rest.len() < card.finalizers.len() {
        context.writer.set_finalizers(&place.0, &place.1, &card.resource_version, &rest).await?;
    }
    Ok(Next::Never)
}

fn ask_for(context: &Context, workload: Option<&WorkloadKey>) {
    if let Some(key) = workload {
        context.world.ask(Key::Workload(key.clone()), Urgency::Closing);
    }
}

/// When to look again: after the card's own period, never after the proof ends. A card that could not be fetched
/// is asked for again after as long as that has lasted: a Pod is ready before its Service leads to it.
fn period(card: &Card, judgement: &Judgement) -> Duration {
    let asked = card.spec.sync_period().unwrap_or(crate::api::agent_card::SYNC_PERIOD_DEFAULT);
    let asked = asked.clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
    match &judgement.finding.outcome {
        Ok(proof) => {
            let left = proof.valid_until.since(now()).max(1);
            asked.min(Duration::from_secs(u64::try_from(left).unwrap_or(1)))
        }
        Err(_) => judgement.failing.map_or(asked, |since| since.elapsed().max(SHORTEST_PERIOD).min(asked)),
    }
}
