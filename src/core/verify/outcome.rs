//! What became of each signature, and of the whole card when it was refused.

use crate::canon::Profile;
use crate::jws::Algorithm;
use crate::refusal::Refusal;
use crate::spiffe::SpiffeId;
use std::fmt;

/// The outcome of one entry of `signatures`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureOutcome {
    /// Position in the array, from 0.
    pub index: usize,
    /// The key ID, if the header could be read.
    pub key_id: Option<String>,
    /// The algorithm, if the header could be read.
    pub algorithm: Option<Algorithm>,
    /// The signer, if the chain could be verified.
    pub spiffe_id: Option<SpiffeId>,
    /// The profile under which it verified, or why it does not count.
    pub result: Result<Profile, Refusal>,
}

/// Why a card was refused, with everything else that was found on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The most specific refusal.
    pub refusal: Refusal,
    /// The other refusals, in the order of the signatures and profiles.
    pub others: Vec<Refusal>,
    /// The outcome of every signature.
    pub signatures: Vec<SignatureOutcome>,
}

impl Rejection {
    /// Picks the most specific refusal of a list; the earlier one of equals.
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
