//! Authorities changed: every card is judged again at once, from the bytes at hand, without asking any agent.
//! What is no longer proven is closed before anything is written about it.

use super::judge::judge;
use super::judgement::{Basis, Judgement};
use super::look::{Look, ReplicaLook};
use crate::core::bundle::Bundle;
use crate::core::refusal::{Reason, Refusal};
use crate::core::text::Quoted;
use crate::io::clock::now;
use crate::operator::context::Context;
use crate::operator::key::Key;
use crate::operator::queue::Urgency;
use crate::operator::world::Place;

/// Judges every verified card again, and asks for turns where the outcome changed.
///
/// A card whose bytes are not at hand is refused until it is fetched again: that is asked for as well.
pub(crate) fn rejudge_all(context: &Context) {
    for (place, last) in context.judged() {
        if last.finding.outcome.is_ok() {
            let Some(now_refused) = rejudge(context, &place, &last) else { continue };
            context.judge(&place, now_refused.said(false));
            if let Some(workload) = &last.workload {
                context.world.ask(Key::Workload(workload.clone()), Urgency::Closing);
            }
        }
        context.world.ask(Key::Card(place), Urgency::Urgent);
    }
}

/// The first replica whose card was signed under an authority that is gone: only one card is kept for all.
fn orphaned(last: &Judgement, bundle: &Bundle) -> Option<Refusal> {
    let is_gone = |look: &&ReplicaLook| {
        let anchor = look.look.finding.outcome.as_ref().ok().and_then(|proof| proof.anchor);
        anchor.is_some_and(|anchor| bundle.anchors().iter().all(|known| known.sha256() != anchor))
    };
    let orphan = last.replicas.iter().find(is_gone)?;
    let found = format!("replica {}: the authority of its card was removed", Quoted(&orphan.replica.name));
    Some(Refusal::new(Reason::AnchorUnknown, found))
}

/// The new judgement of a card that was verified, if it no longer is.
fn rejudge(context: &Context, place: &Place, last: &Judgement) -> Option<Judgement> {
    let card = context.world.cards.get(place)?;
    let refuse = |refusal| Some(Judgement::refused(&card.reference, last.workload.clone(), refusal));
    let (Some(workload), Some((received, basis))) = (last.workload.clone(), last.kept()) else {
        return refuse(Refusal::new(
            Reason::AnchorUnknown,
            "the authorities changed and the card has not been fetched since",
        ));
    };
    let at = now();
    let expected = &basis.expected;
    let bundle = match context.bundles.get(&expected.trust_domain, at) {
        Ok(bundle) => bundle,
        Err(refusal) => return refuse(refusal),
    };
    let policy = context.policy(expected.trust_domain.clone());
    let terms = basis.terms(&bundle, (&policy, context.rules), expected, at);
    let judged = judge(&received, terms);
    if judged.finding.outcome.is_ok() {
        return orphaned(last, &bundle).and_then(refuse);
    }
    let terms = terms.fingerprint(&received.source);
    // Everything that the next look will find, so that status is written once.
    let basis = Basis { terms, ..(*basis).clone() };
    let look = Look::of(&card.reference, judged, (*received).clone(), basis);
    let judgement = Judgement::of(Some(workload), look);
    // A thousand cards at once: what status has of them is not kept beside it.
    let is_shown = card.has_content && card.status.card_id == judgement.finding.card_id();
    Some(if is_shown { judgement.slimmed().unwrap_or(judgement) } else { judgement })
}
