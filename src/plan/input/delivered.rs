//! The ConfigMap in which a signer delivers the card of a workload that serves it unsigned.

use std::collections::BTreeMap;

/// Keys that may hold the card, the preferred one first.
pub const KEYS: [&str; 2] = ["signed-agent-card.json", "agent-card.json"];

/// Name of the ConfigMap for a workload.
pub fn config_map_name(workload: &str) -> String {
    format!("{workload}-card-signed")
}

/// Text of the card among the data of that ConfigMap.
pub fn card_text(data: &BTreeMap<String, String>) -> Option<&String> {
    KEYS.iter().find_map(|key| data.get(*key))
}

/// Name of the AgentCard that is made for a workload that has none.
pub fn default_card_name(workload: &str, kind: &str) -> String {
    format!("{workload}-{}-card", kind.to_lowercase())
}
