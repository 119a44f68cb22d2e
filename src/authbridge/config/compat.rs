//! What `--compat` does to a file of the existing AuthBridge before it is read: values that count as absent there go, and so
//! do plugins that only watch or shorten traffic, each with a notice. Nothing that gates a request is passed over.

use super::node::{MemberKey, YamlNode, YamlValue};
use super::reader::Diagnostic;

/// Plugins of the existing AuthBridge that let through every request, and what a request loses without each.
pub(super) const WATCHERS: [(&str, &str); 3] = [
    ("contextguru", "prompts are not compacted"),
    ("lineage", "no lineage of calls is recorded"),
    ("toolprune", "no tool is taken out of lists of tools"),
];
/// Keys that only this program has: an empty value there is a mistake, and taking it for absent could widen a rule.
const OURS: [&str; 6] =
    ["server_spiffe_id", "allowed_peers", "allowed_clients", "required_scopes", "token_file", "files_dir"];
/// Counts whose zero means the default there.
const COUNTS: [&str; 2] = ["max_events", "max_sessions"];
/// Lists whose emptiness means the default there.
const LISTS: [&str; 1] = ["bypass_paths"];

/// Removes from a file what counts as absent, or is passed over; a notice for each.
pub(super) fn ease(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    walk(root, "", notices);
}

fn walk(node: &mut YamlNode, path: &str, notices: &mut Vec<Diagnostic>) {
    let line = node.line;
    match &mut node.value {
        YamlValue::Map(members) => {
            members.retain(|(key, value)| {
                let is_absent = counts_as_absent(key, value);
                if is_absent {
                    let problem = "it is empty, which counts as absent".to_owned();
                    notices.push(Diagnostic { line: key.line, key: below(path, &key.name), problem });
                }
                !is_absent
            });
            for (key, value) in members {
                let path = below(path, &key.name);
                if let YamlValue::List(nodes) = &mut value.value
                    && key.name == "plugins"
                {
                    pass_over(nodes, &path, notices);
                }
                walk(value, &path, notices);
            }
        }
        YamlValue::List(nodes) => {
            for (index, one) in nodes.iter_mut().enumerate() {
                walk(one, &format!("{path}[{index}]"), notices);
            }
        }
        YamlValue::Text(text) => {
            if let Some(name) = bare_variable(text) {
                let problem = format!("${name} stays as it is; write ${{{name}}} if the variable is meant");
                notices.push(Diagnostic { line, key: path.to_owned(), problem });
            }
        }
        YamlValue::Null | YamlValue::Bool(_) | YamlValue::Integer(_) | YamlValue::Float(_) => {}
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn counts_as_absent(key: &MemberKey, node: &YamlNode) -> bool {
    let name = key.name.as_str();
    match &node.value {
        YamlValue::Text(text) => text.is_empty() && !OURS.contains(&name),
        YamlValue::Integer(0) => COUNTS.contains(&name),
        YamlValue::List(nodes) => nodes.is_empty() && LISTS.contains(&name),
        _ => false,
    }
}

/// Removes the plugins that only watch.
fn pass_over(plugins: &mut Vec<YamlNode>, path: &str, notices: &mut Vec<Diagnostic>) {
    plugins.retain(|plugin| {
        let name = match &plugin.value {
            YamlValue::Text(name) => Some(name),
            YamlValue::Map(members) => {
                members.iter().find_map(|(key, node)| match (key.name.as_str(), &node.value) {
                    ("name", YamlValue::Text(name)) => Some(name),
                    _ => None,
                })
            }
            _ => None,
        };
        let watcher = WATCHERS.iter().find(|(watcher, _)| name.is_some_and(|name| name == watcher));
        if let Some((name, loss)) = watcher {
            let problem = format!("the plugin {name} is passed over: {loss}");
            notices.push(Diagnostic { line: plugin.line, key: path.to_owned(), problem });
        }
        watcher.is_none()
    });
}

/// The first `$NAME` of a text, which the existing AuthBridge replaces and this program does not.
fn bare_variable(text: &str) -> Option<&str> {
    text.split('$').skip(1).find_map(|after| {
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        after.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
    })
}
