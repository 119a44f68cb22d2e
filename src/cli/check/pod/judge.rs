//! What a Pod says about its sidecar, and what a Pod like it would get now.

use crate::check::finding::{Finding, listed};
use crate::check::unread::{Answer, Unread};
use countersign_api::keys::{INJECTION_ANNOTATION, SIDECAR_ANNOTATION, SIDECAR_CONTAINER};
use countersign_core::text::Quoted;
use countersign_plan::injection::{Injection, NewPod, SidecarSettings, plan_injection, unasked};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

const POD: &str = "pod";
const NAMESPACE: &str = "namespace";
const SIDECAR: &str = "sidecar";
const NEXT: &str = "next-pod";
/// What finds out why the webhook was not asked.
const WEBHOOK: &str = "`countersign check` says whether the webhook is well; delete the Pod then, and its controller makes a \
                       new one";

/// The Pod, or why nothing is known of it.
pub(super) fn judge_pod(shown: &str, answer: Answer<Pod>) -> Result<Pod, Finding> {
    answer.map_err(|unread| {
        let fix = "`kubectl get pods -n NAMESPACE` lists those that there are";
        Finding::unread(POD, shown, &unread, || Finding::fail(POD, shown, "does not exist", fix))
    })
}

/// Why the webhook is not asked about Pods of the namespace, as far as that is known, and the finding about it.
pub(super) fn judge_scope(
    namespace: &str,
    labels: &Answer<BTreeMap<String, String>>,
    operator: &str,
) -> (Option<String>, Finding) {
    let what = format!("Namespace {namespace}");
    match labels {
        Err(unread) => {
            let absent = || Finding::skipped(NAMESPACE, &what, "does not exist any more");
            (None, Finding::unread(NAMESPACE, &what, unread, absent))
        }
        Ok(labels) => match unasked(namespace, labels, operator) {
            None => (None, Finding::ok(NAMESPACE, &what, "asks for sidecars in its Pods")),
            Some(why) => {
                let found = format!("has no sidecars injected: {why}");
                (Some(why), Finding::skipped(NAMESPACE, &what, &found))
            }
        },
    }
}

/// What a Pod shows of injection.
pub(super) struct Sidecar {
    shown: String,
    is_there: bool,
    is_asked_for: bool,
    /// What its annotation says.
    said: Option<String>,
}

impl Sidecar {
    /// Sidecar of a Pod.
    pub(super) fn of(shown: &str, pod: &Pod) -> Self {
        let annotation = |name| pod.metadata.annotations.as_ref().and_then(|all| all.get(name));
        let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let mut all = init.chain(pod.spec.iter().flat_map(|spec| &spec.containers));
        Self {
            shown: shown.to_owned(),
            is_there: all.any(|container| container.name == SIDECAR_CONTAINER),
            is_asked_for: annotation(SIDECAR_ANNOTATION).is_some(),
            said: annotation(INJECTION_ANNOTATION).cloned(),
        }
    }

    /// Judges whether the Pod has what its annotations say.
    pub(super) fn judge(&self, unasked: Option<&str>) -> Finding {
        let said = self.said.as_deref();
        let is_injected = said.is_some_and(|said| said.starts_with("injected"));
        let quoted = said.map(|said| Quoted(said).to_string()).unwrap_or_default();
        match (self.is_there, said) {
            (true, Some(_)) if is_injected => {
                self.ok(&format!("has the sidecar; its annotation says {quoted}"))
            }
            (true, _) => {
                let found = format!(
                    "has a container {SIDECAR_CONTAINER} that its annotation {INJECTION_ANNOTATION} does not speak of, so the \
                     webhook did not inject it"
                );
                Finding::warn(SIDECAR, &self.shown, &found, WEBHOOK)
            }
            (false, Some(_)) if is_injected => {
                let found = format!(
                    "has no sidecar although its annotation says {quoted}: somebody else took it out"
                );
                let fix = "look for another mutating webhook that changes containers";
                Finding::fail(SIDECAR, &self.shown, &found, fix)
            }
            (false, Some(_)) => self.none(&format!("has no sidecar; its annotation says {quoted}")),
            (false, None) => {
                let why = unasked
                    .unwrap_or("it was made while the webhook did not answer, or before there was one");
                self.none(&format!("has no sidecar, and no annotation: the webhook was not asked, as {why}"))
            }
        }
    }

