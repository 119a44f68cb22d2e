//! Access to members of a Pod in JSON. A Pod is not read into types of Kubernetes, because a patch must keep members that are
//! newer than the types.

use serde_json::Value;

/// Value below these names.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// Text of a member.
pub(super) fn text<'v>(value: Option<&'v Value>, name: &str) -> Option<&'v str> {
    value?.get(name)?.as_str()
}

/// List that is a member; `None` if it is absent, or anything else.
pub(super) fn list<'v>(value: &'v Value, name: &str) -> Option<&'v [Value]> {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice)
}

/// Items of a list that is a member; none if there is no such list.
pub(super) fn items<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    list(value, name).unwrap_or_default()
}
