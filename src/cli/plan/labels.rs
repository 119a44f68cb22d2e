//! Labels of a manifest that the API server would not take: those of another syntax, and what YAML reads as no text, such as
//! `5` or `true` without quotes.

use countersign_core::text::Quoted;
use countersign_plan::input::labels::{is_label_key, is_label_value};
use serde_json::Value;

/// Places of labels and of selectors by labels, in all kinds that are read.
const PLACES: [&str; 6] = [
    "/metadata/labels",
    "/spec/selector",
    "/spec/selector/matchLabels",
    "/spec/template/metadata/labels",
    "/spec/podTemplate/metadata/labels",
    "/spec/jobTemplate/spec/template/metadata/labels",
];

/// Syntax of a value, for messages.
const VALUE: &str =
    "at most 63 letters, digits, `-`, `_` and `.`, which begin and end with a letter or digit";

/// Checks all labels of an object.
///
/// # Errors
/// Sentence about the first label that the API server would refuse: place, key and value.
pub(super) fn check_labels(object: &Value) -> Result<(), String> {
    for place in PLACES {
        let labels = object.pointer(place).and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            let shown = place.trim_start_matches('/').replace('/', ".");
            check_label(key, value, &shown)?;
        }
    }
    Ok(())
}

fn check_label(key: &str, value: &Value, place: &str) -> Result<(), String> {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::Null => Err(format!(
            "the label {} in {place} is {}, which is no text: write it in quotes",
            Quoted(key),
            Quoted(&value.to_string())
        )),
        Value::String(_) if !is_label_key(key) => Err(format!(
            "the key {} in {place} is none of a label: a name of {VALUE}, after a DNS name and a slash if there is one",
            Quoted(key)
        )),
        Value::String(text) if !is_label_value(text) => Err(format!(
            "the label {} in {place} is {}, which no label may be: {VALUE}",
            Quoted(key),
            Quoted(text)
        )),
        // A selector of labels holds maps and lists beside them.
        Value::String(_) | Value::Array(_) | Value::Object(_) => Ok(()),
    }
}
