//! Sizes of labels and selectors: of an object with more than is read, no plan says which Pods are its own.

pub use super::syntax::{is_label_key, is_label_value};

use crate::limits::{ITEMS, LABEL_BYTES, LABELS};
use countersign_core::refusal::{Reason, Refusal};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// Size of the labels of one object, or of those that one selector asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelsSize {
    /// Number of labels.
    pub count: usize,
    /// Bytes of all keys and values.
    pub bytes: usize,
}

impl LabelsSize {
    /// Size of labels.
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        labels.iter().fold(Self::default(), |size, (key, value)| size.with(key, value))
    }

    /// Size with one label more.
    #[must_use]
    pub const fn with(self, key: &str, value: &str) -> Self {
        let bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
        Self { count: self.count.saturating_add(1), bytes }
    }

    /// True if these are more labels than are read.
    pub const fn is_too_large(self) -> bool {
        self.count > LABELS || self.bytes > LABEL_BYTES
    }

    /// Refusal of a workload because `whose` labels are more than are read.
    ///
    /// # Errors
    /// [`Reason::LabelsTooMany`] says whose they are, how many, and how many are read.
    pub fn check(self, whose: &str) -> Result<(), Refusal> {
        let Self { count, bytes } = self;
        let found = if count > LABELS {
            format!("{whose} has {count} labels, and {LABELS} are read")
        } else if bytes > LABEL_BYTES {
            format!("{whose} has labels with {bytes} bytes of keys and values, and {LABEL_BYTES} are read")
        } else {
            return Ok(());
        };
        Err(Refusal::new(Reason::LabelsTooMany, found))
    }
}

/// Workload object in messages about its labels.
pub const OF_WORKLOAD: &str = "the workload";
/// Pod template in messages about its labels.
pub const OF_TEMPLATE: &str = "the Pod template";
/// Selector in messages about its labels.
pub const OF_SELECTOR: &str = "the selector of the workload";

/// Refuses a workload of which the object, the Pod template or the selector has more labels than are read.
///
/// # Errors
/// [`Reason::LabelsTooMany`] names the first of them, what it has, and what is read.
pub fn check_sizes(
    own: &BTreeMap<String, String>,
    template: &BTreeMap<String, String>,
    selector: &LabelSelector,
) -> Result<(), Refusal> {
    let selected = selector.match_labels.iter().map(|labels| (OF_SELECTOR, labels));
    for (whose, labels) in [(OF_WORKLOAD, own), (OF_TEMPLATE, template)].into_iter().chain(selected) {
        LabelsSize::of(labels).check(whose)?;
    }
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    let has_many_values =
        expressions.iter().filter_map(|one| one.values.as_ref()).any(|values| values.len() > ITEMS);
    if expressions.len() > ITEMS || has_many_values { Err(too_many_expressions()) } else { Ok(()) }
}

/// Refusal of a workload whose selector has more expressions, or more values in one, than are read.
pub fn too_many_expressions() -> Refusal {
    let found = format!(
        "{OF_SELECTOR} has more than {ITEMS} expressions, or one with more than {ITEMS} values, and as many are read"
    );
    Refusal::new(Reason::LabelsTooMany, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    fn labels(count: usize, value: usize) -> BTreeMap<String, String> {
        (0..count).map(|number| (format!("l{number:03}"), "x".repeat(value))).collect()
    }

    fn expressions(count: usize, values: usize) -> LabelSelector {
        let one = LabelSelectorRequirement {
            key: "a".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec!["b".to_owned(); values]),
        };
        LabelSelector { match_expressions: Some(vec![one; count]), match_labels: None }
    }

    #[test]
    fn what_is_read_whole_is_planned_for_and_one_more_is_refused_with_the_numbers() {
        let by = |labels| LabelSelector { match_labels: Some(labels), match_expressions: None };
        let few = labels(1, 1);
        let (fits, many) = (labels(LABELS, LABEL_BYTES / LABELS - 4), labels(LABELS + 1, 1));
        let long = labels(LABELS, LABEL_BYTES / LABELS - 3);
        let ours = by(few.clone());
        for (own, template, selector, says) in [
            (&labels(LABELS, 1), &fits, &ours, None),
            (&many, &few, &ours, Some("the workload has 129 labels, and 128 are read")),
            (&few, &many, &ours, Some("the Pod template has 129 labels, and 128 are read")),
            (
                &few,
                &long,
                &ours,
                Some("the Pod template has labels with 8320 bytes of keys and values, and 8192 are read"),
            ),
            (
                &few,
                &few,
                &by(many.clone()),
                Some("the selector of the workload has 129 labels, and 128 are read"),
            ),
            (&few, &few, &expressions(ITEMS, ITEMS), None),
            (&few, &few, &expressions(ITEMS + 1, 1), Some("has more than 64 expressions")),
            (&few, &few, &expressions(1, ITEMS + 1), Some("or one with more than 64 values")),
        ] {
            let refused = check_sizes(own, template, selector).err();
            assert_eq!(refused.is_some(), says.is_some(), "{says:?}");
            if let Some((refusal, says)) = refused.zip(says) {
                assert_eq!(refusal.reason(), Reason::LabelsTooMany);
                assert!(refusal.message().contains(says), "{refusal}");
            }
        }
    }
}
