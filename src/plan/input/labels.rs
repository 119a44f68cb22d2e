//! Sizes of labels and selectors: of an object with more than is read, no plan says which Pods are its own.

use crate::limits::{ITEMS, LABEL_BYTES, LABELS};
use countersign_core::refusal::{Reason, Refusal};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// True if labels of this number and of this many bytes, keys and values, are more than are read.
pub const fn are_too_many(count: usize, bytes: usize) -> bool {
    count > LABELS || bytes > LABEL_BYTES
}

/// Refuses a workload of which the object, the Pod template or the selector has more labels than are read.
///
/// # Errors
/// [`Reason::LabelsTooMany`] says how many are read.
pub fn check_sizes<'a>(
    sets: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
    selector: &'a LabelSelector,
) -> Result<(), Refusal> {
    let is_large = |labels: &BTreeMap<String, String>| {
        let bytes = labels.iter().map(|(key, value)| key.len().saturating_add(value.len()));
        are_too_many(labels.len(), bytes.fold(0, usize::saturating_add))
    };
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    let has_many_values =
        expressions.iter().filter_map(|one| one.values.as_ref()).any(|values| values.len() > ITEMS);
    let mut all = sets.into_iter().chain(selector.match_labels.as_ref());
    if all.any(is_large) || expressions.len() > ITEMS || has_many_values {
        return Err(too_many_labels());
    }
    Ok(())
}

/// Refusal of a workload that has more labels than are read.
pub(crate) fn too_many_labels() -> Refusal {
    let found = format!(
        "the workload, its Pod template or its selector has more labels than are read: of each, {LABELS} with {} KiB of \
         keys and values, and {ITEMS} expressions of a selector with as many values",
        LABEL_BYTES.div_euclid(1024)
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
        for (of_object, selector, is_refused) in [
            (labels(LABELS, 1), by(few.clone()), false),
            (labels(LABELS + 1, 1), by(few.clone()), true),
            (labels(LABELS, LABEL_BYTES / LABELS - 4), by(few.clone()), false),
            (labels(LABELS, LABEL_BYTES / LABELS - 3), by(few.clone()), true),
            (few.clone(), by(labels(LABELS + 1, 1)), true),
            (few.clone(), expressions(ITEMS, ITEMS), false),
            (few.clone(), expressions(ITEMS + 1, 1), true),
            (few.clone(), expressions(1, ITEMS + 1), true),
        ] {
            let refused = check_sizes([&few, &of_object], &selector).err();
            assert_eq!(refused.is_some(), is_refused, "{} labels", of_object.len());
            if let Some(refusal) = refused {
                assert_eq!(refusal.reason(), Reason::LabelsTooMany);
                assert!(refusal.message().contains("128 with 8 KiB"), "{refusal}");
            }
        }
    }
}
