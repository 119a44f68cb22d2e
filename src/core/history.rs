//! The memory of a workload's accepted cards, as plain data that an owner persists. It stops replays of older content
//! and downgrades (rule 55), and carries the witnesses of freshness (rule 57).
//!
//! Replicas of a workload sign equal content under leaves of different age, and sign it again before a leaf ends.
//! The memory therefore holds the signed content, not the signature: only *other* content can be a replay.

use super::canon::{Profile, ProfileSet};
use super::encoding::Digest;
use super::limits::{REPLAY_CONTENTS, REPLAY_OVERLAP_SECONDS, WITNESS_RENEWALS};
use super::policy::Freshness;
use super::refusal::{Reason, Refusal};
use super::time::{Seconds, Timestamp};

/// The memory of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Contents that the workload serves, sorted by digest, at most [`REPLAY_CONTENTS`]. Empty in a memory that was
    /// written by a version that stored no contents; no card is then a replay.
    pub contents: Vec<Content>,
    /// Time of the newest signature over content that is no longer served. Other content is accepted only with a later
    /// `iat`.
    pub issued_after: Option<Timestamp>,
    /// `notBefore` of the oldest leaf in use when content was last replaced. Other content without `iat` is accepted
    /// only under a leaf that is not older.
    pub leaf_not_before: Option<Timestamp>,
    /// The strongest profile of any accepted signature, for people; nothing is refused by it, since whoever writes the
    /// card down decides under which profile a signature verifies.
    pub profile: Profile,
    /// True once a signature was accepted whose header says that it covers the whole document. Other content then needs
    /// such a signature.
    pub names_form: bool,
    /// The forms that leave out a member that decides about security of content that is served. Other content whose
    /// signature may have been made over one of them is accepted only if it was signed later.
    pub weaker_forms: ProfileSet,
}

/// Signed content that a workload serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the signed canonical form.
    pub digest: Digest,
    /// Time at which the content was verified under a valid leaf. Renewed a few times within the longest age, and only
    /// under `witnessed` freshness (rule 57).
    pub witnessed_at: Timestamp,
    /// Time of the last known signature over the content; `None` if unknown, as for a pinned key without `iat`.
    pub signed_at: Option<Timestamp>,
}

/// The forms of one accepted signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignedForms {
    /// The profile under which the signature verified.
    pub(crate) profile: Profile,
    /// True if the header says that the whole document was signed.
    pub(crate) names_whole: bool,
    /// The forms other than the whole document that the signature may have been made over.
    pub(crate) possible: ProfileSet,
    /// The forms that leave out a member of the signed document that decides about security.
    pub(crate) weaker: ProfileSet,
}

/// The facts that one accepted card adds to the memory of its workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    content: Digest,
    forms: SignedForms,
    issued_at: Option<Timestamp>,
    /// `notBefore` of the leaf; `None` for a pinned key, which has no certificate.
    leaf_not_before: Option<Timestamp>,
    is_live: bool,
}

impl Accepted {
    /// Entry of a card that was verified; [`crate::verify::SignedCard::accepted`] makes it from the proof.
    pub(crate) const fn new(
        content: Digest,
        forms: SignedForms,
        issued_at: Option<Timestamp>,
        leaf_not_before: Option<Timestamp>,
        is_live: bool,
    ) -> Self {
        Self { content, forms, issued_at, leaf_not_before, is_live }
    }

    /// SHA-256 of the signed content.
    pub const fn content(&self) -> Digest {
        self.content
    }

    /// True if the card's certificates were valid; false if a witness stood in for an expired leaf (rule 57).
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    /// The earliest possible time of the signature: `iat`, or the start of the leaf, because rule 56 keeps `iat` within
    /// the life of the leaf.
    fn signed_at(&self) -> Option<Timestamp> {
        self.issued_at.or(self.leaf_not_before)
    }
}

/// The part of a workload's replicas whose cards were read in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Every replica was read: content that none of them serves is no longer served.
    Everything,
    /// Some replicas were not read: no content is forgotten.
    Part,
}

