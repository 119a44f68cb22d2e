//! Signatures that come by another way than the card: an agent may serve its card unsigned, and its signer put a
//! signed copy beside it. What counts is what callers get, so the served card is judged with those signatures.

use super::canon::{Profile, canonicalize};
use super::card::Card;
use super::json::{Dialect, Object, copy_value};
use super::policy::Policy;
use super::refusal::{Reason, Refusal};

const SIGNATURES: &str = "signatures";

/// Returns the document to judge for a workload that serves the unsigned card `served`, beside which `delivered`
/// lies: the delivered one, byte for byte, if both are the same but for their signatures (RFC 8785 of all members);
/// else the served one with the delivered signatures in place of its own.
///
/// No rule is made for this case: what the served card has beyond the signed form is then uncovered, and endpoints,
/// limits and the number of signatures are judged as if the workload had sent the document like this. Fails if either
/// is no card, or if the delivered one is on the deny-list, which names received bytes (rule 58).
pub fn card_with_delivered_signatures(
    served: Vec<u8>,
    delivered: Vec<u8>,
    policy: &Policy,
) -> Result<Vec<u8>, Refusal> {
    let served = Card::parse(served, policy.numbers)?;
    let delivered = Card::parse(delivered, policy.numbers)?;
    if policy.deny.cards.contains(&delivered.digest()) {
        let found = format!("the delivered card {} is on the deny-list", delivered.digest());
        return Err(Refusal::new(Reason::Denied, found));
    }
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
