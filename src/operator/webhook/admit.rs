//! Admission of a Pod: the plan of injection as an answer to the API server.

use countersign_core::text::Quoted;
use countersign_plan::injection::{Injection, SidecarSettings, plan_injection};
use json_patch::Patch;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};

/// Answers a request to create a Pod; every other request is allowed. `settings` are unknown for a moment after a start.
pub(crate) fn admit(
    request: &AdmissionRequest<DynamicObject>,
    settings: Option<&SidecarSettings>,
) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let is_pod = request.kind.group.is_empty() && request.kind.kind == "Pod";
    let (true, Operation::Create, Some(pod)) = (is_pod, &request.operation, &request.object) else {
        return response;
    };
    let name = pod.metadata.name.as_ref().or(pod.metadata.generate_name.as_ref());
    let refused = |problem: &str| {
        let name = name.map_or("", String::as_str);
        response.clone().deny(format!("the sidecar cannot be injected into Pod {}: {problem}", Quoted(name)))
    };
    let pod = match serde_json::to_value(pod) {
        Ok(pod) => pod,
        Err(error) => return refused(&error.to_string()),
    };
    let (patch, warnings) = match plan_injection(&pod, settings) {
        Injection::Injected { patch, warnings } => (patch, warnings),
        Injection::Skipped { patch, .. } => (patch, Vec::new()),
        Injection::Refused(problem) => return refused(&problem),
    };
    let mut response = response.clone();
    response.warnings = (!warnings.is_empty()).then_some(warnings);
    if patch == Patch::default() {
        return response;
    }
    response.with_patch(patch).unwrap_or_else(|error| refused(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::review::unit::review;
    use kube::core::admission::AdmissionReview;
    use serde_json::{Value, json};

    fn answer(change: impl Fn(&mut Value), settings: Option<&SidecarSettings>) -> AdmissionResponse {
        let mut review = review();
        review["request"]["object"]["metadata"] = json!({
            "generateName": "weather-",
            "labels": { "kagenti.io/type": "agent" },
            "annotations": { "countersign.dev/sidecar": "proxy-sidecar", "countersign.dev/sidecar-config": "config" },
        });
        review["request"]["object"]["spec"] = json!({ "containers": [{ "name": "agent" }] });
        change(&mut review["request"]);
        let review: AdmissionReview<DynamicObject> = serde_json::from_value(review).unwrap();
        admit(&review.request.unwrap(), settings)
    }

    #[test]
    fn a_pod_is_patched_left_alone_or_refused_with_its_name() {
        let settings = SidecarSettings { image: "authbridge:1".to_owned(), spire: None, is_native: true };
        let injected = answer(|_| {}, Some(&settings));
        assert!(injected.allowed && injected.warnings.is_none(), "{injected:?}");
        let patch = String::from_utf8(injected.patch.unwrap()).unwrap();
        assert!(patch.contains("authbridge-proxy"), "{patch}");
        let ports = json!([{ "containerPort": 8000 }, { "containerPort": 8005 }]);
        let warned = answer(
            |request| request["object"]["spec"]["containers"][0]["ports"] = ports.clone(),
            Some(&settings),
        );
        assert!(warned.allowed && warned.warnings.unwrap()[0].contains("not 8005"));
        for (settings, problem) in [
            (None, "has just started"),
            (Some(&SidecarSettings { image: String::new(), ..settings.clone() }), "without --sidecar-image"),
        ] {
            let refused = answer(|_| {}, settings);
            assert!(!refused.allowed && refused.patch.is_none(), "{refused:?}");
            assert!(refused.result.message.contains("Pod \"weather-\": "), "{refused:?}");
            assert!(refused.result.message.contains(problem), "{refused:?}");
        }
        // One without the annotation is nobody's agent with a sidecar, whatever is known.
        let skipped = answer(|request| request["object"]["metadata"]["annotations"] = json!({}), None);
        assert!(skipped.allowed && String::from_utf8(skipped.patch.unwrap()).unwrap().contains("skipped: "));
        for other in ["DELETE", "UPDATE"] {
            let allowed = answer(|request| request["operation"] = json!(other), None);
            assert!(allowed.allowed && allowed.patch.is_none(), "{allowed:?}");
        }
        let other = answer(|request| request["kind"]["kind"] = json!("ConfigMap"), None);
        assert!(other.allowed && other.patch.is_none());
    }
}
