//! Injection of the sidecar into a Pod at its admission: a JSON Patch (RFC 6902) from the Pod and the settings alone.
//! Whatever the Pod needs was made before its template asked for the sidecar, so that admission has no side effect.
//! What is injected is computed from the Pod without it: a Pod that is admitted twice is patched once, and a container that
//! only has the sidecar's name is replaced.

mod config;
mod environment;
mod json;
mod ports;
mod probes;
mod sidecar;
mod version;

pub use config::{ConfigProblem, SidecarSources, plan_sidecar_config};
pub use sidecar::{SidecarSettings, SpireSocket};
pub use version::{has_native_sidecars, minor_version};

use countersign_api::keys::{
    Family, INJECTION_ANNOTATION, SIDECAR_ANNOTATION, SIDECAR_CONTAINER, SIDECAR_MODE,
};
use json::{at, object, set, take_items, text};
use json_patch::Patch;
use ports::Ports;
use serde_json::{Value, json};
use sidecar::{Asked, add_volume};

/// Decision about one Pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Injection {
    /// The Pod gets the sidecar; the patch is empty if it has it already.
    Injected {
        /// Changes of the Pod.
        patch: Patch,
        /// What is not as whoever wrote the Pod may expect.
        warnings: Vec<String>,
    },
    /// The Pod stays without a sidecar, which the patch notes in an annotation.
    Skipped {
        /// Note of the reason.
        patch: Patch,
        /// The reason.
        reason: String,
    },
    /// The Pod asks for a sidecar and cannot have it.
    Refused(String),
}

/// Plans the injection of a Pod as it is sent to be created; without settings the cluster is not known yet.
pub fn plan_injection(pod: &Value, settings: Option<&SidecarSettings>) -> Injection {
    if let Some(reason) = skips(pod) {
        let patch = json_patch::diff(pod, &annotated(pod, &format!("skipped: {reason}")));
        return Injection::Skipped { patch, reason };
    }
    let Some(settings) = settings else {
        let problem =
            "the operator has just started, and does not know yet what the cluster offers: create it again";
        return Injection::Refused(problem.to_owned());
    };
    match inject(&without_sidecar(pod), settings) {
        Ok((injected, warnings)) => Injection::Injected { patch: json_patch::diff(pod, &injected), warnings },
        Err(problem) => Injection::Refused(problem),
    }
}

/// Why a Pod stays as it is.
fn skips(pod: &Value) -> Option<String> {
    let labels = at(pod, &["metadata", "labels"]);
    let is_enrolled = Family::ALL
        .into_iter()
        .any(|family| matches!(text(labels, family.type_label()), Some("agent" | "tool")));
    if !is_enrolled {
        return Some(format!("the Pod has no label {}", Family::Kagenti.type_label()));
    }
    if let Some(label) = Family::ALL
        .into_iter()
        .map(Family::inject_label)
        .find(|label| text(labels, label) == Some("disabled"))
    {
        return Some(format!("the Pod has the label {label}=disabled"));
    }
    if text(at(pod, &["metadata", "annotations"]), SIDECAR_ANNOTATION).is_none() {
        return Some(
            "no AgentRuntime with a configuration for the sidecar enrols its workload: look at the condition \
             SidecarConfigured of the AgentRuntime"
                .to_owned(),
        );
    }
    None
}

fn annotated(pod: &Value, said: &str) -> Value {
    let mut pod = pod.clone();
    let annotations = object(object(&mut pod, "metadata"), "annotations");
    set(annotations, INJECTION_ANNOTATION, json!(said));
    pod
}

/// The Pod without a container that has the sidecar's name. What else injection adds is the same the second time.
fn without_sidecar(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for list in ["initContainers", "containers"] {
        if let Some(Value::Array(containers)) = pod.get_mut("spec").and_then(|spec| spec.get_mut(list)) {
            containers.retain(|container| text(Some(container), "name") != Some(SIDECAR_CONTAINER));
        }
    }
    pod
}

fn inject(pod: &Value, settings: &SidecarSettings) -> Result<(Value, Vec<String>), String> {
    if at(pod, &["spec", "hostNetwork"]).and_then(Value::as_bool) == Some(true) {
        return Err(
            "spec.hostNetwork is true: a sidecar cannot guard ports of the node; take it out".to_owned()
        );
    }
    if settings.image.is_empty() {
        return Err(format!(
            "its annotation {SIDECAR_ANNOTATION} asks for a sidecar, and the operator was started without --sidecar-image: \
             start it with one, or take the label {} off the namespace",
            Family::Kagenti.namespace_label()
        ));
    }
    if text(at(pod, &["metadata", "annotations"]), SIDECAR_ANNOTATION) != Some(SIDECAR_MODE) {
        return Err(format!(
            "its annotation {SIDECAR_ANNOTATION} is not {SIDECAR_MODE}, the one mode that is injected"
        ));
    }
    let (ports, asked) = (Ports::of(pod)?, Asked::of(at(pod, &["metadata", "annotations"]), settings)?);
    let mut warnings = ports.warnings();
    let mut pod = annotated(pod, &ports.to_string());
    let spec = object(&mut pod, "spec");
    let [mut before, mut containers] = ["initContainers", "containers"].map(|list| take_items(spec, list));
    for container in before.iter_mut().chain(&mut containers) {
        probes::redirect(container, &ports);
        warnings.extend(environment::lead_through_proxy(container, ports.outbound));
    }
    if let Some(agent) = containers.get_mut(ports.agent_container) {
        environment::write(agent, "PORT", &ports.agent.to_string());
    }
    let sidecar = asked.container(settings, &ports);
    if settings.is_native {
        before.insert(0, sidecar);
    } else {
        containers.push(sidecar);
    }
    let mut volumes = take_items(spec, "volumes");
    for volume in asked.volumes() {
        add_volume(&mut volumes, volume)?;
    }
    for (list, items) in [("initContainers", before), ("containers", containers), ("volumes", volumes)] {
        if !items.is_empty() {
            set(spec, list, Value::Array(items));
        }
    }
    Ok((pod, warnings))
}

#[cfg(test)]
mod tests;
