//! Outcomes of the signatures of a card, and the rejection of a whole card.

use crate::canon::Profile;
use crate::jws::Algorithm;
use crate::refusal::Refusal;
use crate::spiffe::SpiffeId;
use std::fmt;

/// The outcome of one entry of `signatures`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureOutcome {
    /// Index in `signatures`, from 0.
    pub index: usize,
    /// The key ID; `None` if the header is unreadable or has none.
    pub key_id: Option<String>,
    /// The algorithm; `None` if the header is unreadable.
    pub algorithm: Option<Algorithm>,
    /// The SPIFFE ID of the signer; `None` if no chain or pinned key proves one.
    pub spiffe_id: Option<SpiffeId>,
    /// The profile under which the signature verified, or the refusal.
    pub result: Result<Profile, Refusal>,
}

/// A refused card: the most specific refusal, all other refusals, and the outcome of each signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The most specific refusal: the one furthest down the pipeline.
    pub refusal: Refusal,
    /// The other refusals: those of profiles, then those of signatures, each in order.
    pub others: Vec<Refusal>,
    /// The outcome of each signature, in the order of the card.
    pub signatures: Vec<SignatureOutcome>,
}

impl Rejection {
    /// Makes a rejection of the most specific refusal, the first of equals; `None` without any refusal.
    pub(super) fn most_specific(
        mut refusals: Vec<Refusal>,
        signatures: Vec<SignatureOutcome>,
    ) -> Option<Box<Self>> {
        let specific = refusals.iter().enumerate().rev().max_by_key(|(_, refusal)| refusal.reason())?.0;
        let refusal = refusals.remove(specific);
        refusals.retain(|other| *other != refusal);
        Some(Box::new(Self { refusal, others: refusals, signatures }))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl std::error::Error for Rejection {}

impl From<Refusal> for Box<Rejection> {
    fn from(refusal: Refusal) -> Self {
        Self::new(Rejection { refusal, others: Vec::new(), signatures: Vec::new() })
    }
}
