//! Admission of a Pod: the plan of injection as an answer to the API server.

use super::review::{AdmissionRequest, Decision, Operation};
use countersign_core::text::Quoted;
use countersign_plan::injection::{Injection, SidecarSettings, plan_injection};

/// Decides about a request to create a Pod; every other request is allowed. `settings` are unknown for a moment after a
/// start.
pub(crate) fn admit(request: &AdmissionRequest, settings: Option<&SidecarSettings>) -> Decision {
    let is_pod = request.kind.group.is_empty() && request.kind.kind == "Pod";
    let (true, Operation::Create, Some(pod)) = (is_pod, &request.operation, &request.object) else {
        return Decision::unchanged();
    };
    match plan_injection(pod, settings) {
        Injection::Injected { patch, warnings, .. } => Decision::Allowed { patch, warnings },
        Injection::Skipped { patch, .. } => Decision::Allowed { patch, warnings: Vec::new() },
        Injection::Refused(problem) => {
            let name = Quoted(pod.name());
            Decision::Denied(format!("the sidecar cannot be injected into Pod {name}: {problem}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::review::unit::review;
    use serde_json::{Value, json};

    fn decide(change: impl Fn(&mut Value), settings: Option<&SidecarSettings>) -> Decision {
        let mut review = review();
        review["request"]["object"]["metadata"] = json!({
            "generateName": "weather-",
            "labels": { "kagenti.io/type": "agent" },
            "annotations": { "countersign.dev/sidecar": "proxy-sidecar",
                "countersign.dev/sidecar-config": "authbridge-config-weather" },
        });
        review["request"]["object"]["spec"] = json!({ "containers": [{ "name": "agent" }] });
        change(&mut review["request"]);
        let request: AdmissionRequest = serde_json::from_value(review["request"].clone()).unwrap();
        admit(&request, settings)
    }

    /// Text of the patch, and the warnings.
    fn allowed(decision: Decision) -> (String, Vec<String>) {
        let Decision::Allowed { patch, warnings } = decision else { panic!("{decision:?}") };
        (serde_json::to_string(&patch).unwrap(), warnings)
    }

    #[test]
    fn a_pod_is_patched_left_alone_or_refused_with_its_name() {
        let settings = SidecarSettings { image: "authbridge:1".to_owned(), spire: None, is_native: true };
        let (patch, warnings) = allowed(decide(|_| {}, Some(&settings)));
        assert!(patch.contains("authbridge-proxy") && warnings.is_empty(), "{patch} {warnings:?}");
        let ports = json!([{ "containerPort": 8000 }, { "containerPort": 8005 }]);
        let (_, warnings) = allowed(decide(
            |request| request["object"]["spec"]["containers"][0]["ports"] = ports.clone(),
            Some(&settings),
        ));
        assert!(warnings[0].contains("not 8005"), "{warnings:?}");
        for (settings, problem) in [
            (None, "has just started"),
            (Some(&SidecarSettings { image: String::new(), ..settings.clone() }), "without --sidecar-image"),
        ] {
            let Decision::Denied(told) = decide(|_| {}, settings) else { panic!("{settings:?}") };
            assert!(told.contains("Pod \"weather-\": ") && told.contains(problem), "{told}");
        }
        // One without the annotation is nobody's agent with a sidecar, whatever is known.
        let (patch, _) =
            allowed(decide(|request| request["object"]["metadata"]["annotations"] = json!({}), None));
        assert!(patch.contains("skipped: "), "{patch}");
        for other in ["DELETE", "UPDATE"] {
            assert_eq!(decide(|request| request["operation"] = json!(other), None), Decision::unchanged());
        }
        let other = decide(|request| request["kind"]["kind"] = json!("ConfigMap"), None);
        assert_eq!(other, Decision::unchanged());
    }
}
