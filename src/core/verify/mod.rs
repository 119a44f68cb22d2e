//! Verification of a card over a bundle: which signature, over which bytes, by which workload.
//! Only [`verify_card`] makes a [`SignedCard`].

mod coverage;
mod outcome;
mod payload;
mod signature;
mod signed;

pub use outcome::{Rejection, SignatureOutcome};
pub(super) use signature::identity_mismatch;
pub use signed::{CoverageLevel, SignedCard};

use super::bundle::Bundle;
use super::canon::{Profile, canonicalize_into};
use super::card::Card;
use super::encoding::{Digest, decode_own_base64url, encode_base64url_in_place, sha256};
use super::history::History;
use super::limits::Budget;
use super::policy::Policy;
use super::refusal::{Reason, Refusal};
use super::spiffe::SpiffeId;
use super::time::Timestamp;
use super::x509::ProvenChains;
use signature::Candidate;

/// Inputs of a verification besides the card.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The authorities of the policy's trust domain.
    pub bundle: &'a Bundle,
    /// The acceptance policy of the trust domain.
    pub policy: &'a Policy,
    /// The SPIFFE ID that must have signed; `None` accepts any workload of the trust domain.
    pub expected: Option<&'a SpiffeId>,
    /// The memory of the workload, for `witnessed` freshness.
    pub history: Option<&'a History>,
    /// The time of the verification.
    pub now: Timestamp,
}

/// Verifies a card. Each signature is verified by itself, and a bad one never hides a good one (rule 54).
///
/// Headers, chains and identities come first, each once. Then the card is written in one canonical form after the
/// other, and each open signature is checked over the form; equal bytes are never checked twice (rule 49).
/// `policy.budget` bounds the work.
pub fn verify_card(card: &Card, against: Against<'_>) -> Result<SignedCard, Box<Rejection>> {
    let Against { bundle, policy, .. } = against;
    if bundle.trust_domain() != &policy.trust_domain {
        let found =
            format!("the bundle is for {}, the policy for {}", bundle.trust_domain(), policy.trust_domain);
        return Err(Refusal::new(Reason::TrustDomainUnknown, found).into());
    }
    if policy.deny.cards.contains(&card.digest()) {
        let found = format!("the card {} is on the deny-list", card.digest());
        return Err(Refusal::new(Reason::Denied, found).into());
    }
    let mut budget = Budget::new(policy.budget);
    let mut chains = ProvenChains::new(&policy.trust_domain, bundle);
    let mut candidates: Vec<Candidate<'_>> = card
        .signatures()
        .enumerate()
        .map(|(index, raw)| Candidate::open(index, raw, against, &mut chains, &mut budget))
        .collect();
    if candidates.is_empty() {
        return Err(Refusal::new(Reason::CardUnsigned, "the card has no `signatures`").into());
    }
    let mut forms = Forms::new(card.document().text().len());
    for profile in policy.profiles.iter() {
        if !candidates.iter().any(Candidate::is_open) {
            break;
        }
        forms.check(card, profile, &mut candidates, &mut budget);
    }
    for candidate in candidates.iter_mut().filter(|candidate| candidate.is_expired()) {
        candidate.need_witness(against, |profile| forms.content(card, profile));
    }
    signed::conclude(card, against, &candidates, forms)
}

/// The canonical forms that were tried, and the one buffer that each form is written into.
struct Forms {
    /// The signing input: protected header, a dot, the form in base64url (RFC 7515 §5.1). The form is encoded in place:
    /// this buffer is as large as all other memory of a verification together.
    input: Vec<u8>,
    /// Offset of the form in `input`.
    prefix: usize,
    /// The profile of the form in `input`, and true if that form leaves nothing out.
    current: Option<(Profile, bool)>,
    /// SHA-256 of the base64url text of each form that was tried.
    tried: Vec<(Profile, Digest)>,
    /// Refusals of the profiles that have no form for this card.
    inapplicable: Vec<Refusal>,
}

/// The canonical form that a verified signature covers.
struct SignedForm {
    profile: Profile,
    /// True if the form leaves out nothing but `signatures`.
    complete: bool,
    bytes: Vec<u8>,
}

impl Forms {
    /// Makes an empty buffer for the forms of a card of `size` bytes.
    fn new(size: usize) -> Self {
        Self {
            input: Vec::with_capacity(size.saturating_mul(4).div_ceil(3)),
            prefix: 0,
            current: None,
            tried: Vec::new(),
            inapplicable: Vec::new(),
        }
    }

    /// Writes the card under `profile` and checks the open signatures over the form, unless equal bytes were tried.
    fn check(
        &mut self,
        card: &Card,
        profile: Profile,
        candidates: &mut [Candidate<'_>],
        budget: &mut Budget,
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
            self.inapplicable.push(refusal);
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
            candidate.check(&self.input, profile, budget);
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
    fn content(&mut self, card: &Card, profile: Profile) -> Result<Digest, Refusal> {
        self.select(card, profile)?;
        Ok(sha256(&decode_own_base64url(self.encoded())?))
    }

    /// Takes the form of `profile`, decoded from the bytes that the signature was checked over. Frees the buffer.
    fn take(&mut self, card: &Card, profile: Profile) -> Result<SignedForm, Refusal> {
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
}
