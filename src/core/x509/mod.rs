//! X.509 chains of signers: strict parsing, the rules for each role, and the proof that a chain is genuine.
//! A chain proof says nothing about time; validity is checked at each use.

mod anchor;
mod certificate;
mod chain;
mod constraints;
mod facts;
mod issued;
mod leaf;
mod memo;
mod path;
mod pem;
mod proof;
mod role;
mod x5c;

pub use anchor::Anchor;
pub use chain::verify_chain;
pub use facts::{LeafFacts, leaf_facts};
pub(crate) use memo::ProvenChains;
pub use pem::parse_pem_chain;
pub(crate) use pem::{Problem as PemProblem, parse_pem_certificates};
pub use proof::{ChainPolicy, Moments, VerifiedChain};
pub(crate) use x5c::decode_x5c;
