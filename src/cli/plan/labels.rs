//! Labels of a manifest that the API server would not take: those of another syntax, and what YAML reads as no text, such as
//! `5` or `true` without quotes.

use countersign_core::text::Quoted;
use countersign_plan::input::labels::{is_label_key, is_label_value};
use serde_json::Value;

/// Kind of Services.
const SERVICE_KIND: &str = "Service";

/// Place of the labels by which a Service selects Pods.
const SERVICE_SELECTOR: &str = "/spec/selector";

/// Places of labels and of selectors by labels, in all kinds that are read.
const PLACES: [&str; 6] = [
    "/metadata/labels",
    SERVICE_SELECTOR,
    "/spec/selector/matchLabels",
    "/spec/template/metadata/labels",
    "/spec/podTemplate/metadata/labels",
    "/spec/jobTemplate/spec/template/metadata/labels",
];

/// Syntax of a value, for messages.
const VALUE: &str =
    "at most 63 letters, digits, `-`, `_` and `.`, which begin and end with a letter or digit";

/// Label that the API server would refuse.
#[derive(Debug)]
pub(super) struct LabelProblem {
    place: &'static str,
    told: String,
    is_text: bool,
}

/// Problems of all labels of an object, in the order of [`PLACES`].
pub(super) fn label_problems(object: &Value) -> Vec<LabelProblem> {
    let at = |place: &'static str| {
        let labels = object.pointer(place).and_then(Value::as_object);
        labels.into_iter().flatten().filter_map(move |(key, value)| problem(key, value, place))
    };
    PLACES.into_iter().flat_map(at).collect()
}

impl LabelProblem {
    /// True if YAML reads the label as text, which an object needs to be read at all.
    pub(super) const fn is_text(&self) -> bool {
        self.is_text
    }

    /// True if it is in the labels by which a Service selects Pods.
    pub(super) fn is_in_service_selector(&self, kind: &str) -> bool {
        kind == SERVICE_KIND && self.place == SERVICE_SELECTOR
    }

    /// Sentence about it: place, key and value.
    pub(super) fn told(&self) -> &str {
        &self.told
    }
}

fn problem(key: &str, value: &Value, place: &'static str) -> Option<LabelProblem> {
    let shown = place.trim_start_matches('/').replace('/', ".");
    let told = match value {
        Value::Bool(_) | Value::Number(_) | Value::Null => format!(
            "the label {} in {shown} is {}, which is no text: write it in quotes",
            Quoted(key),
            Quoted(&value.to_string())
        ),
        Value::String(_) if !is_label_key(key) => format!(
            "the key {} in {shown} is none of a label: a name of {VALUE}, after a DNS name and a slash if there is one",
            Quoted(key)
        ),
        Value::String(text) if !is_label_value(text) => format!(
            "the label {} in {shown} is {}, which no label may be: {VALUE}",
            Quoted(key),
            Quoted(text)
        ),
        // A selector of labels holds maps and lists beside them.
        Value::String(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(LabelProblem { place, told, is_text: value.is_string() })
}