impl History {
    /// Returns the memory of a workload after a round at `now` that accepted the cards `accepted`; `before` is the
    /// memory from earlier rounds. Without an accepted card `before` stays, and is `None` if no card was ever accepted.
    ///
    /// If the round read every replica (`seen`), content that no accepted card carries is taken out, and its earlier
    /// signatures are replays from then on (rule 55), unless more than [`REPLAY_CONTENTS`] contents are served. A new
    /// signature over known content changes `signed_at`, which need not be persisted ([`Self::restates`]), and moves
    /// `witnessed_at` only if a renewal is due (rule 57).
    pub fn after(
        before: Option<&Self>,
        accepted: &[Accepted],
        seen: Seen,
        freshness: Freshness,
        now: Timestamp,
    ) -> Option<Self> {
        let Some(first) = accepted.first() else { return before.cloned() };
        let known = before.map_or(&[][..], |before| &before.contents);
        let is_served = |content: &Content| accepted.iter().any(|card| card.content == content.digest);
        let (mut contents, gone): (Vec<Content>, Vec<Content>) = known.iter().copied().partition(is_served);
        for card in accepted {
            if let Some(content) = contents.iter_mut().find(|content| content.digest == card.content) {
                content.signed_at = content.signed_at.max(card.signed_at());
                if card.is_live {
                    renew(content, freshness, now);
                }
            } else {
                contents.push(Content {
                    digest: card.content,
                    witnessed_at: now,
                    signed_at: card.signed_at(),
                });
            }
        }
        let mut after = Self {
            contents,
            issued_after: before.and_then(|before| before.issued_after),
            leaf_not_before: before.and_then(|before| before.leaf_not_before),
            profile: accepted
                .iter()
                .map(|card| card.forms.profile)
                .fold(before.map_or(first.forms.profile, |before| before.profile), Profile::min),
            names_form: before.is_some_and(|before| before.names_form)
                || accepted.iter().any(|card| card.forms.names_whole),
            weaker_forms: accepted.iter().map(|card| card.forms.weaker).fold(
                match (seen, before) {
                    (Seen::Part, Some(before)) => before.weaker_forms,
                    _ => ProfileSet::NONE,
                },
                ProfileSet::union,
            ),
        };
        match seen {
            Seen::Part => after.contents.extend(gone),
            // More contents than fit are served. One that was dropped is unknown, not older: raising the floor would
            // refuse it as a replay (rule 55).
            Seen::Everything if after.contents.len() > REPLAY_CONTENTS => {}
            Seen::Everything if !gone.is_empty() => after.replace(&gone, accepted),
            Seen::Everything if after.issued_after.is_none() => after.begin(accepted),
            Seen::Everything => {}
        }
        // Served contents come first, so that truncation drops only contents that no replica was seen to serve.
        after.contents.truncate(REPLAY_CONTENTS);
        after.contents.sort_by_key(|content| content.digest);
        Some(after)
    }

    /// Sets `issued_after` and `leaf_not_before` after the first round that read every replica: any earlier signature is older than every served
    /// card.
    fn begin(&mut self, accepted: &[Accepted]) {
        self.issued_after = before_all(accepted);
        self.leaf_not_before = oldest_leaf(accepted);
    }

    /// Raises `issued_after` and `leaf_not_before` after every replica was read and none serves the contents `gone`: no signature over them is
    /// accepted again. New content is signed later, under a leaf in use or a newer one.
    fn replace(&mut self, gone: &[Content], accepted: &[Accepted]) {
        let newest = gone.iter().map(|content| content.signed_at).max().flatten();
        // The last signatures over `gone` may be unknown. Served cards were signed after the rollout began, so the
        // floor rises to just before the oldest of them.
        self.issued_after = self.issued_after.max(newest).max(before_all(accepted));
        self.leaf_not_before = self.leaf_not_before.max(oldest_leaf(accepted));
    }

    /// True if this memory differs from `before` in `signed_at` at most, which need not be persisted: the next round
    /// reads it again.
    pub fn restates(&self, before: &Self) -> bool {
        let unsigned = |history: &Self| Self {
            contents: history
                .contents
                .iter()
                .map(|content| Content { signed_at: None, ..*content })
                .collect(),
            ..*history
        };
        unsigned(self) == unsigned(before)
    }

    /// Time at which `content` was last recorded as verified under a valid leaf; `None` if the workload does not serve
    /// this content.
    pub fn witness(&self, content: Digest) -> Option<Timestamp> {
        self.contents.iter().find(|known| known.digest == content).map(|known| known.witnessed_at)
    }

    /// Completes a memory that was stored by a version without `names_form` and `weaker_forms`; every reader of a store
    /// calls it. Its content was signed in full, and a signature of the same moment over a form that leaves members out
    /// must not replace it.
    #[must_use]
    pub fn completed(mut self) -> Self {
        let is_whole = |profile: Profile| matches!(profile, Profile::JcsRaw | Profile::Spec841);
        let says_nothing = !self.names_form && self.weaker_forms == ProfileSet::NONE;
        if says_nothing && is_whole(self.profile) && !self.contents.is_empty() {
            let partial = Profile::ALL.into_iter().filter(|profile| !is_whole(*profile));
            self.weaker_forms = partial.fold(ProfileSet::NONE, ProfileSet::with);
        }
        self
    }

