//! The canonical forms of a card, each written once and checked once (rule 49).

use super::signature::Candidate;
use crate::budget::WorkBudget;
use crate::canon::{Profile, ProfileSet, canonicalize_into};
use crate::card::Card;
use crate::encoding::{Digest, decode_own_base64url, encode_base64url_in_place, sha256};
use crate::refusal::Refusal;

/// The canonical forms that were tried, and the one buffer that each form is written into.
pub(super) struct Forms {
    /// The signing input: protected header, a dot, the form in base64url (RFC 7515 §5.1). The form is encoded in place:
    /// this buffer is as large as all other memory of a verification together.
    input: Vec<u8>,
    /// Offset of the form in `input`.
    prefix: usize,
    /// The profile of the form in `input`, and true if that form leaves nothing out.
    current: Option<(Profile, bool)>,
    /// Profiles under which a signature counts.
    allowed: ProfileSet,
    /// SHA-256 of the base64url text of each form that was tried.
    tried: Vec<(Profile, Digest)>,
    /// Refusals of the profiles that have no form for this card.
    inapplicable: Vec<Refusal>,
}

/// The canonical form that a verified signature covers.
pub(super) struct SignedForm {
    pub(super) profile: Profile,
    /// True if the form leaves out nothing but `signatures`.
    pub(super) complete: bool,
    pub(super) bytes: Vec<u8>,
}

impl Forms {
    /// Makes an empty buffer for the forms of a card of `size` bytes.
    pub(super) fn new(size: usize, allowed: ProfileSet) -> Self {
        Self {
            input: Vec::with_capacity(size.saturating_mul(4).div_ceil(3)),
            prefix: 0,
            current: None,
            allowed,
            tried: Vec::new(),
            inapplicable: Vec::new(),
        }
    }

    /// Writes the card under `profile` and checks the open signatures over the form, unless equal bytes were tried. Over a
    /// form that is not allowed, a signature stays open whatever the check says.
    pub(super) fn check(
        &mut self,
        card: &Card,
        profile: Profile,
        candidates: &mut [Candidate<'_>],
        budget: &mut WorkBudget,
    ) {
        let mut open = candidates.iter_mut().filter(|candidate| candidate.is_open()).peekable();
        let Some(first) = open.peek() else { return };
        // Most cards verify under the first form, so its digest is computed only when a second form is to be compared.
        if let Some((last, _)) = self.current
            && self.tried.last().is_none_or(|(tried, _)| *tried != last)
        {
            self.tried.push((last, sha256(self.encoded())));
        }
        if let Err(refusal) = self.write(card, profile, first.protected()) {
            if self.allowed.contains(profile) {
                self.inapplicable.push(refusal);
            }
            return;
        }
        if !self.tried.is_empty() {
            let digest = sha256(self.encoded());
            let equal = self.tried.iter().any(|(_, tried)| *tried == digest);
            self.tried.push((profile, digest));
            if equal {
                return;
            }
        }
        for candidate in open {
            self.replace_header(candidate.protected());
            if self.allowed.contains(profile) {
                candidate.check(&self.input, profile, budget);
            } else {
                candidate.check_disallowed(&self.input, profile, budget);
            }
        }
    }

    /// Writes the signing input `protected.base64url(form)` into the buffer.
    fn write(&mut self, card: &Card, profile: Profile, protected: &str) -> Result<(), Refusal> {
        self.current = None;
        let complete = canonicalize_into(card.document(), profile, &mut self.input)?;
        self.prefix = protected.len().saturating_add(1);
        encode_base64url_in_place(&mut self.input, self.prefix);
        if let Some((header, [dot, ..])) = self.input.split_at_mut_checked(protected.len()) {
            header.copy_from_slice(protected.as_bytes());
            *dot = b'.';
        }
        self.current = Some((profile, complete));
        Ok(())
    }

    /// Replaces the protected header in front of the form.
    fn replace_header(&mut self, protected: &str) {
        let old = self.input.get(..self.prefix).and_then(<[u8]>::split_last);
        if old.is_none_or(|(_, old)| old != protected.as_bytes()) {
            self.input.splice(..self.prefix, protected.bytes().chain(*b"."));
            self.prefix = protected.len().saturating_add(1);
        }
    }

    /// The form in the buffer, in base64url.
    fn encoded(&self) -> &[u8] {
        self.input.get(self.prefix..).unwrap_or_default()
    }

    /// SHA-256 of the form of `profile`. The form stays in the buffer, so that [`Self::take`] need not write it again.
    pub(super) fn content(&mut self, card: &Card, profile: Profile) -> Result<Digest, Refusal> {
        self.select(card, profile)?;
        Ok(sha256(&decode_own_base64url(self.encoded())?))
    }

    /// Takes the form of `profile`, decoded from the bytes that the signature was checked over. Frees the buffer.
    pub(super) fn take(&mut self, card: &Card, profile: Profile) -> Result<SignedForm, Refusal> {
        self.select(card, profile)?;
        let complete = self.current.take().is_some_and(|(_, complete)| complete);
        let bytes = decode_own_base64url(self.encoded())?;
        self.input = Vec::new();
        Ok(SignedForm { profile, complete, bytes })
    }

    /// Writes the form of `profile` into the buffer, unless it is there.
    fn select(&mut self, card: &Card, profile: Profile) -> Result<(), Refusal> {
        match self.current {
            Some((current, _)) if current == profile => Ok(()),
            _ => self.write(card, profile, ""),
        }
    }

    /// The allowed profiles that have a form for this card, in the order of trial.
    pub(super) fn profiles(&self) -> Vec<Profile> {
        let mut profiles: Vec<_> = self.tried.iter().map(|(profile, _)| *profile).collect();
        if let Some((last, _)) = self.current.filter(|(last, _)| !profiles.contains(last)) {
            profiles.push(last);
        }
        profiles.retain(|profile| self.allowed.contains(*profile));
        profiles
    }

    /// Takes the refusals of the profiles that have no form for this card.
    pub(super) fn take_inapplicable(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.inapplicable)
    }
}
