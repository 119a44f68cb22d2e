//! Namespace objects of a plan: which mode and enrolment their labels ask for.

use super::metadata::{name, shown_name};
use countersign_api::keys::{ENROLLED, ENROLLED_LABEL, Family, MODE_LABEL};
use countersign_core::text::Quoted;
use countersign_plan::Mode;
use countersign_plan::injection::{ENABLED, unasked};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// What the label of a namespace says about enforcement, and whether it enrols the namespace as a whole.
#[derive(Debug)]
struct NamespaceManifest {
    mode: Option<Mode>,
    /// Value of the mode label that is no mode.
    misspelt: Option<String>,
    is_enrolled: bool,
    labels: BTreeMap<String, String>,
}

/// Namespaces by name.
#[derive(Debug, Default)]
pub(super) struct Namespaces(BTreeMap<String, NamespaceManifest>);

impl Namespaces {
    /// Adds a Namespace object.
    pub(super) fn add(&mut self, metadata: &ObjectMeta) {
        let labels = metadata.labels.clone().unwrap_or_default();
        let mode = Mode::of_labels(&labels);
        let read = NamespaceManifest {
            mode,
            misspelt: labels.get(MODE_LABEL).filter(|_| mode.is_none()).cloned(),
            is_enrolled: labels.get(ENROLLED_LABEL).map(String::as_str) == Some(ENROLLED),
            labels,
        };
        self.0.insert(name(metadata).to_owned(), read);
    }

    /// Mode in a namespace: that of its label, else that of the operator.
    pub(super) fn mode(&self, namespace: &str, operator: Mode) -> Mode {
        self.0.get(namespace).and_then(|read| read.mode).unwrap_or(operator)
    }

    /// Names of the namespaces that are enrolled as a whole.
    pub(super) fn enrolled(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, read)| read.is_enrolled).map(|(name, _)| name.as_str())
    }

    /// True if the namespace is enrolled as a whole.
    pub(super) fn is_enrolled(&self, namespace: &str) -> bool {
        self.0.get(namespace).is_some_and(|read| read.is_enrolled)
    }

    /// True if it is among the manifests.
    pub(super) fn is_known(&self, namespace: &str) -> bool {
        self.0.contains_key(namespace)
    }

    /// Why the webhook is not asked about Pods of a namespace. One that is not among the manifests counts as one with the label.
    pub(super) fn unasked(&self, namespace: &str, operator_namespace: &str) -> Option<String> {
        let enabled = || (Family::Kagenti.namespace_label().to_owned(), ENABLED.to_owned());
        match self.0.get(namespace) {
            Some(read) => unasked(namespace, &read.labels, operator_namespace),
            None => unasked(namespace, &BTreeMap::from([enabled()]), operator_namespace),
        }
    }

    /// A line for every namespace whose label changes the mode, or is no mode.
    pub(super) fn notes(&self, operator: Mode) -> Vec<String> {
        let note = |(name, read): (&String, &NamespaceManifest)| {
            let name = shown_name(name);
            match (&read.misspelt, read.mode) {
                (Some(text), _) => Some(format!(
                    "warning: Namespace {name}: {MODE_LABEL}={} is no mode, so that of the operator counts; write audit or \
                     enforce",
                    Quoted(text)
                )),
                (None, Some(mode)) if mode != operator => Some(match mode {
                    Mode::Audit => {
                        format!("note: Namespace {name} is audited by its label: no policy is planned for it")
                    }
                    Mode::Enforce => format!("note: Namespace {name} is enforced by its label"),
                }),
                (None, _) => None,
            }
        };
        self.0.iter().filter_map(note).collect()
    }
}
