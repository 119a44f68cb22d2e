//! JSON Pointers (RFC 6901) into `serde_json` values: listing, reading and removing what they name.

use serde_json::Value;

/// The pointers of all values, parents before children.
pub fn all(root: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(root, String::new(), &mut found);
    found
}

fn collect(value: &Value, pointer: String, found: &mut Vec<String>) {
    let place = found.len();
    found.push(pointer);
    let below = |inner: &Value, name: &str, found: &mut Vec<String>| {
        let pointer = child(&found[place], name);
        collect(inner, pointer, found);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, inner)| below(inner, name, found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, inner)| below(inner, &index.to_string(), found));
        }
        _ => {}
    }
}

/// The pointer of a member.
pub fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// True if `pointer` names the same value as `above` or something inside it.
pub fn is_within(pointer: &str, above: &str) -> bool {
    pointer.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The last member name or index.
pub fn last(pointer: &str) -> &str {
    pointer.rsplit('/').next().unwrap_or_default()
}

/// Takes one value out; false if there is none, or if it is the root.
pub fn remove(root: &mut Value, pointer: &str) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let name = name.replace("~1", "/").replace("~0", "~");
    match root.pointer_mut(parent) {
        Some(Value::Object(members)) => members.remove(&name).is_some(),
        Some(Value::Array(items)) => match name.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Takes several values out, later elements of an array first. Returns the pointers that named nothing.
pub fn remove_all(root: &mut Value, pointers: &[String]) -> Vec<String> {
    let order = |pointer: &str| -> Vec<(Option<usize>, String)> {
        pointer.split('/').map(|token| (token.parse().ok(), token.to_owned())).collect()
    };
    let mut last_first = pointers.to_vec();
    last_first.sort_by_cached_key(|pointer| std::cmp::Reverse(order(pointer)));
    last_first.retain(|pointer| !remove(root, pointer));
    last_first
}
