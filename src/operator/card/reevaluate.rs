//! Authorities changed: every card is judged again at once, from the bytes at hand, without asking any agent.
//! What is no longer proven is closed before anything is written about it.

use crate::context::Context;
use crate::index::ObjectRef;
use crate::key;
use countersign_controller::queue::Urgency;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use countersign_plan::agent_card::ending::unproven;
use countersign_plan::agent_card::evaluate::{Terms, evaluate};
use countersign_plan::agent_card::evaluation::{Basis, Evaluation};
use countersign_plan::agent_card::merge::CardEvaluation;

/// Judges every verified card again, and asks for turns where the outcome changed.
///
/// A card whose bytes are not at hand is refused until it is fetched again: that is asked for as well.
pub(crate) fn reevaluate_all(context: &Context) {
    for (object, _) in context.evaluated() {
        if !reevaluate_one(context, &object) {
            context.index.enqueue(key::card(object), Urgency::Urgent);
        }
    }
}

/// Judges a verified card again. True if it no longer is: that is said, and then the card is asked for.
pub(super) fn reevaluate_one(context: &Context, object: &ObjectRef) -> bool {
    let Some(last) = context.evaluation(object).filter(|last| last.result.outcome.is_ok()) else {
        return false;
    };
    let without_bytes = || {
        let found = "the authorities changed and the card has not been fetched since";
        Refusal::new(Reason::AnchorUnknown, found)
    };
    match reevaluate(context, object, &last, now()) {
        Reevaluated::Refused(refused) => replace(context, object, &last, *refused),
        Reevaluated::Verified => false,
        Reevaluated::NotAtHand => replace(context, object, &last, refuse(&last, without_bytes())),
    }
}

/// What judging the bytes at hand came to.
pub(super) enum Reevaluated {
    /// They prove nothing any more.
    Refused(Box<Evaluation>),
    /// They still do.
    Verified,
    /// There are none.
    NotAtHand,
}

/// A refusal in the place of a evaluation.
pub(super) fn refuse(last: &Evaluation, refusal: Refusal) -> Evaluation {
    Evaluation::refused(last.card.reference(), last.workload.clone(), refusal)
        .with_history(last.history.as_deref().cloned())
        .at(last.generation)
}

/// Puts a refusal in the place of a verified evaluation, unless the card was judged again meanwhile: what is open is
/// closed, and then it is said.
pub(super) fn replace(context: &Context, object: &ObjectRef, last: &Evaluation, refused: Evaluation) -> bool {
    if !context.replace(object, last, refused.said(false)) {
        return false;
    }
    if let Some(workload) = &last.workload {
        context.index.enqueue(key::workload(workload.clone()), Urgency::Closing);
    }
    context.index.enqueue(key::status(object.clone()), Urgency::Urgent);
    true
}

/// Judges the bytes of a verified card as of `at`.
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
    let policy = context.policy(expected.trust_domain.clone());
    // It was accepted before: that is its witness, and no other card is remembered against it.
    let history = last.history.as_deref();
    let terms = Terms { history, ..basis.terms(&bundle, (&policy, context.rules), expected, at) };
    let verification = evaluate(&received, terms);
    if verification.result.outcome.is_ok() {
        return match unproven(last, &bundle, &policy, at) {
            Some(refusal) => Reevaluated::Refused(Box::new(refuse(last, refusal))),
            None => Reevaluated::Verified,
        };
    }
    let terms = terms.fingerprint(&received.source);
    // Everything that the next look will find, so that status is written once.
    let basis = Basis { terms, ..(*basis).clone() };
    let evaluation = CardEvaluation::of(last.card.reference(), verification, (*received).clone(), basis);
    let evaluation = Evaluation::of(Some(workload), evaluation)
        .with_history(last.history.as_deref().cloned())
        .at(last.generation);
    // A thousand cards at once: what status has of them is not kept beside it.
    let is_shown = context
        .index
        .cards
        .get(object)
        .is_some_and(|card| card.has_content && card.status.card_id == evaluation.result.card_id());
    let slim = if is_shown { evaluation.slimmed() } else { None };
    Reevaluated::Refused(Box::new(slim.unwrap_or(evaluation)))
}
