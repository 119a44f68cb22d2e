//! Coverage: the received members that the chosen signature does not cover, and whether they refuse the card (rules 47
//! and 48).

use super::forms::SignedForm;
use crate::canon::{Profile, Uncovered, UncoveredMembers, canonicalize, uncovered};
use crate::card::Card;
use crate::policy::Coverage;
use crate::refusal::{Reason, Refusal};
use crate::text::Quoted;

pub(super) struct Covered {
    pub(super) full: bool,
    pub(super) uncovered: UncoveredMembers,
}

/// Lists the uncovered members of the signed form and, under `strict`, refuses those that decide about security.
pub(super) fn check_coverage(card: &Card, signed: &SignedForm, policy: Coverage) -> Result<Covered, Refusal> {
    let SignedForm { profile, complete, ref bytes } = *signed;
    let uncovered = if complete { UncoveredMembers::default() } else { uncovered(card.document(), profile)? };
    if policy == Coverage::Strict {
        refuse_uncovered_security(&uncovered, profile)?;
    }
    let full = uncovered.is_empty() && (!profile.strips() || equals_unstripped(card, bytes));
    Ok(Covered { full, uncovered })
}

fn refuse_uncovered_security(uncovered: &UncoveredMembers, profile: Profile) -> Result<(), Refusal> {
    if uncovered.deciding() == 0 {
        return Ok(());
    }
    let listed = uncovered.listed();
    let first = listed.first().map(Uncovered::pointer).unwrap_or_default();
    let more = match uncovered.deciding().saturating_sub(1) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let found = format!("the signature, made over {profile}, does not cover {}{more}", Quoted(first));
    Err(Refusal::new(Reason::UncoveredSecurityMember, found))
}

/// True if the stripped form equals a form that strips nothing; only then are absent members authenticated (rule 48).
fn equals_unstripped(card: &Card, canonical: &[u8]) -> bool {
    [Profile::Spec841, Profile::JcsRaw]
        .into_iter()
        .any(|profile| canonicalize(card.document(), profile).is_ok_and(|bytes| bytes == canonical))
}
