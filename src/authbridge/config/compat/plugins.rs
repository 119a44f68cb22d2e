//! Plugins that a lenient reading passes over: those that do nothing there, or nothing that gates a request.

use crate::config::plugin_names::{WATCHERS, is_known};
use crate::config::tree::{member, plugins_mut, text, text_of};
use countersign_api::yaml::{Diagnostic, YamlNode, YamlValue};
use countersign_core::text::Quoted;

/// Removes the plugins of both directions that are passed over; a notice for each.
pub(super) fn pass_over(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    for direction in ["inbound", "outbound"] {
        let Some(plugins) = plugins_mut(root, direction) else { continue };
        let mut index = 0_usize;
        plugins.retain(|plugin| {
            let key = format!("pipeline.{direction}.plugins[{index}]");
            index = index.saturating_add(1);
            let problem = why_passed_over(plugin, direction);
            let is_kept = problem.is_none();
            notices.extend(problem.map(|problem| Diagnostic { place: plugin.place, key, problem }));
            is_kept
        });
    }
}

/// Why an entry of a pipeline is passed over; `None` for one that counts, or is refused.
fn why_passed_over(plugin: &YamlNode, direction: &str) -> Option<String> {
    let name = text(plugin).or_else(|| text_of(plugin, "name"))?;
    let is_off = text_of(plugin, "on_error") == Some("off");
    let watcher = WATCHERS.iter().find(|(watcher, _)| *watcher == name);
    if is_off && !is_known(name) {
        return Some(format!(
            "the plugin {} is switched off by `on_error: off`, and does not run in the existing AuthBridge either: it is \
             passed over; take it out",
            Quoted(name)
        ));
    }
    if let Some((name, loss)) = watcher {
        return Some(format!(
            "the plugin {name} is passed over: {loss}; there is nothing in its place here, so take it out"
        ));
    }
    match (name, direction) {
        ("a2a-parser", "outbound") | ("mcp-parser" | "inference-parser", "inbound") => {
            Some(format!("{name} reads nothing of {direction} requests here: it is passed over; take it out"))
        }
        // There is none without it, too, and nothing is let through that would be refused: only we deny by routes.
        ("token-exchange", "outbound") if is_off && !denies(plugin) => Some(
            "the plugin token-exchange is switched off by `on_error: off`: it is passed over, no token is exchanged, and no \
             route counts; take it out, or take out `on_error`"
                .to_owned(),
        ),
        ("token-exchange", "outbound") if exchanges_nothing(plugin) => Some(
            "token-exchange exchanges nothing by `default_policy: passthrough` and has no token endpoint: it is passed over, \
             and a file of routes does not count; take it out, or set token_url and identity"
                .to_owned(),
        ),
        _ => None,
    }
}

/// True for a token-exchange of which every request goes on as it is, and that could not do more: it has neither an endpoint
/// nor an identity.
fn exchanges_nothing(plugin: &YamlNode) -> bool {
    let Some(config) = member(plugin, "config") else { return false };
    let YamlValue::Map(members) = &config.value else { return false };
    text_of(config, "default_policy") == Some("passthrough")
        && members.iter().all(|(key, node)| match key.name.as_str() {
            "default_policy" | "no_token_policy" => true,
            "routes" => only_passes(node),
            _ => false,
        })
}

/// True for routes that name no file, and of which each lets its requests go on as they are.
fn only_passes(routes: &YamlNode) -> bool {
    let passes = |rule: &YamlNode| {
        let YamlValue::Map(members) = &rule.value else { return false };
        let says = |key: &str, value: &YamlValue| {
            (key == "action" && *value == YamlValue::Text("passthrough".to_owned()))
                || (key == "passthrough" && *value == YamlValue::Bool(true))
        };
        members.iter().all(|(key, node)| key.name == "host" || says(&key.name, &node.value))
            && members.len() == 2
    };
    let YamlValue::Map(members) = &routes.value else { return false };
    members.iter().all(|(key, node)| {
        key.name == "rules" && matches!(&node.value, YamlValue::List(rules) if rules.iter().all(passes))
    })
}

/// True if the configuration of a token-exchange refuses hosts.
fn denies(plugin: &YamlNode) -> bool {
    let Some(config) = member(plugin, "config") else { return false };
    let rules = member(config, "routes").and_then(|routes| member(routes, "rules"));
    let is_denied = |rule: &YamlNode| text_of(rule, "action") == Some("deny");
    let by_route = rules.is_some_and(|rules| match &rules.value {
        YamlValue::List(rules) => rules.iter().any(is_denied),
        _ => false,
    });
    by_route || text_of(config, "default_policy") == Some("deny")
}
