//! End of proofs by the clock: at its end a card is evaluated again from the bytes in memory, and access without a
//! proof is closed (rule 59). No fetch comes first, so that no agent can delay the closing.

use super::key;
use super::reevaluate::{Reevaluated, reevaluate, refuse, replace};
use crate::context::Context;
use countersign_controller::queue::Urgency;
use countersign_core::time::Timestamp;
use countersign_plan::agent_card::ending::{next_check, without_bytes, witness};

/// Evaluates every card again whose proof may have ended by `now`.
pub(crate) fn end_proofs(context: &Context, now: Timestamp) {
    for object in context.ending(now) {
        let Some(last) = context.evaluation(&object) else { continue };
        let Ok(proof) = &last.result.outcome else { continue };
        let ended = match reevaluate(context, &object, &last, now) {
            Reevaluated::Refused(refused) => Some(*refused),
            Reevaluated::Verified => None,
            Reevaluated::NotAtHand => without_bytes(context.freshness(proof), proof, witness(&last), now)
                .map(|refusal| refuse(&last, refusal)),
        };
        match ended {
            Some(refused) => {
                if replace(context, &object, &last, refused) {
                    context.enqueue(key::evaluation(object), Urgency::Urgent);
                }
            }
            None => context.postpone(
                &object,
                &last,
                next_check(context.freshness(proof), proof, witness(&last), now),
            ),
        }
    }
}
