//! Detached delivery: an agent serves its card unsigned, and its signer stores a signed copy elsewhere.
//! Callers read the served card, so that card is verified, with the signatures of the copy.

use super::canon::{Profile, canonicalize};
use super::card::Card;
use super::deny::refuse_denied_card;
use super::json::{Dialect, Object, copy_value};
use super::policy::Policy;
use super::refusal::Refusal;

const SIGNATURES: &str = "signatures";

/// Returns the document to verify for a workload that serves the unsigned card `served` and whose signer stored the
/// signed copy `delivered`. If both have equal RFC 8785 forms without `signatures`, the result is `delivered`, byte
/// for byte. Otherwise it is `served` with the `signatures` of `delivered`.
///
/// All rules then apply to the result as to any received card; a member that only `served` has is uncovered (rule
/// 47). Fails if either document is not a card, or if `delivered` is on the deny-list (rule 58).
pub fn card_with_delivered_signatures(
    served: Vec<u8>,
    delivered: Vec<u8>,
    policy: &Policy,
) -> Result<Vec<u8>, Refusal> {
    let served = Card::parse(served, policy.numbers)?;
    let delivered = Card::parse(delivered, policy.numbers)?;
    refuse_denied_card(&delivered, policy)?;
    let raw = |card: &Card| canonicalize(card.document(), Profile::JcsRaw);
    if raw(&served)? == raw(&delivered)? {
        return Ok(delivered.document().text().as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(served.document().text().len());
    let others = members(&served).into_iter().flat_map(Object::iter).filter(|(name, _)| *name != SIGNATURES);
    let signatures = members(&delivered).and_then(|card| card.get(SIGNATURES));
    for (name, value) in others.chain(signatures.map(|list| (SIGNATURES, list))) {
        out.push(if out.is_empty() { b'{' } else { b',' });
        Dialect::Jcs.write_string(name, &mut out);
        out.push(b':');
        copy_value(value, &mut out);
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(out)
}

fn members(card: &Card) -> Option<Object<'_>> {
    card.document().root().as_object()
}
