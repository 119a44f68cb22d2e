//! What the scenarios share: an authority that issues SVIDs, agents with cards, and the operator as a process.
//! Everything here drives real parts; nothing knows what the operator should decide.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod agents;
mod authority;
mod bench;
mod operator;
mod spire;

pub use agents::{Agents, Card, card_of};
pub use authority::{Authority, Svid, bundle_json};
pub use bench::{audit_writes, process_cpu, process_memory};
pub use operator::{Operator, TRUST_DOMAIN, program};
pub use spire::{Server, SpireAgents};
