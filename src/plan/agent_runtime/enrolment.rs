//! Fields of a workload that the operator owns while an `AgentRuntime` enrols it. They are applied under a field manager
//! of their own, and giving them up puts the workload back. What others say otherwise is refused before.

use super::config_hash::Data;
use super::fields::identity;
use super::runtime::IndexedRuntime;
use super::sandbox::Replacement;
use super::sidecar::SidecarPlan;
use super::target::Target;
use crate::input::enrolment::{A2A, protocol};
use crate::input::workload::WorkloadRef;
use countersign_api::agent_runtime::RuntimeType;
use countersign_api::keys::{
    CONFIG_HASH_ANNOTATION, Family, MANAGED_BY, MANAGED_BY_APP_LABEL, REPLACED_POD_ANNOTATION, RUNTIME_LABEL,
    SIDECAR_ANNOTATION, SIDECAR_SPIFFE_ANNOTATION,
};
use countersign_core::text::Quoted;
use serde_json::{Value, json};

/// Fields of a workload that the operator owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Enrolment {
    labels: Data,
    template_labels: Data,
    template_annotations: Data,
    /// What becomes of the Pod of a Sandbox.
    pub(super) replacement: Replacement,
}

impl Enrolment {
    /// Fields for a workload under `runtime`; `hash` is that of the configuration.
    pub(super) fn of(runtime: &IndexedRuntime, target: &Target, hash: &str, sidecar: &SidecarPlan) -> Self {
        let enrols = (Family::Kagenti.type_label(), runtime.runtime_type.as_str());
        let mut labels = owned(&[enrols, (RUNTIME_LABEL, &runtime.label)]);
        // Whoever manages the workload keeps the label that says so.
        if target.labels.get(MANAGED_BY_APP_LABEL).is_none_or(|manager| manager == MANAGED_BY) {
            labels.insert(MANAGED_BY_APP_LABEL.to_owned(), MANAGED_BY.to_owned());
        }
        // An agent has a card, whatever its workload names.
        let own_protocol = format!("{}{A2A}", Family::Kagenti.protocol_prefix());
        let mut others = target.labels.clone();
        let is_own = others.remove(&own_protocol).is_none_or(|value| value.is_empty());
        if runtime.runtime_type == RuntimeType::Agent && is_own && protocol(&others).is_none() {
            labels.insert(own_protocol, String::new());
        }
        let mut template_annotations = sidecar.annotations(runtime, target);
        template_annotations.insert(CONFIG_HASH_ANNOTATION.to_owned(), hash.to_owned());
        let template_labels = owned(&[enrols]);
        let mut enrolment =
            Self { labels, template_labels, template_annotations, replacement: Replacement::default() };
        let wanted = (&enrolment.template_labels, &enrolment.template_annotations);
        enrolment.replacement = Replacement::of(target, wanted, !enrolment.has_template(target));
        enrolment
    }

    /// True if the workload has all fields, so that nothing is written.
    pub(super) fn is_applied(&self, target: &Target) -> bool {
        holds(&self.labels, &target.labels)
            && self.has_template(target)
            && self.replacement.record == target.replaced_pod
    }

    /// True if the Pod template has all fields.
    fn has_template(&self, target: &Target) -> bool {
        let has_more = [SIDECAR_ANNOTATION, SIDECAR_SPIFFE_ANNOTATION].iter().any(|key| {
            target.template_annotations.contains_key(*key) && !self.template_annotations.contains_key(*key)
        });
        holds(&self.template_labels, &target.template_labels)
            && holds(&self.template_annotations, &target.template_annotations)
            && !has_more
    }

    /// Object for server-side apply. The UID of `target` keeps it from making, or changing, another workload of this name.
    pub(super) fn object(&self, workload: &WorkloadRef, target: &Target) -> Value {
        let mut object = identity((workload, target.api_version.as_deref()), &target.uid);
        let template = json!({ "metadata": {
            "labels": self.template_labels, "annotations": self.template_annotations } });
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.insert("labels".to_owned(), json!(self.labels));
            if let Some(uid) = &self.replacement.record {
                metadata.insert("annotations".to_owned(), json!({ REPLACED_POD_ANNOTATION: uid }));
            }
        }
        object.insert("spec".to_owned(), json!({ workload.kind.template_member(): template }));
        Value::Object(object)
    }
}

/// True if all of `wanted` is in `found`.
fn holds(wanted: &Data, found: &Data) -> bool {
    wanted.iter().all(|(key, value)| found.get(key).is_some_and(|found| found == value))
}

/// What the workload says otherwise, if anything: a type that somebody else gave it.
pub(super) fn contradiction(runtime: &IndexedRuntime, target: &Target) -> Option<String> {
    if target.labels.get(RUNTIME_LABEL) == Some(&runtime.label) {
        // What stands there was written for this object, perhaps before its type was changed.
        return None;
    }
    let key = Family::Kagenti.type_label();
    let wanted = runtime.runtime_type.as_str();
    let both = [("the workload", &target.labels), ("its Pod template", &target.template_labels)];
    both.into_iter().find_map(|(whose, labels)| {
        let found = labels.get(key).filter(|found| *found != wanted)?;
        Some(format!(
            "spec.type is {wanted}, and {whose} has the label {key}={}: change spec.type, or take the label off",
            Quoted(found)
        ))
    })
}

fn owned(pairs: &[(&str, &str)]) -> Data {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
