//! Access to members of a Pod in JSON. A Pod is not read into types, because a patch must keep members that are newer than
//! the types.

use serde_json::{Map, Value};

/// Value below these names.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// Text of a member.
pub(super) fn text<'v>(value: Option<&'v Value>, name: &str) -> Option<&'v str> {
    value?.get(name)?.as_str()
}

/// Items of a list below these names; none if there is no such list.
pub(super) fn items<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Member that is an object, made if there is none. The API server admits no Pod in which it is anything else.
pub(super) fn object<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    let member = member(value, name);
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    member
}

/// Takes the items of a list out; none if there is no such list.
pub(super) fn take_items(value: &mut Value, name: &str) -> Vec<Value> {
    match value.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// Adds an item with a name, in place of one with the same name.
pub(super) fn upsert(items: &mut Vec<Value>, item: Value) {
    let name = text(Some(&item), "name").map(str::to_owned);
    match items.iter_mut().find(|known| text(Some(known), "name") == name.as_deref()) {
        Some(known) => *known = item,
        None => items.push(item),
    }
}

/// Writes a member.
pub(super) fn set(value: &mut Value, name: &str, content: Value) {
    *member(value, name) = content;
}

fn member<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(members) => members.entry(name).or_insert(Value::Null),
        other => other,
    }
}
