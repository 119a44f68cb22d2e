//! Evaluation of all cards after a change of authorities, from the bytes in memory and without a fetch.
//! Access without a proof is closed before status is written.

use super::evaluator::own_hosts;
use super::key;
use crate::context::Context;
use crate::index::ObjectRef;
use crate::policies::Changed;
use crate::workload::key as workload_key;
use countersign_controller::queue::Urgency;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use countersign_plan::agent_card::card_evaluation::CardEvaluation;
use countersign_plan::agent_card::ending::{unproven, without_authority};
use countersign_plan::agent_card::evaluate::{Terms, evaluate};
use countersign_plan::agent_card::evaluation::Evaluation;
use countersign_plan::agent_card::result::Proof;

/// Change that calls for all cards to be evaluated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Authorities were added or removed.
    Authorities,
    /// Another policy is in force.
    Policy,
}

/// Evaluates every verified card again, and enqueues turns.
///
/// A card whose bytes are not in memory is refused until fetched again if its authority was removed, or if another
/// policy is in force, which may refuse it.
pub(crate) fn reevaluate_all(context: &Context, cause: Cause) {
    let changed = (cause == Cause::Policy).then(|| context.policies.take_changed());
    for (object, last) in context.evaluated() {
        // A comment in the file, or a setting of another trust domain, concerns no card of this one.
        let signer = last.result.outcome.as_ref().ok().map(|proof| proof.spiffe_id.trust_domain());
        let concerns =
            |changed: &Changed| signer.is_none_or(|domain| changed.concerns(&context.policies, domain));
        if !changed.as_ref().is_none_or(concerns) {
            continue;
        }
        if !reevaluate_one(context, &object, cause) {
            context.enqueue(key::evaluation(object), Urgency::Urgent);
        }
    }
}

/// Evaluates a verified card again. True if the card is now refused; the status turn then enqueues a fetch.
pub(super) fn reevaluate_one(context: &Context, object: &ObjectRef, cause: Cause) -> bool {
    let Some(last) = context.evaluation(object) else { return false };
    let Ok(proof) = &last.result.outcome else { return false };
    match reevaluate(context, object, &last, now()) {
        Reevaluated::Refused(refused) => replace(context, object, &last, *refused),
        Reevaluated::Verified => false,
        Reevaluated::NotAtHand => {
            let refusal = without_bytes(context, &last, proof, cause);
            refusal.is_some_and(|refusal| replace(context, object, &last, refuse(&last, refusal)))
        }
    }
}

fn without_bytes(context: &Context, last: &Evaluation, proof: &Proof, cause: Cause) -> Option<Refusal> {
    let (domain, at) = (proof.spiffe_id.trust_domain(), now());
    let bundle = match context.bundles.get(domain, at) {
        Ok(bundle) => bundle,
        Err(refusal) => return Some(refusal),
    };
    if cause == Cause::Policy {
        let found = "another policy is in force and the card has not been fetched since";
        return Some(Refusal::new(Reason::FetchFailed, found));
    }
    without_authority(proof, &bundle)
        .or_else(|| unproven(last, &bundle, &context.policies.of(domain).policy, at))
}

/// Result of an evaluation from bytes in memory.
pub(super) enum Reevaluated {
    /// Bytes no longer prove a signer.
    Refused(Box<Evaluation>),
    /// Bytes still prove the signer.
    Verified,
    /// No bytes are in memory, or the card was not verified before.
    NotAtHand,
}

/// Refused evaluation that keeps workload, history and generation of `last`.
pub(super) fn refuse(last: &Evaluation, refusal: Refusal) -> Evaluation {
    Evaluation::refused(last.card.reference(), last.workload.clone(), refusal)
        .with_history(last.history.as_deref().cloned())
        .at(last.generation)
}

/// Replaces a verified evaluation by a refused one, and enqueues closing before status. False, without effect, if the
/// card was evaluated meanwhile.
pub(super) fn replace(context: &Context, object: &ObjectRef, last: &Evaluation, refused: Evaluation) -> bool {
    if !context.replace(object, last, refused.status_shown(false)) {
        return false;
    }
    if let Some(workload) = &last.workload {
        context.enqueue(workload_key::workload(workload.clone()), Urgency::Closing);
    }
    context.enqueue(key::status(object.clone()), Urgency::Urgent);
    true
}

/// Evaluates the bytes of a verified card as of `at`.
pub(super) fn reevaluate(
    context: &Context,
    object: &ObjectRef,
    last: &Evaluation,
    at: Timestamp,
) -> Reevaluated {
    let (Some(workload), Ok(_)) = (last.workload.clone(), &last.result.outcome) else {
        return Reevaluated::NotAtHand;
    };
    let Some((received, basis)) = last.kept() else { return Reevaluated::NotAtHand };
    let expected = &basis.expected;
    let bundle = match context.bundles.get(&expected.trust_domain, at) {
        Ok(bundle) => bundle,
        Err(refusal) => return Reevaluated::Refused(Box::new(refuse(last, refusal))),
    };
    let rules = context.policies.of(&expected.trust_domain);
    // The card is its own last accepted content, so the history serves as its witness and cannot refuse it as a
    // replay (rules 55 and 57).
    let history = last.history.as_deref();
    let own = own_hosts(&workload);
    let terms =
        Terms { history, ..basis.terms(&own, &bundle, (&rules.policy, Some(rules.digest)), expected, at) };
    let verification = evaluate(&received, terms);
    if verification.result.outcome.is_ok() {
        return match unproven(last, &bundle, &rules.policy, at) {
            Some(refusal) => Reevaluated::Refused(Box::new(refuse(last, refusal))),
            None => Reevaluated::Verified,
        };
    }
    let terms = terms.fingerprint(&received.source);
    // The refusal equals that of the next evaluation, so that status is written once.
    let basis = basis.under(terms);
    let evaluation = CardEvaluation::of(last.card.reference(), verification, (*received).clone(), basis);
    let evaluation = Evaluation::of(Some(workload), evaluation)
        .with_history(last.history.as_deref().cloned())
        .at(last.generation);
    // A removed authority can refuse a thousand cards at once; content that status has is not kept in memory as well.
    let is_shown = context
        .index
        .cards
        .get(object)
        .is_some_and(|card| card.shows(evaluation.result.card_id().as_deref()));
    let slim = if is_shown { evaluation.slimmed() } else { None };
    Reevaluated::Refused(Box::new(slim.unwrap_or(evaluation)))
}
