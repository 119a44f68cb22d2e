//! ConfigMap in which a signer delivers the signed card of a workload that serves an unsigned one (rule 52).

use std::collections::BTreeMap;

/// ConfigMap keys that may hold a card, the preferred key first.
pub const KEYS: [&str; 2] = ["signed-agent-card.json", "agent-card.json"];

/// Name of the ConfigMap that holds the signed card of a workload.
pub fn config_map_name(workload: &str) -> String {
    format!("{workload}-card-signed")
}

/// Card text in the data of a ConfigMap; `None` if no key of [`KEYS`] is present.
pub fn card_text(data: &BTreeMap<String, String>) -> Option<&String> {
    KEYS.iter().find_map(|key| data.get(*key))
}

/// Name of the AgentCard that the operator creates for a workload without one.
pub fn default_card_name(workload: &str, kind: &str) -> String {
    format!("{workload}-{}-card", kind.to_lowercase())
}
