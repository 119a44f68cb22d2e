//! End of proofs: the time at which a card has to be evaluated again, and the refusal of a card whose bytes are no
//! longer in memory (rules 57 and 59).

use super::evaluation::Evaluation;
use super::result::Proof;
use countersign_core::bundle::Bundle;
use countersign_core::limits::CLOCK_SKEW_MAX;
use countersign_core::policy::{Freshness, Policy};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_core::time::{Seconds, Timestamp};

/// Evaluation period of a witnessed card after its leaf has expired: its authority may expire as well.
const WITNESSED: Seconds = Seconds::new(60);

/// First time after `now` at which a proof that holds now may have ended. Within the clock skew after
/// `valid_until` that is every second, because the proof does not tell which certificate ends it.
pub fn next_check(
    freshness: Freshness,
    proof: &Proof,
    witnessed_at: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let soon = now.plus(Seconds::new(1));
    if proof.valid_until > now {
        return proof.valid_until.plus(Seconds::new(1));
    }
    match freshness {
        Freshness::Witnessed { max_age } if now > end_of_leaf(proof) => {
            // Without a witness nothing outlives the leaf, so the next check ends the proof.
            let end = witnessed_at.map_or(soon, |at| at.plus(max_age).plus(Seconds::new(1)));
            end.min(now.plus(WITNESSED)).max(soon)
        }
        Freshness::Live | Freshness::Witnessed { .. } => soon,
    }
}

/// Time at which the proven content was last verified under a valid leaf (rule 57).
pub fn witness(evaluation: &Evaluation) -> Option<Timestamp> {
    let proof = evaluation.result.outcome.as_ref().ok()?;
    evaluation.history.as_ref()?.witness(proof.accepted.content())
}

/// Last second at which leaf and signature are valid, with the clock skew.
fn end_of_leaf(proof: &Proof) -> Timestamp {
    proof.not_after.plus(CLOCK_SKEW_MAX)
}

/// Refusal of a card without bytes in memory, if its proof has ended by `now`.
pub fn without_bytes(
    freshness: Freshness,
    proof: &Proof,
    witnessed_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Refusal> {
    let end = match freshness {
        // `valid_until` is the first end of all certificates of the chain, so nothing outlives it (rule 38).
        Freshness::Live => proof.valid_until.plus(CLOCK_SKEW_MAX),
        Freshness::Witnessed { max_age } => {
            witnessed_at.map_or(end_of_leaf(proof), |at| end_of_leaf(proof).max(at.plus(max_age)))
        }
    };
    (now > end).then(|| {
        let found =
            format!("the last second of the proof was {end}, and the card has not been fetched since");
        Refusal::new(Reason::CertificateExpired, found)
    })
}

/// Refusal of a card without bytes in memory, after a change of authorities: only if its own authority was removed.
pub fn without_authority(proof: &Proof, bundle: &Bundle) -> Option<Refusal> {
    let is_known = |anchor| bundle.anchors().iter().any(|known| known.sha256() == anchor);
    proof
        .anchor
        .is_some_and(|anchor| !is_known(anchor))
        .then(|| Refusal::new(Reason::AnchorUnknown, "the authority of the card was removed"))
}

/// Refusal of the first replica whose proof no longer holds. It covers replicas whose bytes are not kept, which
/// cannot be evaluated again: authority removed, leaf expired, or witness too old.
pub fn unproven(last: &Evaluation, bundle: &Bundle, policy: &Policy, at: Timestamp) -> Option<Refusal> {
    last.replicas.iter().find_map(|served| {
        let proof = served.evaluation.result.outcome.as_ref().ok()?;
        let refusal = |reason, what: &str| {
            Refusal::new(reason, format!("replica {}: {what}", Quoted(&served.replica.name)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_795_219_200);

    fn after(seconds: u32) -> Timestamp {
        NOW.plus(Seconds::new(seconds))
    }

    #[test]
    fn rule_59_a_card_is_judged_again_in_the_first_second_after_its_proof() {
        let witnessed = Freshness::Witnessed { max_age: Seconds::new(3600) };
        let skew = CLOCK_SKEW_MAX.get();
        for (freshness, not_after, now, expected) in [
            (Freshness::Live, 100, 0, 101),
            (Freshness::Live, 100, 99, 101),
            // Within the clock skew any second may be the last.
            (Freshness::Live, 100, 100, 101),
            (Freshness::Live, 100, 130, 131),
            (witnessed, 100, 0, 101),
            (witnessed, 100, 100 + skew, 101 + skew),
            (witnessed, 100, 101 + skew, 161 + skew),
            // The witness ends after 3600 s.
            (witnessed, 100, 3590, 3601),
            (witnessed, 100, 3600, 3601),
            (witnessed, 100, 4000, 4001),
        ] {
            let check = next_check(freshness, &Proof::for_test(after(not_after)), Some(NOW), after(now));
            assert_eq!(check, after(expected), "{freshness:?}, {not_after}, {now}");
        }
    }
}
