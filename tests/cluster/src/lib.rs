//! What the scenarios share: an authority that issues SVIDs, agents with cards, and the operator as a process.
//! Everything here drives real parts; nothing knows what the operator should decide.

mod agents;
mod audit;
mod authority;
mod cost;
mod foreign;
mod kubelet;
mod load;
mod node;
mod operator;
mod sandbox;
mod scene;
mod served;
mod spire;
mod tarpit;

pub use agents::{Agents, Card, card_of};
pub use audit::{Audit, Request};
pub use authority::{Authority, Svid, bundle_json};
pub use cost::{process_cpu, process_memory, process_peak};
pub use countersign_rig::until;
pub use foreign::{FOREIGN, ForeignWebhook, PORT_LABEL};
pub use kubelet::STUCK;
pub use load::{Attempt, Load, OWNER, asking, owner_of, told, within};
pub use node::{Node, OPERATOR_USER, Packets, SYSTEM, Signer, chart};
pub use operator::{Operator, TRUST_DOMAIN, program};
pub use sandbox::{RunningPods, SANDBOXES, SandboxController};
pub use scene::{
    Scene, condition, delete, fault_proxy, find, holds, is, is_open, labelled, list, look_every, outcome,
    reason, user_card,
};
pub use served::served_certificate;
pub use spire::{Server, SpireAgents};
pub use tarpit::Tarpit;

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_in_the_readme_of_the_tests_is_a_scenario_that_runs() {
        let readme = include_str!("../../README.md");
        let example = readme.split("```").find_map(|block| block.strip_prefix("rust\n")).unwrap();
        assert!(example.starts_with("#[test]\n") && example.len() > 200, "{example}");
        assert!(include_str!("../tests/weaknesses/trust.rs").contains(example), "{example}");
    }
}
