//! What is remembered of a workload's last accepted card, as plain data that an owner can persist.
//! It stops replays of older cards and downgrades (rule 55) and carries the witness of freshness (rule 57).

use super::canon::Profile;
use super::encoding::Digest;
use super::jws::Algorithm;
use super::limits::REPLAY_OVERLAP_SECONDS;
use super::refusal::{Reason, Refusal};
use super::time::{Seconds, Timestamp};
use super::verify::SignedCard;

/// The memory of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The highest `notBefore` of an accepted leaf.
    pub leaf_not_before: Timestamp,
    /// SHA-256 of the last accepted card, as received.
    pub digest: Digest,
    /// When exactly that card was first verified.
    pub first_verified: Timestamp,
    /// The strongest profile that an accepted card was signed with.
    pub profile: Profile,
    /// The algorithm of the last accepted signature.
    pub algorithm: Algorithm,
}

impl History {
    /// The memory after `card` was accepted at `now`. Equal to `before` if nothing changed.
    pub fn after(before: Option<&Self>, card: &SignedCard, now: Timestamp) -> Self {
        let same_card = before.filter(|before| before.digest == card.digest());
        let newest = before.map_or(card.not_before(), |before| before.leaf_not_before.max(card.not_before()));
        let strongest = before.map_or(card.profile(), |before| before.profile.min(card.profile()));
        Self {
            leaf_not_before: newest,
            digest: card.digest(),
            first_verified: same_card.map_or(now, |before| before.first_verified),
            profile: strongest,
            algorithm: card.algorithm(),
        }
    }

    /// When exactly this card was first verified, if it was the last accepted one.
    pub fn witness(&self, digest: Digest) -> Option<Timestamp> {
        (self.digest == digest).then_some(self.first_verified)
    }

    /// Refuses a card that is older, or protected less, than the one accepted before (rule 55).
    pub fn refuse_replay(&self, card: &SignedCard) -> Result<(), Refusal> {
        let overlap = Seconds::new(REPLAY_OVERLAP_SECONDS);
        if card.not_before().plus(overlap) < self.leaf_not_before {
            let found = format!(
                "the leaf is valid from {}, but a card with a leaf from {} was accepted before",
                card.not_before(),
                self.leaf_not_before
            );
            return Err(Refusal::new(Reason::ReplayOlderCard, found));
        }
        if card.profile().strips() && !self.profile.strips() {
            let found = format!(
                "the card is signed with {}, which leaves no trace of empty members; {} was used before",
                card.profile(),
                self.profile
            );
            return Err(Refusal::new(Reason::ReplayWeaker, found));
        }
        Ok(())
    }
}
