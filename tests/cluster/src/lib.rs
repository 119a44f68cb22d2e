//! What the scenarios share: an authority that issues SVIDs, agents with cards, and the operator as a process.
//! Everything here drives real parts; nothing knows what the operator should decide.

mod agents;
mod audit;
mod authority;
mod cost;
mod kubelet;
mod node;
mod operator;
mod scene;
mod spire;
mod tarpit;

pub use agents::{Agents, Card, card_of};
pub use audit::{Audit, Request};
pub use authority::{Authority, Svid, bundle_json};
pub use cost::{process_cpu, process_memory};
pub use kubelet::STUCK;
pub use node::{Node, OPERATOR_USER, Packets, SYSTEM, Signer, chart, until};
pub use operator::{Operator, TRUST_DOMAIN, program};
pub use scene::{
    Scene, condition, delete, find, holds, is, is_open, labelled, list, look_every, outcome, reason,
    user_card,
};
pub use spire::{Server, SpireAgents};
pub use tarpit::Tarpit;
