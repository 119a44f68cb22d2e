//! What the chosen signature leaves uncovered, and whether that is acceptable (rules 47 and 48).

use super::Forms;
use crate::core::canon::{Profile, Uncovered, canonicalize, uncovered};
use crate::core::card::Card;
use crate::core::limits::UNCOVERED_LISTED;
use crate::core::policy::Coverage;
use crate::core::refusal::{Reason, Refusal};
use crate::core::text::Quoted;

pub(super) struct Covered {
    pub(super) full: bool,
    pub(super) uncovered: Vec<Uncovered>,
}

/// Judges the coverage of the form that `forms` holds.
pub(super) fn judge_coverage(card: &Card, forms: &Forms, policy: Coverage) -> Result<Covered, Refusal> {
    let Some((profile, complete)) = forms.current else {
        return Err(Refusal::new(Reason::SignatureInvalid, "no canonical form was written"));
    };
    let uncovered = if complete { Vec::new() } else { uncovered(card.document(), profile)? };
    if policy == Coverage::Strict {
        refuse_uncovered_security(&uncovered, profile)?;
    }
    let full = uncovered.is_empty() && (!profile.strips() || equals_unstripped(card, &forms.canonical));
    Ok(Covered { full, uncovered })
}

fn refuse_uncovered_security(uncovered: &[Uncovered], profile: Profile) -> Result<(), Refusal> {
    let mut deciding = uncovered.iter().filter(|member| member.decides_security());
    let Some(first) = deciding.next() else { return Ok(()) };
    let more = match deciding.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let found =
        format!("the signature, made over {profile}, does not cover {}{more}", Quoted(first.pointer()));
    Err(Refusal::new(Reason::UncoveredSecurityMember, found))
}

/// Rule 48: a stripped form authenticates absences only if it equals a form that strips nothing.
fn equals_unstripped(card: &Card, canonical: &[u8]) -> bool {
    [Profile::Spec841, Profile::JcsRaw]
        .into_iter()
        .any(|profile| canonicalize(card.document(), profile).is_ok_and(|bytes| bytes == canonical))
}

impl Covered {
    /// The uncovered members to list, and how many are left out of the list.
    pub(super) fn listed(mut self) -> (Vec<Uncovered>, usize) {
        let unlisted = self.uncovered.len().saturating_sub(UNCOVERED_LISTED);
        self.uncovered.truncate(UNCOVERED_LISTED);
        (self.uncovered, unlisted)
    }
}
