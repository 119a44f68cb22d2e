//! Names of plugins: those of this program, and those of the existing AuthBridge that it does not have.

/// Names of the plugins, in the order of `PluginSettings`.
pub(super) const NAMES: [&str; 5] =
    ["jwt-validation", "token-exchange", "a2a-parser", "mcp-parser", "inference-parser"];
/// Plugins of the existing AuthBridge that are not implemented; refused, because each decides about requests there or
/// changes their credentials. With each what takes its part. The second name of a plugin is that of its source folder.
pub(super) const ABSENT: [(&str, &str); 13] = [
    ("ibac", SCOPES),
    ("sparc", SCOPES),
    ("opa", RULES),
    ("cpex", RULES),
    ("token-broker", TOKENS),
    ("placeholder-resolve", TOKENS),
    ("placeholderresolve", TOKENS),
    ("static-inject", OWN_TOKENS),
    ("staticinject", OWN_TOKENS),
    ("litellm-budget-track", BUDGET),
    ("litellm-budget", BUDGET),
    ("session-budget", BUDGET),
    ("token-budget", BUDGET),
];
const SCOPES: &str = "decide by scopes and routes, which do not depend on a model's answer";
const RULES: &str = "put the rules into required_scopes, allowed_clients and routes";
const TOKENS: &str = "give tokens by token-exchange";
const OWN_TOKENS: &str = "give tokens by token-exchange with action client-credentials";
const BUDGET: &str = "hold the budget where the model is served";
/// Plugins of the existing AuthBridge that let through every request, and what a request loses without each. The second name
/// of a plugin is that of its source folder, by which it is written sometimes.
pub(super) const WATCHERS: [(&str, &str); 6] = [
    ("context-guru", COMPACTION),
    ("contextguru", COMPACTION),
    ("lineage-telemetry", LINEAGE),
    ("lineage", LINEAGE),
    ("tool-prune", TOOLS),
    ("toolprune", TOOLS),
];
const COMPACTION: &str = "prompts are not compacted";
const LINEAGE: &str = "no lineage of calls is recorded";
const TOOLS: &str = "no tool is taken out of lists of tools";

/// True for a plugin that is part of this program.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}
