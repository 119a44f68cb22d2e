//! What is remembered of a workload's accepted cards, as plain data that an owner can persist.
//! It stops replays of older content and downgrades (rule 55) and carries the witnesses of freshness (rule 57).
//!
//! Replicas of a workload sign the same content with leaves of different age, and sign it again before a leaf ends.
//! What is remembered is therefore the signed content, not the signature: only *other* content can be a replay.

use super::canon::Profile;
use super::encoding::Digest;
use super::limits::{REPLAY_CONTENTS, REPLAY_OVERLAP_SECONDS, WITNESS_RENEWALS};
use super::policy::Freshness;
use super::refusal::{Reason, Refusal};
use super::time::{Seconds, Timestamp};
use super::verify::SignedCard;

/// The memory of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The contents that the workload serves, in the order of their digests, at most [`REPLAY_CONTENTS`]. None are
    /// known of a workload whose memory was written before contents were kept.
    pub contents: Vec<Content>,
    /// The newest signature over a content that is served no longer. Other content counts only if its `iat` is later.
    pub issued_after: Option<Timestamp>,
    /// Start of the oldest leaf in use when a content was last replaced. Other content that has no `iat` counts only
    /// under a leaf that is not older.
    pub leaf_not_before: Option<Timestamp>,
    /// The strongest profile that an accepted card was signed with.
    pub profile: Profile,
}

/// One content that a workload serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the canonical form that is signed.
    pub digest: Digest,
    /// When it was verified under a valid leaf. Renewed now and then, and only under `witnessed`.
    pub witnessed_at: Timestamp,
    /// When it was last signed, as far as it is known.
    pub signed_at: Option<Timestamp>,
}

/// What one accepted card adds to the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    content: Digest,
    profile: Profile,
    issued_at: Option<Timestamp>,
    /// None for a pinned key, which has no certificate.
    leaf_not_before: Option<Timestamp>,
    is_live: bool,
}

impl Accepted {
    /// What is worth remembering of a verified card.
    pub fn of(card: &SignedCard) -> Self {
        Self {
            content: card.content(),
            profile: card.profile(),
            issued_at: card.issued_at(),
            leaf_not_before: card.anchor().map(|_| card.not_before()),
            is_live: card.is_live(),
        }
    }

    /// SHA-256 of the signed content.
    pub const fn content(&self) -> Digest {
        self.content
    }

    /// True if its certificates were valid; false if it counted by a witness.
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    /// When it was signed at the earliest: an `iat` lies within the life of the leaf.
    fn signed_at(&self) -> Option<Timestamp> {
        self.issued_at.or(self.leaf_not_before)
    }
}

/// How much of a workload one look has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What every replica serves: a content that none of them has is gone.
    Everything,
    /// What some replicas serve: nothing is forgotten.
    Part,
}

impl History {
    /// The memory after one look at `now` accepted these cards; `None` as long as none was ever accepted.
    ///
    /// Signing the same content again changes nothing but `signed_at`; see [`Self::restates`].
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
                .map(|card| card.profile)
                .fold(before.map_or(first.profile, |before| before.profile), Profile::min),
        };
        match seen {
            Seen::Part => after.contents.extend(gone),
            // What has no room is served all the same: nothing may be taken for older than it.
            Seen::Everything if after.contents.len() > REPLAY_CONTENTS => {}
            Seen::Everything if !gone.is_empty() => after.replace(&gone, accepted),
            Seen::Everything if after.issued_after.is_none() => after.begin(accepted),
            Seen::Everything => {}
        }
        // What is served stands first: it is not what has to go.
        after.contents.truncate(REPLAY_CONTENTS);
        after.contents.sort_by_key(|content| content.digest);
        Some(after)
    }

    /// The first look at all replicas: what was signed before any of their cards is older than they are.
    fn begin(&mut self, accepted: &[Accepted]) {
        self.issued_after = before_all(accepted);
        self.leaf_not_before = oldest_leaf(accepted);
    }

    /// Every replica was seen, and none serves these contents any more: no signature over them counts again, and
    /// what comes later is signed later, under one of the leaves in use or a newer one.
    fn replace(&mut self, gone: &[Content], accepted: &[Accepted]) {
        let newest = gone.iter().map(|content| content.signed_at).max().flatten();
        // Of the last signatures over it not all may be known, but what is served now was signed after it began to go.
        self.issued_after = self.issued_after.max(newest).max(before_all(accepted));
        self.leaf_not_before = self.leaf_not_before.max(oldest_leaf(accepted));
    }

    /// True if this says the same as `before`, but for when the same contents were signed. That need not be
    /// persisted: the next look finds it again.
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

    /// When this content was last known to be verified under a valid leaf, if it is one of those that are served.
    pub fn witness(&self, content: Digest) -> Option<Timestamp> {
        self.contents.iter().find(|known| known.digest == content).map(|known| known.witnessed_at)
    }

    /// Refuses other content that is older, or protected less, than what was accepted before (rule 55).
    pub fn refuse_replay(&self, card: &SignedCard) -> Result<(), Refusal> {
        let card = &Accepted::of(card);
        // Without a content there is nothing to be older than: a memory that was written before contents were kept.
        if self.contents.is_empty() || self.witness(card.content).is_some() {
            return Ok(());
        }
        // A leaf is issued before it signs, and replicas renew theirs at different times.
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
        if card.profile.strips() && !self.profile.strips() {
            let found = format!(
                "the card is signed with {}, which leaves no trace of empty members; {} was used before",
                card.profile, self.profile
            );
            return Err(Refusal::new(Reason::ReplayWeaker, found));
        }
        Ok(())
    }
}

/// The last second before the oldest of these cards was signed: what was signed in the same one is not older.
fn before_all(accepted: &[Accepted]) -> Option<Timestamp> {
    let oldest = accepted.iter().map(Accepted::signed_at).min().flatten();
    oldest.map(|at| at.minus(Seconds::new(1)))
}

fn oldest_leaf(accepted: &[Accepted]) -> Option<Timestamp> {
    accepted.iter().filter_map(|card| card.leaf_not_before).min()
}

/// Under `witnessed` the age of a witness counts, so it must not be that of the first of many signatures; a fraction
/// of the longest age makes that a few writes per age.
fn renew(content: &mut Content, freshness: Freshness, now: Timestamp) {
    if let Freshness::Witnessed { max_age } = freshness
        && now.since(content.witnessed_at) >= i64::from(max_age.get().div_ceil(WITNESS_RENEWALS))
    {
        content.witnessed_at = now;
    }
}
