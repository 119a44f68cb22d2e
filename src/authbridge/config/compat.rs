//! What `--compat` does to a file of the existing AuthBridge before it is read: values that count as absent there go, and so
//! do plugins that only watch or shorten traffic or do not run, each with a notice. Nothing that gates a request is passed over.

mod listeners;
mod plugins;

use super::flat_form;
use crate::limits::SESSION_ITEMS;
use countersign_api::yaml::{Diagnostic, MemberKey, YamlNode, YamlValue};
use countersign_core::text::Quoted;

/// Keys that only this program has: an empty value there is a mistake, and taking it for absent could widen a rule.
const OURS: [&str; 6] =
    ["server_spiffe_id", "allowed_peers", "allowed_clients", "required_scopes", "token_file", "files_dir"];
/// Counts whose zero means the default there, and whose negative numbers mean no limit.
const COUNTS: [&str; 2] = ["max_events", "max_sessions"];
/// Lists whose emptiness means the default there.
const LISTS: [&str; 1] = ["bypass_paths"];

/// Keys of `mtls` in old files, and what the files are called that spiffe-helper writes.
const MTLS_FILES: [(&str, &str); 3] =
    [("cert_file", "svid.pem"), ("key_file", "svid_key.pem"), ("bundle_file", "svid_bundle.pem")];

/// Removes from a file what counts as absent, or is passed over; a notice for each.
pub(super) fn ease(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    flat_form::translate(root, notices);
    listeners::ease(root, notices);
    take_files(root, notices);
    plugins::pass_over(root, notices);
    walk(root, "", notices);
}

/// Takes out the keys under which `mtls` had the files of the identity. Without a block `spiffe` they become one that reads
/// those files, if they are a set as spiffe-helper writes it; any other set is left to the check of `mtls`.
fn take_files(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let YamlValue::Map(blocks) = &mut root.value else { return };
    let has_source = blocks.iter().any(|(key, _)| key.name == "spiffe");
    let Some((block, mtls)) = blocks.iter_mut().find(|(key, _)| key.name == "mtls") else { return };
    let YamlValue::Map(members) = &mut mtls.value else { return };
    let place = block.place;
    let (files, rest): (Vec<_>, Vec<_>) = std::mem::take(members)
        .into_iter()
        .partition(|(key, _)| MTLS_FILES.iter().any(|(name, _)| *name == key.name));
    *members = rest;
    let folder = MTLS_FILES
        .iter()
        .map(|(key, name)| folder_of(&files, key, name))
        .reduce(|one, other| if one == other { one } else { None });
    let folder = folder.flatten().filter(|_| !has_source);
    let what = match &folder {
        Some(folder) => {
            let folder = Quoted(folder);
            format!(
                "the identity is read from {folder}; write `spiffe: {{files_dir: {folder}}}` instead of this key"
            )
        }
        None if has_source => {
            "it is passed over, because the block `spiffe` says where identities come from; take it out, or write \
             `spiffe.files_dir` for files"
                .to_owned()
        }
        None => "it is passed over; set `spiffe.files_dir` to a folder with svid.pem, svid_key.pem and svid_bundle.pem"
            .to_owned(),
    };
    for (key, _) in &files {
        notices.push(Diagnostic { place: key.place, key: below("mtls", &key.name), problem: what.clone() });
    }
    if let Some(folder) = folder {
        let member =
            |name: &str, value| (MemberKey { name: name.to_owned(), place }, YamlNode { value, place });
        let files_dir = member("files_dir", YamlValue::Text(folder));
        blocks.push(member("spiffe", YamlValue::Map(vec![files_dir])));
    }
}

/// Folder of the file that stands under `key`, if it has the usual `name`.
fn folder_of(files: &[(MemberKey, YamlNode)], key: &str, name: &str) -> Option<String> {
    let (_, node) = files.iter().find(|(found, _)| found.name == key)?;
    let YamlValue::Text(path) = &node.value else { return None };
    let folder = path.strip_suffix(name)?.strip_suffix('/')?;
    (!folder.is_empty()).then(|| folder.to_owned())
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
