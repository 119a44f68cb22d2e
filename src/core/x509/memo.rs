//! Remembers chains that were proven, so that a workload's next card costs one signature check instead of two.
//! Only what does not depend on time is kept; every moment is judged again.

use super::chain::prove_chain;
use super::proof::{ChainPolicy, Moments, Proof, VerifiedChain};
use crate::bundle::Bundle;
use crate::encoding::{Digest, Sha256};
use crate::limits::{Budget, CHAIN_MEMO_ENTRIES};
use crate::refusal::Refusal;
use crate::spiffe::TrustDomain;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

/// Proven chains by the digest of their bytes, their trust domain and the anchors they were proven under.
///
/// A changed bundle changes the digest, so nothing has to be forgotten. Two generations bound it: when the
/// young one is full it becomes the old one, and what was in the old one and not used since is dropped.
#[derive(Clone, Debug, Default)]
pub struct ChainMemo {
    young: BTreeMap<Digest, Arc<Proof>>,
    old: BTreeMap<Digest, Arc<Proof>>,
}

impl ChainMemo {
    /// Nothing remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`super::verify_chain`], but a chain that was proven before spends nothing.
    pub fn verify_chain(
        &mut self,
        chain: &[Vec<u8>],
        trust_domain: &TrustDomain,
        bundle: &Bundle,
        policy: &ChainPolicy,
        at: Moments,
        budget: &mut Budget,
    ) -> Result<VerifiedChain, Refusal> {
        VerifiedChain::judge(self.prove(chain, trust_domain, bundle, budget)?, policy, at)
    }

    /// Proves everything about a chain that does not depend on time, unless it was proven before.
    pub(crate) fn prove(
        &mut self,
        chain: &[Vec<u8>],
        trust_domain: &TrustDomain,
        bundle: &Bundle,
        budget: &mut Budget,
    ) -> Result<Arc<Proof>, Refusal> {
        let key = memo_key(chain, trust_domain, bundle);
        match self.recall(key) {
            Some(proof) => Ok(proof),
            None => Ok(self.remember(key, Arc::new(prove_chain(chain, trust_domain, bundle, budget)?))),
        }
    }

    /// How many chains are remembered.
    pub fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    /// True when nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn recall(&mut self, key: Digest) -> Option<Arc<Proof>> {
        if let Some(proof) = self.young.get(&key) {
            return Some(Arc::clone(proof));
        }
        let proof = self.old.remove(&key)?;
        Some(self.remember(key, proof))
    }

    fn remember(&mut self, key: Digest, proof: Arc<Proof>) -> Arc<Proof> {
        if self.young.len() >= CHAIN_MEMO_ENTRIES.div_euclid(2) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, Arc::clone(&proof));
        proof
    }
}

fn memo_key(chain: &[Vec<u8>], trust_domain: &TrustDomain, bundle: &Bundle) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(bundle.fingerprint().as_bytes());
    // Lengths first, so that no two lists of pieces read as the same bytes.
    for piece in [bundle.trust_domain(), trust_domain] {
        update_with_length(&mut hasher, piece.as_str().as_bytes());
    }
    for certificate in chain {
        update_with_length(&mut hasher, certificate);
    }
    hasher.finish()
}

fn update_with_length(hasher: &mut Sha256, piece: &[u8]) {
    hasher.update(&piece.len().to_be_bytes());
    hasher.update(piece);
}
