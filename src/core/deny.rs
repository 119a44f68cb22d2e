//! The deny-list for cards: by the bytes that were received, and by what is signed (rule 58).

use super::canon::{Profile, canonicalize};
use super::card::Card;
use super::encoding::sha256;
use super::policy::Policy;
use super::refusal::{Reason, Refusal};

/// Refuses a card of which a digest is on the deny-list: that of the received bytes, of the whole document without
/// `signatures`, or of a form that the policy allows.
///
/// White space, another signature or a member that no signature covers changes the bytes, and never the form that a
/// signature covers: a digest of that form denies the card in any spelling.
pub(crate) fn refuse_denied_card(card: &Card, policy: &Policy) -> Result<(), Refusal> {
    if policy.deny.cards.is_empty() {
        return Ok(());
    }
    let denied = |what: String| Err(Refusal::new(Reason::Denied, format!("{what} is on the deny-list")));
    if policy.deny.cards.contains(&card.digest()) {
        return denied(format!("the card {}", card.digest()));
    }
    for profile in Profile::ALL.into_iter().filter(|p| *p == Profile::JcsRaw || policy.profiles.contains(*p))
    {
        // A profile that has no form for the card has no signature over it either.
        let Ok(form) = canonicalize(card.document(), profile) else { continue };
        let digest = sha256(&form);
        if policy.deny.cards.contains(&digest) {
            return denied(format!("the content {digest}, the form of {profile},"));
        }
    }
    Ok(())
}
