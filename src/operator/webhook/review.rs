//! `AdmissionReview`s: from the bytes of a request to those of the answer.

use super::limits::{BRACES, PROBLEM_CHARACTERS};
use countersign_core::text::Quoted;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use std::sync::Arc;

/// Decision about one request. It must not wait for anything.
pub(crate) type Decide = Arc<dyn Fn(&AdmissionRequest<DynamicObject>) -> AdmissionResponse + Send + Sync>;

/// Version of reviews that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Answer to a review.
#[derive(Debug)]
pub(super) struct Answer {
    /// Review with the response, as JSON.
    pub(super) body: Vec<u8>,
    /// Word for metrics: `allowed`, `patched` or `denied`.
    pub(super) result: &'static str,
}

/// Answers the review in `body`.
///
/// # Errors
/// A sentence that says what of the body cannot be read.
pub(super) fn answer(body: &[u8], decide: &Decide) -> Result<Answer, String> {
    if body.split(|byte| *byte == b'{').skip(1).count() > BRACES {
        return Err(format!(
            "the body has more than {BRACES} opening braces, more than any object of Kubernetes"
        ));
    }
    let review: AdmissionReview<DynamicObject> = serde_json::from_slice(body).map_err(|error| {
        let problem: String = error.to_string().chars().take(PROBLEM_CHARACTERS).collect();
        format!("the body is no {KIND} of {API_VERSION}: {problem}")
    })?;
    if review.types.api_version != API_VERSION || review.types.kind != KIND {
        return Err(format!(
            "the body is a {} of {}; send a {KIND} of {API_VERSION}",
            Quoted(&review.types.kind),
            Quoted(&review.types.api_version)
        ));
    }
    let types = review.types;
    let mut request = review.request.ok_or_else(|| format!("the {KIND} has no request"))?;
    request.types = types.clone();
    let mut response = decide(&request);
    // Whatever the decision made of it, the API server knows the answer by these.
    (response.uid, response.types) = (request.uid, types);
    let result = match (response.allowed, response.patch.is_some()) {
        (false, _) => "denied",
        (true, true) => "patched",
        (true, false) => "allowed",
    };
    let body = serde_json::to_vec(&response.into_review()).map_err(|error| error.to_string())?;
    Ok(Answer { body, result })
}

#[cfg(test)]
pub(super) mod unit {
    use super::*;
    use json_patch::Patch;
    use serde_json::{Value, json};

    pub(in crate::webhook) fn review() -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u-1", "name": "", "namespace": "team1", "operation": "CREATE", "dryRun": false,
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "userInfo": { "username": "somebody" },
                "object": { "apiVersion": "v1", "kind": "Pod",
                    "metadata": { "generateName": "weather-" }, "spec": { "containers": [] } },
                "oldObject": null, "options": null,
            },
        })
    }

    fn allow() -> Decide {
        Arc::new(|request| AdmissionResponse::from(request))
    }

    #[test]
    fn each_decision_is_answered_under_the_uid_of_the_request() {
        let patch = || serde_json::from_value::<Patch>(json!([{ "op": "remove", "path": "/spec" }])).unwrap();
        let decisions: [(&str, Decide); 3] = [
            ("allowed", allow()),
            (
                "patched",
                Arc::new(move |request| AdmissionResponse::from(request).with_patch(patch()).unwrap()),
            ),
            ("denied", Arc::new(|_| AdmissionResponse::invalid("no"))),
        ];
        for (result, decide) in decisions {
            let answered = answer(review().to_string().as_bytes(), &decide).unwrap();
            assert_eq!(answered.result, result);
            let body: Value = serde_json::from_slice(&answered.body).unwrap();
            assert_eq!((&body["apiVersion"], &body["kind"]), (&json!(API_VERSION), &json!(KIND)), "{body}");
            assert_eq!(body["response"]["uid"], "u-1", "{body}");
            assert_eq!(body["response"]["allowed"], result != "denied", "{body}");
            assert_eq!(body["response"]["patchType"].is_null(), result != "patched", "{body}");
        }
    }

    #[test]
    fn what_is_no_review_is_told_in_a_sentence() {
        let with = |change: fn(&mut Value)| {
            let mut review = review();
            change(&mut review);
            review.to_string()
        };
        let braces = "{".repeat(BRACES + 1);
        for (body, told) in [
            (String::new(), "the body is no AdmissionReview of admission.k8s.io/v1: EOF"),
            ("x".to_owned(), "the body is no AdmissionReview"),
            ("[]".to_owned(), "the body is no AdmissionReview"),
            ("[".repeat(5000), "the body is no AdmissionReview of admission.k8s.io/v1: "),
            (braces, "the body has more than 100000 opening braces"),
            (
                with(|review| review["apiVersion"] = json!("admission.k8s.io/v1beta1")),
                "send a AdmissionReview",
            ),
            (with(|review| review["kind"] = json!("Pod\n")), "send a AdmissionReview of"),
            (with(|review| review["request"] = Value::Null), "the AdmissionReview has no request"),
            (with(|review| review["request"]["uid"] = json!(1)), "the body is no AdmissionReview"),
            (with(|review| review["request"]["operation"] = json!("EAT")), "the body is no AdmissionReview"),
        ] {
            let problem = answer(body.as_bytes(), &allow()).unwrap_err();
            assert!(problem.contains(told) && !problem.contains('\n'), "{body:.80}: {problem}");
        }
        // An object of any shape is the decision's to judge.
        let odd = with(|review| review["request"]["object"] = json!({ "metadata": {}, "spec": 7 }));
        assert!(answer(odd.as_bytes(), &allow()).is_ok());
    }
}
