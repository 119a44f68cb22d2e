//! The strength of a signature: the forms over which it may have been made, and what each of them leaves out.
//!
//! Both follow from the signed bytes and the protected header alone. Whoever stands between the agent and us chooses how
//! a card is written, and so under which profile its signature verifies, but neither of these.

use crate::canon::{Profile, ProfileSet, canonicalize, uncovered};
use crate::json::Document;

/// The profiles that leave anything out: all but the whole document.
fn partial_forms() -> impl Iterator<Item = Profile> {
    Profile::ALL.into_iter().filter(|profile| *profile != Profile::JcsRaw)
}

/// True if the form of `profile` of the signed document is the signed document. Then the signature may have been made
/// over this form of a document with more members.
fn may_be_form(signed: &Document, profile: Profile) -> bool {
    canonicalize(signed, profile).is_ok_and(|form| form == signed.text().as_bytes())
}

/// True if the signed document may be the form, under a profile of `allowed`, of a document with more members.
pub(super) fn may_leave_out(signed: &Document, allowed: ProfileSet) -> bool {
    partial_forms().any(|profile| allowed.contains(profile) && may_be_form(signed, profile))
}

/// The forms other than the whole document that the signature may have been made over: that which its header names, or
/// every one that the signed document is. `over` is the profile under which it verified.
pub(super) fn possible_forms(signed: &Document, over: Profile, named: Option<Profile>) -> ProfileSet {
    let none = ProfileSet::NONE;
    match named {
        Some(Profile::JcsRaw) => none,
        Some(named) => none.with(named),
        None => partial_forms()
            .filter(|profile| *profile == over || may_be_form(signed, *profile))
            .fold(none, ProfileSet::with),
    }
}

/// The forms that leave a member out of the signed document that decides about security.
pub(super) fn weaker_forms(signed: &Document) -> ProfileSet {
    partial_forms()
        .filter(|profile| uncovered(signed, *profile).is_ok_and(|members| members.deciding() > 0))
        .fold(ProfileSet::NONE, ProfileSet::with)
}
