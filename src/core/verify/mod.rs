//! Verification of a card over a bundle: which signature, over which bytes, by which workload.
//! Only [`verify_card`] makes a [`SignedCard`].

mod against;
mod coverage;
mod forms;
mod outcome;
mod payload;
mod signature;
mod signed;
mod strength;
mod twins;

pub use against::Against;
pub use outcome::{Rejection, SignatureOutcome};
pub(super) use payload::parse_payload;
pub(super) use signature::identity_mismatch;
pub use signed::{CoverageLevel, SignedCard};

use super::budget::WorkBudget;
use super::canon::Profile;
use super::card::Card;
use super::deny::refuse_denied_card;
use super::refusal::{Reason, Refusal};
use super::x509::ProvenChains;
use forms::Forms;
use signature::Candidate;

/// Verifies a card. Each signature is verified by itself, and a bad one never hides a good one (rule 54).
///
/// Headers, chains and identities come first, each once. Then the card is written in one canonical form after the
/// other, and each open signature is checked over the form; equal bytes are never checked twice (rule 49).
/// `policy.budget` bounds the work. Over the profiles that the policy does not allow, a signature is never verified; the
/// refusal says which of them it would verify over.
pub fn verify_card(card: &Card, against: Against<'_>) -> Result<SignedCard, Box<Rejection>> {
    let Against { bundle, policy, .. } = against;
    if bundle.trust_domain() != &policy.trust_domain {
        let found =
            format!("the bundle is for {}, the policy for {}", bundle.trust_domain(), policy.trust_domain);
        return Err(Refusal::new(Reason::TrustDomainUnknown, found).into());
    }
    refuse_denied_card(card, policy)?;
    let mut budget = WorkBudget::new(policy.budget);
    let mut chains = ProvenChains::new(&policy.trust_domain, bundle);
    let mut candidates: Vec<Candidate<'_>> = card
        .signatures()
        .enumerate()
        .map(|(index, raw)| Candidate::open(index, raw, against, &mut chains, &mut budget))
        .collect();
    if candidates.is_empty() {
        return Err(Refusal::new(Reason::CardUnsigned, "the card has no `signatures`").into());
    }
    let mut forms = Forms::new(card.document().text().len(), policy.profiles);
    for profile in policy.profiles.iter() {
        if !candidates.iter().any(Candidate::is_open) {
            break;
        }
        forms.check(card, profile, &mut candidates, &mut budget);
    }
    if candidates.iter().all(|candidate| candidate.verified().is_none()) {
        // The refusal names the switch that would accept the card, for as much work as the budget still holds.
        for profile in Profile::ALL.into_iter().filter(|profile| !policy.profiles.contains(*profile)) {
            forms.check(card, profile, &mut candidates, &mut budget);
        }
    }
    for candidate in candidates.iter_mut().filter(|candidate| candidate.is_expired()) {
        candidate.need_witness(against, |profile| forms.content(card, profile));
    }
    signed::conclude(card, against, &candidates, forms)
}
