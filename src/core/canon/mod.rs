//! Canonical forms of a card: the exact bytes that each released signer signs.
//! One emitter writes every form from the received document; profiles are tried in a fixed order (rule 49).

mod alias;
mod emit;
mod fold;
mod kagenti;
mod profile;
mod required;
mod schema;
mod uncovered;
mod unfold;
mod v03;
mod v1;

pub(super) use alias::refuse_aliases;
pub(super) use fold::wrapper;
pub use profile::{Profile, ProfileSet};
pub(super) use required::missing_member;
pub use uncovered::{Uncovered, UncoveredMembers};
pub(super) use unfold::received_pointer;

use super::json::{Document, Value};
use super::limits::FORM_BYTES;
use super::refusal::{Reason, Refusal};
use emit::Emitter;

/// Replaces `out` by the bytes that a signature under `profile` covers.
///
/// Returns true if nothing of the card but `signatures` was left out. Fails with `CardMemberType` if a member lacks
/// the JSON type that the schema of the profile declares, and with `BodyTooLarge` above [`FORM_BYTES`].
pub(crate) fn canonicalize_into(
    card: &Document,
    profile: Profile,
    out: &mut Vec<u8>,
) -> Result<bool, Refusal> {
    out.clear();
    refuse_swelling(card.text(), profile)?;
    with_source(card, profile, |root, _| {
        let mut emitter = Emitter::new(profile.form(), out);
        emitter.card(root)?;
        Ok(emitter.is_complete() && !profile.folds())
    })
}

/// Refuses a card whose form could exceed [`FORM_BYTES`], before any byte is written.
fn refuse_swelling(card: &str, profile: Profile) -> Result<(), Refusal> {
    let longest = profile.form().dialect.longest(card);
    if longest <= FORM_BYTES {
        return Ok(());
    }
    let found = format!("the form of {profile} can have {longest} bytes; the limit is {FORM_BYTES}");
    Err(Refusal::new(Reason::BodyTooLarge, found))
}

/// Returns the bytes that a signature under `profile` covers.
pub fn canonicalize(card: &Document, profile: Profile) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(card.text().len());
    canonicalize_into(card, profile, &mut out)?;
    Ok(out)
}

/// Returns the received members that a signature under `profile` does not cover (rule 47).
pub fn uncovered(card: &Document, profile: Profile) -> Result<UncoveredMembers, Refusal> {
    let mut scratch = Vec::new();
    with_source(card, profile, |root, mut found| {
        let mut emitter = Emitter::recording(profile.form(), &mut scratch);
        emitter.card(root)?;
        let received = card.root().as_object().filter(|_| profile.folds());
        found.absorb(emitter.into_uncovered(), |pointer| match received {
            Some(card) => received_pointer(pointer, card),
            None => pointer.to_owned(),
        });
        Ok(found)
    })
}

/// Calls `use_it` with the document that the profile reads, received or folded, and the members lost by folding.
fn with_source<T>(
    card: &Document,
    profile: Profile,
    use_it: impl FnOnce(Value<'_>, UncoveredMembers) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    if profile.folds() {
        let (document, dropped) = fold::fold(card)?;
        refuse_swelling(document.text(), profile)?;
        use_it(document.root(), dropped)
    } else {
        use_it(card.root(), UncoveredMembers::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{JsonLimits, Numbers};

    fn reason(filler: char) -> Option<Reason> {
        let skills =
            vec![format!(r#"{{"description":"{}"}}"#, String::from(filler).repeat(30_000)); 8].join(",");
        let card = format!(r#"{{"name":"a","skills":[{skills}]}}"#);
        let card = Document::parse(card.into_bytes(), &JsonLimits::CARD, Numbers::Strict).unwrap();
        canonicalize(&card, Profile::KagentiGo).err().map(|refusal| refusal.reason())
    }

    #[test]
    fn a_form_that_could_swell_beyond_its_limit_is_not_written() {
        assert_eq!(reason('a'), None);
        assert_eq!(reason('<'), Some(Reason::BodyTooLarge));
    }
}
