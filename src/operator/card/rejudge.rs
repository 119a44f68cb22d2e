//! Authorities changed: every card is judged again at once, from the bytes at hand, without asking any agent.
//! What is no longer proven is closed before anything is written about it.

use super::judge::{Terms, judge};
use super::judgement::{Basis, Judgement};
use super::look::Look;
use crate::context::Context;
use crate::index::ObjectRef;
use crate::key;
use countersign_controller::queue::Urgency;
use countersign_core::bundle::Bundle;
use countersign_core::policy::{Freshness, Policy};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use countersign_io::clock::now;

/// Judges every verified card again, and asks for turns where the outcome changed.
///
/// A card whose bytes are not at hand is refused until it is fetched again: that is asked for as well.
pub(crate) fn rejudge_all(context: &Context) {
    for (object, _) in context.judged() {
        if !rejudge_one(context, &object) {
            context.index.enqueue(key::card(object), Urgency::Urgent);
        }
    }
}

/// Judges a verified card again. True if it no longer is: that is said, and then the card is asked for.
pub(super) fn rejudge_one(context: &Context, object: &ObjectRef) -> bool {
    let Some(last) = context.judgement(object).filter(|last| last.finding.outcome.is_ok()) else {
        return false;
    };
    let without_bytes = || {
        let found = "the authorities changed and the card has not been fetched since";
        Refusal::new(Reason::AnchorUnknown, found)
    };
    match rejudge(context, object, &last, now()) {
        Rejudged::Refused(refused) => replace(context, object, &last, *refused),
        Rejudged::Verified => false,
        Rejudged::NotAtHand => replace(context, object, &last, refuse(&last, without_bytes())),
    }
}

/// What judging the bytes at hand came to.
pub(super) enum Rejudged {
    /// They prove nothing any more.
    Refused(Box<Judgement>),
    /// They still do.
    Verified,
    /// There are none.
    NotAtHand,
}

/// A refusal in the place of a judgement.
pub(super) fn refuse(last: &Judgement, refusal: Refusal) -> Judgement {
    Judgement::refused(last.judged.card(), last.workload.clone(), refusal)
        .with_history(last.history.as_deref().cloned())
        .at(last.generation)
}

/// Puts a refusal in the place of a verified judgement, unless the card was judged again meanwhile: what is open is
/// closed, and then it is said.
pub(super) fn replace(context: &Context, object: &ObjectRef, last: &Judgement, refused: Judgement) -> bool {
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
pub(super) fn rejudge(context: &Context, object: &ObjectRef, last: &Judgement, at: Timestamp) -> Rejudged {
    let (Some(workload), Ok(_)) = (last.workload.clone(), &last.finding.outcome) else {
        return Rejudged::NotAtHand;
    };
    let Some((received, basis)) = last.kept() else { return Rejudged::NotAtHand };
    let expected = &basis.expected;
    let bundle = match context.bundles.get(&expected.trust_domain, at) {
        Ok(bundle) => bundle,
        Err(refusal) => return Rejudged::Refused(Box::new(refuse(last, refusal))),
    };
    let policy = context.policy(expected.trust_domain.clone());
    // It was accepted before: that is its witness, and no other card is remembered against it.
    let history = last.history.as_deref();
    let terms = Terms { history, ..basis.terms(&bundle, (&policy, context.rules), expected, at) };
    let judged = judge(&received, terms);
    if judged.finding.outcome.is_ok() {
        return match unproven(last, &bundle, &policy, at) {
            Some(refusal) => Rejudged::Refused(Box::new(refuse(last, refusal))),
            None => Rejudged::Verified,
        };
    }
    let terms = terms.fingerprint(&received.source);
    // Everything that the next look will find, so that status is written once.
    let basis = Basis { terms, ..(*basis).clone() };
    let look = Look::of(last.judged.card(), judged, (*received).clone(), basis);
    let judgement = Judgement::of(Some(workload), look)
        .with_history(last.history.as_deref().cloned())
        .at(last.generation);
    // A thousand cards at once: what status has of them is not kept beside it.
    let is_shown = context
        .index
        .cards
        .get(object)
        .is_some_and(|card| card.has_content && card.status.card_id == judgement.finding.card_id());
    let slim = if is_shown { judgement.slimmed() } else { None };
    Rejudged::Refused(Box::new(slim.unwrap_or(judgement)))
}

/// Why the proof of another replica than the one whose card is kept counts no longer, if it does not.
fn unproven(last: &Judgement, bundle: &Bundle, policy: &Policy, at: Timestamp) -> Option<Refusal> {
    last.replicas.iter().find_map(|look| {
        let proof = look.look.finding.outcome.as_ref().ok()?;
        let refusal = |reason, what: &str| {
            Refusal::new(reason, format!("replica {}: {what}", Quoted(&look.replica.name)))
        };
        let is_known = |anchor| bundle.anchors().iter().any(|known| known.sha256() == anchor);
        if proof.anchor.is_some_and(|anchor| !is_known(anchor)) {
            return Some(refusal(Reason::AnchorUnknown, "the authority of its card was removed"));
        }
        if at <= proof.valid_until.plus(policy.chain.skew) {
            return None;
        }
        let Freshness::Witnessed { max_age } = policy.freshness else {
            return Some(refusal(Reason::CertificateExpired, "its card ended and was not fetched since"));
        };
        let witness = last.history.as_ref().and_then(|history| history.witness(proof.accepted.content()));
        let holds = witness.is_some_and(|witness| at.since(witness) <= i64::from(max_age.get()));
        (!holds).then(|| refusal(Reason::WitnessTooOld, "its card ended and was not fetched since"))
    })
}
