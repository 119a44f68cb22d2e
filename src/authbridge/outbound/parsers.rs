//! Parsers of the calls in requests of the agent, from the configured plugins.

use crate::config::{Config, OnError, PluginSettings};
use crate::events::{Parser, parse_paths};

/// Plugins that read the calls in requests of the agent.
pub(super) fn outbound_parsers(config: &Config) -> Result<Vec<Parser>, String> {
    let mut parsers = Vec::new();
    for plugin in config.pipeline.outbound.plugins.iter().filter(|plugin| plugin.on_error != OnError::Off) {
        match &plugin.settings {
            PluginSettings::McpParser(mcp) => parsers.push(Parser::Mcp(parse_paths(&mcp.paths)?)),
            PluginSettings::InferenceParser(inference) => {
                parsers.push(Parser::Inference(parse_paths(&inference.paths)?));
            }
            _ => {}
        }
    }
    Ok(parsers)
}