    /// Refuses a card whose content is not remembered and is older, or covered by a weaker signature, than accepted content
    /// (rule 55).
    pub fn refuse_replay(&self, card: &Accepted) -> Result<(), Refusal> {
        // A memory without contents was written by a version that stored none: no content can be older.
        if self.contents.is_empty() || self.witness(card.content).is_some() {
            return Ok(());
        }
        // Replicas renew their leaves at different times, so an honest one may still sign under a slightly older leaf.
        let overlap = Seconds::new(REPLAY_OVERLAP_SECONDS);
        let replay = match (card.issued_at, card.leaf_not_before) {
            (Some(found), _) => {
                self.issued_after.filter(|floor| found <= *floor).map(|floor| ("was signed", found, floor))
            }
            (None, Some(found)) => {
                let floor = self.leaf_not_before.filter(|floor| found.plus(overlap) < *floor);
                floor.map(|floor| ("is signed under a leaf from", found, floor))
            }
            (None, None) => None,
        };
        if let Some((how, found, floor)) = replay {
            let found = format!(
                "the card has other content than the workload serves, and {how} {found}; only what is newer than \
                 {floor} can replace it"
            );
            return Err(Refusal::new(Reason::ReplayOlderCard, found));
        }
        self.refuse_weaker(card)
    }

    /// Refuses other content whose signature may say less than those before. Signatures over several forms of one card
    /// are of the same moment, so their order does not tell that one of them was taken away.
    fn refuse_weaker(&self, card: &Accepted) -> Result<(), Refusal> {
        let profile = card.forms.profile;
        if self.names_form && !card.forms.names_whole {
            let found = format!(
                "the signature, over {profile}, does not say that it covers the whole card, as those before did"
            );
            return Err(Refusal::new(Reason::ReplayWeaker, found));
        }
        let newest = self.contents.iter().map(|content| content.signed_at).max().flatten();
        if card.forms.possible.meets(self.weaker_forms) && card.signed_at() <= newest {
            let forms: Vec<_> = card.forms.possible.iter().map(Profile::id).collect();
            let found = format!(
                "the signature may be over {}, which can leave out members that decide about security of the content \
                 that the workload serves, and is not newer",
                forms.join(" or ")
            );
            return Err(Refusal::new(Reason::ReplayWeaker, found));
        }
        Ok(())
    }
}

/// One second before the oldest of the accepted signatures: a signature of that second itself is not older.
fn before_all(accepted: &[Accepted]) -> Option<Timestamp> {
    let oldest = accepted.iter().map(Accepted::signed_at).min().flatten();
    oldest.map(|at| at.minus(Seconds::new(1)))
}

fn oldest_leaf(accepted: &[Accepted]) -> Option<Timestamp> {
    accepted.iter().filter_map(|card| card.leaf_not_before).min()
}

/// Moves the witness of live content to `now` once it is older than the longest age divided by [`WITNESS_RENEWALS`]:
/// the witness must not end while the content is verified, and each renewal is a write to the API server (rule 57).
fn renew(content: &mut Content, freshness: Freshness, now: Timestamp) {
    if let Freshness::Witnessed { max_age } = freshness
        && now.since(content.witnessed_at) >= i64::from(max_age.get().div_ceil(WITNESS_RENEWALS))
    {
        content.witnessed_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::sha256;

    #[test]
    fn a_memory_of_the_version_before_refuses_the_weaker_signature_of_the_same_moment() {
        let at = Timestamp::from_unix;
        let content = Content { digest: sha256(b"whole"), witnessed_at: at(100), signed_at: Some(at(100)) };
        let stored = History {
            contents: vec![content],
            issued_after: Some(at(99)),
            leaf_not_before: Some(at(50)),
            profile: Profile::JcsRaw,
            names_form: false,
            weaker_forms: ProfileSet::NONE,
        };
        let forms = SignedForms {
            profile: Profile::KagentiGo,
            names_whole: false,
            possible: ProfileSet::NONE.with(Profile::KagentiGo),
            weaker: ProfileSet::NONE,
        };
        let signed = |time| Accepted::new(sha256(b"stripped"), forms, Some(at(time)), Some(at(50)), true);
        let memory = stored.completed();
        assert_eq!(memory.refuse_replay(&signed(100)).unwrap_err().reason(), Reason::ReplayWeaker);
        assert_eq!(memory.refuse_replay(&signed(101)), Ok(()), "a later one heals it");
        assert_eq!(memory.clone().completed(), memory);
    }
}
