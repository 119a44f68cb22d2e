//! Card and bundle to proof: which signature, over which bytes, by which workload.
//! The only way to a [`SignedCard`] leads through here.

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
use super::encoding::{Digest, encode_base64url_into, sha256};
use super::history::History;
use super::limits::Budget;
use super::policy::Policy;
use super::refusal::{Reason, Refusal};
use super::spiffe::SpiffeId;
use super::time::Timestamp;
use super::x509::ChainMemo;
use signature::Candidate;

/// What a verification is made against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The anchors of the policy's trust domain.
    pub bundle: &'a Bundle,
    /// What the trust domain accepts.
    pub policy: &'a Policy,
    /// The identity that must have signed; `None` accepts any workload of the trust domain.
    pub expected: Option<&'a SpiffeId>,
    /// What is remembered of the workload, for `witnessed` freshness.
    pub history: Option<&'a History>,
    /// The moment of the verification.
    pub now: Timestamp,
}

/// Verifies a card: every signature is judged by itself, and a bad one never hides a good one (rule 54).
///
/// Headers, chains and identities are judged first, each once; then the card is written in one canonical form
/// after the other, each signature that is still open is checked over it, and equal bytes are never checked
/// twice. Work is bounded by `policy.budget`.
pub fn verify_card(
    card: &Card,
    against: Against<'_>,
    memo: &mut ChainMemo,
) -> Result<SignedCard, Box<Rejection>> {
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
    let mut candidates: Vec<Candidate<'_>> = card
        .signatures()
        .enumerate()
        .map(|(index, raw)| Candidate::open(index, raw, card, against, memo, &mut budget))
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
    signed::conclude(card, against, &candidates, forms)
}

/// The canonical forms tried so far, and the buffers they are written into.
struct Forms {
    /// The bytes of the form written last.
    canonical: Vec<u8>,
    /// Which form that is, and whether it leaves nothing out.
    current: Option<(Profile, bool)>,
    /// The signing input: protected header, a dot, the form in base64url.
    input: Vec<u8>,
    tried: Vec<(Profile, Digest)>,
    /// Profiles that have no form for this card.
    inapplicable: Vec<Refusal>,
}

impl Forms {
    fn new(size: usize) -> Self {
        Self {
            canonical: Vec::with_capacity(size),
            current: None,
            input: Vec::new(),
            tried: Vec::new(),
            inapplicable: Vec::new(),
        }
    }

    /// Writes the card under `profile` and checks the open signatures over it, unless equal bytes were tried.
    fn check(
        &mut self,
        card: &Card,
        profile: Profile,
        candidates: &mut [Candidate<'_>],
        budget: &mut Budget,
    ) {
        // The digest of the first form is only needed once there is a second one to compare with.
        if let Some((last, _)) = self.current
            && self.tried.last().is_none_or(|(tried, _)| *tried != last)
        {
            self.tried.push((last, sha256(&self.canonical)));
        }
        match self.write(card, profile) {
            Ok(()) => {}
            Err(refusal) => {
                self.inapplicable.push(refusal);
                return;
            }
        }
        if !self.tried.is_empty() {
            let digest = sha256(&self.canonical);
            let equal = self.tried.iter().any(|(_, tried)| *tried == digest);
            self.tried.push((profile, digest));
            if equal {
                return;
            }
        }
        let mut prefix = 0;
        for candidate in candidates.iter_mut().filter(|candidate| candidate.is_open()) {
            prefix = self.write_input(candidate.protected(), prefix);
            candidate.check(&self.input, profile, budget);
        }
    }

    fn write(&mut self, card: &Card, profile: Profile) -> Result<(), Refusal> {
        self.current = None;
        let complete = canonicalize_into(card.document(), profile, &mut self.canonical)?;
        self.current = Some((profile, complete));
        Ok(())
    }

    /// Writes `protected . base64url(canonical)`; the payload behind the first `prefix` bytes is kept.
    fn write_input(&mut self, protected: &str, prefix: usize) -> usize {
        if prefix == 0 {
            // Four characters for three bytes; known beforehand, so that nothing is copied while growing.
            let payload = self.canonical.len().saturating_mul(4).div_ceil(3);
            let mut text = String::from_utf8(std::mem::take(&mut self.input)).unwrap_or_default();
            text.clear();
            text.reserve(protected.len().saturating_add(payload).saturating_add(4));
            text.push_str(protected);
            text.push('.');
            encode_base64url_into(&self.canonical, &mut text);
            self.input = text.into_bytes();
        } else {
            self.input.splice(..prefix, protected.bytes().chain(*b"."));
        }
        protected.len().saturating_add(1)
    }
}