    fn ok(&self, found: &str) -> Finding {
        Finding::ok(SIDECAR, &self.shown, found)
    }

    /// Finding about a Pod without a sidecar, which fails if its template asks for one.
    fn none(&self, found: &str) -> Finding {
        if self.is_asked_for {
            Finding::fail(SIDECAR, &self.shown, found, WEBHOOK)
        } else {
            Finding::skipped(SIDECAR, &self.shown, found)
        }
    }
}

/// Judges what a Pod like this one would get if it was made now.
pub(super) fn judge_next(
    sidecar: &Sidecar,
    pod: &Pod,
    unasked: Option<&str>,
    settings: Result<SidecarSettings, String>,
) -> Finding {
    let what = "a new Pod like it";
    if let Some(why) = unasked {
        return Finding::skipped(NEXT, what, &format!("would stay as it is: {why}"));
    }
    let settings = match settings {
        Ok(settings) => settings,
        Err(unknown) => return Finding::skipped(NEXT, what, &format!("is not judged: {unknown}")),
    };
    let read = serde_json::to_value(pod).and_then(serde_json::from_value::<NewPod>);
    let planned = match read {
        Ok(new) => plan_injection(&new, Some(&settings)),
        Err(error) => {
            return Finding::unread(NEXT, what, &Unread::Failed(error.to_string()), || {
                Finding::skipped(NEXT, what, "is not judged")
            });
        }
    };
    match planned {
        Injection::Refused(problem) => {
            let fix = "correct what the sentence names: until then its controller makes no Pod";
            Finding::fail(NEXT, what, &format!("would be refused: {problem}"), fix)
        }
        Injection::Skipped { reason, .. } => {
            Finding::ok(NEXT, what, &format!("would stay without a sidecar: {reason}"))
        }
        Injection::Injected { patch, .. } if patch.0.is_empty() => {
            Finding::ok(NEXT, what, "would get the same sidecar")
        }
        Injection::Injected { patch, .. } if sidecar.is_there => {
            let paths: Vec<&str> = patch.0.iter().map(|change| change.path().as_str()).collect();
            let found = format!("would get the sidecar otherwise, in {}", listed(&paths));
            Finding::warn(
                NEXT,
                what,
                &found,
                "delete the Pod to have it so, and its controller makes a new one",
            )
        }
        Injection::Injected { said, .. } => {
            let said = said.strip_prefix("injected: ").unwrap_or(&said);
            let fix = "delete the Pod, and its controller makes a new one";
            Finding::warn(NEXT, what, &format!("would get the sidecar: {said}"), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status::{Fail, Ok as Well, Skipped, Warn};
    use json_patch::Patch;
    use serde_json::{Value, json};

    const SHOWN: &str = "Pod team/weather";

    fn settings() -> SidecarSettings {
        SidecarSettings { image: "authbridge:1".to_owned(), spire: None, is_native: true }
    }

    /// A Pod of an agent whose template asks for a sidecar, before its admission.
    fn asking() -> Value {
        json!({ "metadata": { "labels": { "kagenti.io/type": "agent" }, "annotations": {
                "countersign.dev/sidecar": "proxy-sidecar", "countersign.dev/sidecar-config": "authbridge-config-weather" } },
            "spec": { "containers": [{ "name": "agent", "image": "weather" }] } })
    }

    fn admitted(pod: &Value) -> Value {
        let new: NewPod = serde_json::from_value(pod.clone()).unwrap();
        let patch = match plan_injection(&new, Some(&settings())) {
            Injection::Injected { patch, .. } | Injection::Skipped { patch, .. } => patch,
            Injection::Refused(problem) => panic!("{problem}"),
        };
        assert_ne!(patch, Patch::default());
        let mut pod = pod.clone();
        json_patch::patch(&mut pod, &patch).unwrap();
        pod
    }

    /// Both findings about a Pod.
    fn judged(pod: &Value, unasked: Option<&str>, settings: Result<SidecarSettings, String>) -> [Finding; 2] {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        let sidecar = Sidecar::of(SHOWN, &pod);
        [sidecar.judge(unasked), judge_next(&sidecar, &pod, unasked, settings)]
    }

    #[test]
    fn a_pod_is_explained_by_its_annotation_and_by_what_one_like_it_would_get() {
        let injected = admitted(&asking());
        let mut plain = asking();
        plain["metadata"]["annotations"] = json!({});
        let skipped = admitted(&plain);
        let mut lost = injected.clone();
        lost["spec"]["initContainers"] = json!([]);
        let mut foreign = plain.clone();
        let containers = foreign["spec"]["containers"].as_array_mut().unwrap();
        containers.push(json!({ "name": "authbridge-proxy" }));
        let mut host = injected.clone();
        host["spec"]["hostNetwork"] = json!(true);
        let other = SidecarSettings { image: "authbridge:2".to_owned(), ..settings() };
        let (label, unknown) = (Some("its namespace has no label"), Err("nobody knows".to_owned()));
        for (name, pod, unasked, settings, sidecar, next) in [
            (
                "injected",
                &injected,
                None,
                Ok(settings()),
                (Well, "has the sidecar; its annotation says \"injected: the"),
                (Well, "would get the same sidecar"),
            ),
            (
                "of another image",
                &injected,
                None,
                Ok(other),
                (Well, "has the sidecar"),
                (Warn, "would get the sidecar otherwise, in /spec/initContainers/0"),
            ),
            (
                "refused now",
                &host,
                None,
                Ok(settings()),
                (Well, "has the sidecar"),
                (Fail, "refused: spec.hostNetwork"),
            ),
            (
                "skipped",
                &skipped,
                None,
                Ok(settings()),
                (Skipped, "says \"skipped: no AgentRuntime"),
                (Well, "without a sidecar: no AgentRuntime"),
            ),
            (
                "never asked",
                &plain,
                label,
                Ok(settings()),
                (Skipped, "was not asked, as its namespace has no label"),
                (Skipped, "would stay as it is: its namespace has no label"),
            ),
            (
                "missed",
                &asking(),
                None,
                Ok(settings()),
                (Fail, "was not asked, as it was made while"),
                (Warn, "would get the sidecar: the sidecar listens on 8000"),
            ),
            (
                "settings unknown",
                &asking(),
                None,
                unknown,
                (Fail, "was not asked"),
                (Skipped, "not judged: nobody knows"),
            ),
            (
                "taken out",
                &lost,
                None,
                Ok(settings()),
                (Fail, "somebody else took it out"),
                (Warn, "would get"),
            ),
            (
                "foreign",
                &foreign,
                None,
                Ok(settings()),
                (Warn, "did not inject it"),
                (Well, "without a sidecar"),
            ),
        ] {
            let found = judged(pod, unasked, settings);
            for (finding, (status, told)) in found.iter().zip([sidecar, next]) {
                assert_eq!(finding.status, status, "{name}: {finding:?}");
                assert!(finding.found.contains(told), "{name}: {finding:?}");
            }
        }
    }

    #[test]
    fn what_is_not_read_is_told() {
        let absent = judge_pod(SHOWN, Err(Unread::Absent)).unwrap_err();
        assert_eq!((absent.status, absent.found.as_str()), (Fail, "does not exist"));
        let forbidden = Unread::Forbidden("get pods in the namespace team".to_owned());
        assert_eq!(judge_pod(SHOWN, Err(forbidden.clone())).unwrap_err().status, Skipped);
        let enabled = BTreeMap::from([("kagenti-enabled".to_owned(), "true".to_owned())]);
        for (labels, status, is_unasked) in [
            (Ok(enabled), Well, false),
            (Ok(BTreeMap::new()), Skipped, true),
            (Err(forbidden), Skipped, false),
            (Err(Unread::Absent), Skipped, false),
        ] {
            let (unasked, finding) = judge_scope("team", &labels, "system");
            assert_eq!((finding.status, unasked.is_some()), (status, is_unasked), "{labels:?}");
        }
    }
}
