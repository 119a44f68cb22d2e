//! What `--compat` does to a file of the existing AuthBridge before it is read: values that count as absent there go, and so
//! do plugins that only watch or shorten traffic or do not run, each with a notice. Nothing that gates a request is passed over.

mod listeners;
mod mtls;
mod plugins;

use super::flat_form;
use crate::limits::{SESSION_ITEMS, SESSION_TTL};
use countersign_api::yaml::{Diagnostic, MemberKey, YamlNode, YamlValue};

/// Keys that only this program has: an empty value there is a mistake, and taking it for absent could widen a rule.
const OURS: [&str; 6] =
    ["server_spiffe_id", "allowed_peers", "allowed_clients", "required_scopes", "token_file", "files_dir"];
/// Counts whose zero means the default there, and whose negative numbers mean no limit.
const COUNTS: [&str; 2] = ["max_events", "max_sessions"];
/// Lists whose emptiness means the default there.
const LISTS: [&str; 1] = ["bypass_paths"];

/// Removes from a file what counts as absent, or is passed over; a notice for each.
pub(super) fn ease(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    take_lite(root, notices);
    flat_form::translate(root, notices);
    listeners::ease(root, notices);
    mtls::ease(root, notices);
    plugins::pass_over(root, notices);
    walk(root, "", notices);
}

/// Reads the mode `lite` as the one that its program is here.
fn take_lite(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let YamlValue::Map(members) = &mut root.value else { return };
    let Some((key, mode)) = members.iter_mut().find(|(key, _)| key.name == "mode") else { return };
    if mode.value == YamlValue::Text("lite".to_owned()) {
        mode.value = YamlValue::Text("proxy-sidecar".to_owned());
        let problem = "lite is the same program here, and is read as proxy-sidecar: write proxy-sidecar";
        notices.push(Diagnostic { place: key.place, key: key.name.clone(), problem: problem.to_owned() });
    }
}

fn walk(node: &mut YamlNode, path: &str, notices: &mut Vec<Diagnostic>) {
    match &mut node.value {
        YamlValue::Map(members) => {
            members.retain(|(key, value)| {
                let is_absent = counts_as_absent(key, value);
                if is_absent {
                    let found = if value.value == YamlValue::Integer(0) { "0" } else { "empty" };
                    let problem = format!(
                        "it is {found}, which counts as absent, so its default holds: take it out, or write a value"
                    );
                    notices.push(Diagnostic { place: key.place, key: below(path, &key.name), problem });
                }
                !is_absent
            });
            for (key, value) in members {
                let path = below(path, &key.name);
                limit(key, &path, value, notices);
                shorten(key, &path, value, notices);
                walk(value, &path, notices);
            }
        }
        YamlValue::List(nodes) => {
            for (index, one) in nodes.iter_mut().enumerate() {
                walk(one, &format!("{path}[{index}]"), notices);
            }
        }
        YamlValue::Text(_)
        | YamlValue::Null
        | YamlValue::Bool(_)
        | YamlValue::Integer(_)
        | YamlValue::Float(_) => {}
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn counts_as_absent(key: &MemberKey, node: &YamlNode) -> bool {
    let name = key.name.as_str();
    match &node.value {
        YamlValue::Text(text) => text.is_empty() && !OURS.contains(&name),
        // A key without a value leaves its field as it was there.
        YamlValue::Null => !OURS.contains(&name),
        YamlValue::Integer(0) => COUNTS.contains(&name),
        YamlValue::List(nodes) => nodes.is_empty() && LISTS.contains(&name),
        _ => false,
    }
}

/// Replaces a count that means no limit by the most that there can be here.
fn limit(key: &MemberKey, path: &str, node: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let most = *SESSION_ITEMS.end();
    if let YamlValue::Integer(count @ ..0) = node.value
        && COUNTS.contains(&key.name.as_str())
        && let Ok(counts) = i64::try_from(most)
    {
        let problem = format!(
            "{count} means no limit, and {most} counts: what is older is forgotten; write a number from {} to {most}",
            SESSION_ITEMS.start()
        );
        notices.push(Diagnostic { place: key.place, key: path.to_owned(), problem });
        node.value = YamlValue::Integer(counts);
    }
}

/// Replaces a time to live of sessions that has no unit, or is negative, by the shortest that there can be here.
fn shorten(key: &MemberKey, path: &str, node: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let found = match &node.value {
        YamlValue::Integer(count @ ..=0) => count.to_string(),
        YamlValue::Text(text) if text.starts_with('-') => text.clone(),
        _ => return,
    };
    if path == "session.ttl" {
        let least = format!("{}s", SESSION_TTL.start().as_secs());
        let problem = format!(
            "{} is no time to live, and {least} counts: write a duration such as 30m",
            countersign_core::text::Quoted(&found)
        );
        notices.push(Diagnostic { place: key.place, key: path.to_owned(), problem });
        node.value = YamlValue::Text(least);
    }
}
