//! Coverage: the received members that the chosen signature does not cover, and whether they refuse the card (rules 47,
//! 48 and 61 to 64).

use super::forms::SignedForm;
use super::twins::Twins;
use crate::canon::{Uncovered, UncoveredMembers, uncovered};
use crate::card::Card;
use crate::json::{Document, JsonLimits, Numbers};
use crate::policy::Coverage;
use crate::refusal::{Reason, Refusal};
use crate::text::Quoted;

/// Lists the uncovered members of the signed form and, under `strict`, refuses those that decide about security.
pub(super) fn check_coverage(
    card: &Card,
    signed: &SignedForm,
    policy: Coverage,
) -> Result<UncoveredMembers, Refusal> {
    let SignedForm { profile, complete, .. } = *signed;
    let uncovered = if complete { UncoveredMembers::default() } else { uncovered(card.document(), profile)? };
    if policy == Coverage::Strict {
        refuse_uncovered_security(card, signed, &uncovered)?;
    }
    Ok(uncovered)
}

/// Refuses uncovered members that decide about security, unless each of them repeats what is signed.
fn refuse_uncovered_security(
    card: &Card,
    signed: &SignedForm,
    uncovered: &UncoveredMembers,
) -> Result<(), Refusal> {
    let SignedForm { profile, ref bytes, .. } = *signed;
    if uncovered.deciding() == 0 {
        return Ok(());
    }
    let listed = uncovered.listed();
    let deciding = || listed.iter().filter(|member| member.decides_security());
    // Members beyond the list are counted only, so nobody can tell what they say.
    let mut first = deciding().next();
    if deciding().count() == uncovered.deciding() {
        let form = Document::parse(bytes.clone(), &JsonLimits::DERIVED, Numbers::Binary64)?;
        if let (Some(received), Some(signed)) = (card.document().root().as_object(), form.root().as_object())
        {
            let twins = Twins::new(received, signed);
            first = deciding().find(|member| !twins.repeats(member));
        }
    }
    let Some(first) = first.map(Uncovered::pointer) else { return Ok(()) };
    let more = match uncovered.deciding().saturating_sub(1) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let found = format!("the signature, made over {profile}, does not cover {}{more}", Quoted(first));
    Err(Refusal::new(Reason::UncoveredSecurityMember, found))
}
