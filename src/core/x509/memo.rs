//! Chains that were proven during the verification of one card: a signer with two signatures proves its chain once.
//! The list ends with the verification, so no verdict depends on an earlier card.

use super::chain::prove_chain;
use super::proof::ChainProof;
use crate::budget::WorkBudget;
use crate::bundle::Bundle;
use crate::refusal::Refusal;
use crate::spiffe::TrustDomain;
use std::sync::Arc;

/// The proven chains of one card under one bundle. A card has at most four signatures, so the search is linear.
#[derive(Debug)]
pub(crate) struct ProvenChains<'b> {
    trust_domain: &'b TrustDomain,
    bundle: &'b Bundle,
    proven: Vec<(Vec<Vec<u8>>, Arc<ChainProof>)>,
}

impl<'b> ProvenChains<'b> {
    pub(crate) const fn new(trust_domain: &'b TrustDomain, bundle: &'b Bundle) -> Self {
        Self { trust_domain, bundle, proven: Vec::new() }
    }

    /// Verifies everything about a chain that does not depend on time. An equal chain that was proven costs nothing.
    pub(crate) fn prove(
        &mut self,
        chain: Vec<Vec<u8>>,
        budget: &mut WorkBudget,
    ) -> Result<Arc<ChainProof>, Refusal> {
        if let Some((_, proof)) = self.proven.iter().find(|(known, _)| *known == chain) {
            return Ok(Arc::clone(proof));
        }
        let proof = Arc::new(prove_chain(&chain, self.trust_domain, self.bundle, budget)?);
        self.proven.push((chain, Arc::clone(&proof)));
        Ok(proof)
    }
}
