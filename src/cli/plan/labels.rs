//! Labels of a manifest that the API server would not take: YAML reads `5` or `true` without quotes as no text.

use countersign_core::text::Quoted;
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

/// Problem of the first label whose value is no text.
///
/// # Errors
/// Sentence with place, key and value.
pub(super) fn check_labels(object: &Value) -> Result<(), String> {
    for place in PLACES {
        let labels = object.pointer(place).and_then(Value::as_object);
        // A selector of labels holds maps and lists beside them.
        let is_plain = |value: &Value| matches!(value, Value::Bool(_) | Value::Number(_) | Value::Null);
        let found = labels.and_then(|labels| labels.iter().find(|(_, value)| is_plain(value)));
        if let Some((key, value)) = found {
            let place = place.trim_start_matches('/').replace('/', ".");
            return Err(format!(
                "the label {} in {place} is {}, which is no text: write it in quotes",
                Quoted(key),
                Quoted(&value.to_string())
            ));
        }
    }
    Ok(())
}
