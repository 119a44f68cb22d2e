//! Pods and templates of Pods in manifests, and what the webhook would decide about each at its creation.

use super::metadata::shown;
use super::namespaces::Namespaces;
use super::standings::place_of_labels;
use crate::exit::{Unusable, one_line};
use crate::page::wrap;
use countersign_core::text::Quoted;
use countersign_plan::injection::{Injection, NewPod, SidecarSettings, plan_injection};
use countersign_plan::input::sandbox::SANDBOX_KIND;
use countersign_plan::input::workload::WorkloadKind;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Width of the text in a comment, in columns, beside the sign of comments.
const COMMENT_COLUMNS: usize = 78;
/// End of the place of labels in a Pod or template.
const LABELS: &str = "/metadata/labels";

/// A Pod, or the Pods of a template that asks for the sidecar.
#[derive(Debug)]
pub(super) struct PodManifest {
    shown: String,
    namespace: String,
    pod: NewPod,
}

/// Decision about one Pod, as the webhook would come to it.
#[derive(Debug, Serialize)]
pub(super) struct DecidedPod {
    /// Kind, namespace and name of the Pod, or of what makes it.
    pod: String,
    decision: Decision,
    /// What is done, or why it is not.
    because: String,
    warnings: Vec<String>,
    /// Changes of the Pod, or of the template's Pods.
    patch: Patch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Injected,
    Skipped,
    Refused,
}

/// Place of the template of Pods in an object of this kind, empty for a Pod; `None` for what runs no Pods.
fn place(version: &str, kind: &str) -> Option<String> {
    match WorkloadKind::parse(version, kind) {
        Some(_) if kind == SANDBOX_KIND => Some("/spec/podTemplate".to_owned()),
        Some(_) => Some("/spec/template".to_owned()),
        None => place_of_labels(version, kind)?.strip_suffix(LABELS).map(str::to_owned),
    }
}

impl PodManifest {
    /// Reads a Pod, or a template whose annotations ask for the sidecar; `None` for all else.
    pub(super) fn of(version: &str, kind: &str, object: &Value) -> Result<Option<Self>, serde_json::Error> {
        let Some(place) = place(version, kind) else { return Ok(None) };
        let Some(template) = object.pointer(&place) else { return Ok(None) };
        let pod = NewPod::deserialize(template)?;
        if !place.is_empty() && !pod.asks_for_sidecar() {
            return Ok(None);
        }
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let namespace = text("/metadata/namespace").unwrap_or("default").to_owned();
        let name = text("/metadata/name").unwrap_or_else(|| pod.name());
        Ok(Some(Self { shown: shown(kind, &namespace, name), namespace, pod }))
    }

    /// True if it asks for the sidecar.
    pub(super) fn asks_for_sidecar(&self) -> bool {
        self.pod.asks_for_sidecar()
    }

    /// Decides as the webhook would, which is not asked in every namespace.
    pub(super) fn decide(
        &self,
        namespaces: &Namespaces,
        settings: &SidecarSettings,
        operator_namespace: &str,
    ) -> DecidedPod {
        let unasked = namespaces.unasked(&self.namespace, operator_namespace);
        let (decision, because, warnings, patch) = if let Some(why) = unasked {
            (Decision::Skipped, why, Vec::new(), Patch::default())
        } else {
            match plan_injection(&self.pod, Some(settings)) {
                Injection::Injected { patch, said, warnings } => {
                    let said = said.strip_prefix("injected: ").unwrap_or(&said).to_owned();
                    (Decision::Injected, said, warnings, patch)
                }
                Injection::Skipped { patch, reason } => (Decision::Skipped, reason, Vec::new(), patch),
                Injection::Refused(problem) => (Decision::Refused, problem, Vec::new(), Patch::default()),
            }
        };
        DecidedPod { pod: self.shown.clone(), decision, because, warnings, patch }
    }

    /// Note that its namespace counts as one where sidecars are injected, if it asks for one and the manifests lack the namespace.
    pub(super) fn note(&self, namespaces: &Namespaces) -> Option<String> {
        (self.asks_for_sidecar() && !namespaces.is_known(&self.namespace)).then(|| {
            format!(
                "note: Namespace {} is not among the manifests, and counts as one where sidecars are injected",
                Quoted(&self.namespace)
            )
        })
    }
}

impl DecidedPod {
    /// Comment in YAML: the decision, and each change on a line of its own as JSON.
    pub(super) fn comment(&self) -> Result<String, Unusable> {
        let decision = match self.decision {
            Decision::Injected => "gets the sidecar",
            Decision::Skipped => "stays without a sidecar",
            Decision::Refused => "is refused",
        };
        let mut lines =
            wrap(&one_line(&format!("{} {decision}: {}", self.pod, self.because)), COMMENT_COLUMNS);
        for warning in &self.warnings {
            lines.extend(wrap(&one_line(&format!("warning: {warning}")), COMMENT_COLUMNS));
        }
        if self.decision == Decision::Injected && self.patch.0.is_empty() {
            lines.push("It has all of it already.".to_owned());
        }
        for change in &self.patch.0 {
            lines.push(one_line(&serde_json::to_string(change).map_err(Unusable::new)?));
        }
        Ok(lines.iter().flat_map(|line| ["# ", line.as_str(), "\n"]).collect())
    }
}
