//! Injection of the sidecar into a Pod at its admission: a JSON Patch (RFC 6902) from the Pod and the settings alone.
//! Whatever the Pod needs was made before its template asked for the sidecar, so that admission has no side effect.
//! What is injected is computed from the Pod without it, and compared whole with what is there: a Pod that is admitted twice is
//! patched once, and a container that only has the sidecar's name is replaced. One whose sidecar would get other ports the
//! second time is refused.

mod changes;
#[cfg(feature = "agent-card")]
mod config;
mod containers;
mod environment;
mod json;
mod low_port;
mod pod;
mod ports;
mod probes;
mod scope;
mod sidecar;
mod version;

#[cfg(feature = "agent-card")]
pub use config::{ConfigProblem, SidecarSources, plan_sidecar_config};
pub use pod::NewPod;
pub use scope::{ENABLED, is_enabled, is_exempt, unasked};
pub use sidecar::{SidecarSettings, SpireSocket};
pub use version::{has_native_sidecars, minor_version};

use changes::Changes;
use containers::{Containers, Place};
use countersign_api::keys::{Family, SIDECAR_ANNOTATION, SIDECAR_MODE};
use environment::Environment;
use json::text;
use json_patch::Patch;
use json_patch::jsonptr::Pointer;
use low_port::plan_low_port;
use ports::Ports;
use serde_json::Value;
use sidecar::{Asked, plan_volumes};

/// Decision about one Pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Injection {
    /// The Pod gets the sidecar; the patch is empty if it has it already.
    Injected {
        /// Changes of the Pod.
        patch: Patch,
        /// What is done, as the annotation says it.
        said: String,
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
pub fn plan_injection(pod: &NewPod, settings: Option<&SidecarSettings>) -> Injection {
    if let Some(reason) = skips(pod) {
        let mut changes = Changes::default();
        changes.annotate(pod, &format!("skipped: {reason}"));
        return Injection::Skipped { patch: changes.into_patch(), reason };
    }
    let Some(settings) = settings else {
        let problem =
            "the operator has just started, and does not know yet what the cluster offers: create it again";
        return Injection::Refused(problem.to_owned());
    };
    match inject(pod, settings) {
        Ok(injected) => injected,
        Err(problem) => Injection::Refused(problem),
    }
}

/// Why a Pod stays as it is.
fn skips(pod: &NewPod) -> Option<String> {
    let labels = pod.labels();
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
    if text(pod.annotations(), SIDECAR_ANNOTATION).is_none() {
        return Some(
            "no AgentRuntime with a configuration for the sidecar enrols its workload: look at the condition \
             SidecarConfigured of the AgentRuntime"
                .to_owned(),
        );
    }
    None
}

/// Plans the sidecar, and what of the Pod changes with it.
fn inject(pod: &NewPod, settings: &SidecarSettings) -> Result<Injection, String> {
    let spec = pod.spec();
    if !spec.is_object() {
        return Err("it has no spec: write one with the containers of the agent".to_owned());
    }
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Err(
            "spec.hostNetwork is true: a sidecar cannot guard ports of the node; take it out".to_owned()
        );
    }
    if text(spec.get("os"), "name") == Some("windows") {
        return Err("spec.os.name is windows, and the sidecar runs on Linux: take the workload out of its AgentRuntime".to_owned());
    }
    if settings.image.is_empty() {
        return Err(format!(
            "its annotation {SIDECAR_ANNOTATION} asks for a sidecar, and the operator was started without --sidecar-image: \
             start it with one, or take the label {} off the namespace",
            Family::Kagenti.namespace_label()
        ));
    }
    if text(pod.annotations(), SIDECAR_ANNOTATION) != Some(SIDECAR_MODE) {
        return Err(format!(
            "its annotation {SIDECAR_ANNOTATION} is not {SIDECAR_MODE}, the one mode that is injected"
        ));
    }
    let [before, containers] = ["initContainers", "containers"].map(|list| Containers::of(spec, list));
    let (ports, asked) = (Ports::of(containers, before)?, Asked::of(pod.annotations(), settings)?);
    if let Some(problem) = ports.moved(containers, before) {
        return Err(problem);
    }
    let (said, mut warnings, mut changes) = (ports.to_string(), ports.warnings(), Changes::default());
    let sidecar = asked.container(settings, &ports);
    let (first, last) = if settings.is_native {
        (Some((sidecar, Place::First)), None)
    } else {
        (None, Some((sidecar, Place::Last)))
    };
    for (path, container) in before.plan(&mut changes, first) {
        warnings.extend(lead(container, &ports, false, (&mut changes, &path)));
    }
    for (index, (path, container)) in containers.plan(&mut changes, last).enumerate() {
        warnings.extend(lead(container, &ports, index == ports.agent_container, (&mut changes, &path)));
    }
    plan_volumes(&asked, spec, &mut changes)?;
    plan_low_port(ports.inbound, spec, &mut changes);
    // A warning reaches whoever creates the Pod, which is mostly a controller; the annotation is for people.
    let noted: Vec<&str> =
        std::iter::once(said.as_str()).chain(warnings.iter().map(String::as_str)).collect();
    changes.annotate(pod, &noted.join("; but "));
    Ok(Injection::Injected { patch: changes.into_patch(), said, warnings })
}

/// Plans a container beside the sidecar, and says what of it stays otherwise than expected.
fn lead(
    container: &Value,
    ports: &Ports,
    is_agent: bool,
    (changes, path): (&mut Changes, &Pointer),
) -> Option<String> {
    probes::redirect(container, ports, changes, path);
    let mut environment = Environment::of(container);
    let warning = environment.lead_through_proxy(ports.outbound);
    if is_agent {
        environment.write("PORT", &ports.agent.to_string());
    }
    environment.plan(changes, path);
    warning
}

#[cfg(test)]
#[cfg(feature = "agent-card")]
mod tests;
