//! `AdmissionReview`s: from the bytes of a request to those of the answer. They have types of their own, because those of
//! kube read every review three times over and write a patch as a list of numbers, which the API server is slow to read.

use super::limits::{BRACES, PROBLEM_CHARACTERS};
use countersign_core::encoding::encode_base64_standard_into;
use countersign_core::text::Quoted;
use countersign_plan::injection::NewPod;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Decision about one request. It must not wait for anything.
pub(crate) type Decide = Arc<dyn Fn(&AdmissionRequest) -> Decision + Send + Sync>;

/// Version of reviews that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview {
    api_version: String,
    kind: String,
    request: Option<AdmissionRequest>,
}

/// Request of a review, as far as decisions depend on it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdmissionRequest {
    uid: String,
    /// Kind of the object.
    pub(super) kind: GroupKind,
    /// What is done to it.
    pub(super) operation: Operation,
    /// The object as it is to be, as far as it is like a Pod; `None` where it is deleted.
    pub(super) object: Option<NewPod>,
}

/// Kind with its group.
#[derive(Debug, Deserialize)]
pub(super) struct GroupKind {
    pub(super) group: String,
    pub(super) kind: String,
}

/// What is done to an object.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// Decision about a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// The object is allowed once it is patched, if the patch is not empty.
    Allowed {
        /// Changes of the object.
        patch: Patch,
        /// Texts for whoever sent it.
        warnings: Vec<String>,
    },
    /// The object is refused for this reason.
    Denied(String),
}

impl Decision {
    /// Decision to leave an object as it is.
    pub(super) fn unchanged() -> Self {
        Self::Allowed { patch: Patch::default(), warnings: Vec::new() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: AdmissionResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    /// The patch in standard base64, as Go reads bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Status<'a> {
    message: &'a str,
}

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
    #[expect(clippy::naive_bytecount, reason = "a crate for one line, which the compiler makes fast enough")]
    let braces = body.iter().filter(|byte| **byte == b'{').count();
    if braces > BRACES {
        return Err(format!(
            "the body has more than {BRACES} opening braces, more than any object of Kubernetes"
        ));
    }
    let review: AdmissionReview = serde_json::from_slice(body).map_err(|error| {
        let problem: String = error.to_string().chars().take(PROBLEM_CHARACTERS).collect();
        format!("the body is no {KIND} of {API_VERSION}: {problem}")
    })?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(format!(
            "the body is a {} of {}; send a {KIND} of {API_VERSION}",
            Quoted(&review.kind),
            Quoted(&review.api_version)
        ));
    }
    let request = review.request.ok_or_else(|| format!("the {KIND} has no request"))?;
    let (result, body) = written(&request.uid, &decide(&request)).map_err(|error| error.to_string())?;
    Ok(Answer { body, result })
}

/// Word for metrics, and review with the decision about the request with this UID.
fn written(uid: &str, decision: &Decision) -> Result<(&'static str, Vec<u8>), serde_json::Error> {
    let unchanged =
        AdmissionResponse { uid, allowed: true, status: None, patch: None, patch_type: None, warnings: &[] };
    let (result, response) = match decision {
        Decision::Denied(message) => {
            let status = Some(Status { message });
            ("denied", AdmissionResponse { allowed: false, status, ..unchanged })
        }
        Decision::Allowed { patch, warnings } if patch.0.is_empty() => {
            ("allowed", AdmissionResponse { warnings, ..unchanged })
        }
        Decision::Allowed { patch, warnings } => {
            let mut text = String::new();
            encode_base64_standard_into(&serde_json::to_vec(patch)?, &mut text);
            let (patch, patch_type) = (Some(text), Some("JSONPatch"));
            ("patched", AdmissionResponse { patch, patch_type, warnings, ..unchanged })
        }
    };
    let review = AnsweredReview { api_version: API_VERSION, kind: KIND, response };
    Ok((result, serde_json::to_vec(&review)?))
}

#[cfg(test)]
pub(super) mod unit {
    use super::*;
    use countersign_core::encoding::decode_base64_standard;
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
        Arc::new(|_| Decision::unchanged())
    }

    #[test]
    fn each_decision_is_answered_under_the_uid_of_the_request() {
        let operations = json!([{ "op": "remove", "path": "/spec" }]);
        let patch: Patch = serde_json::from_value(operations.clone()).unwrap();
        let warnings = vec!["beware".to_owned()];
        for (result, decision) in [
            ("allowed", Decision::unchanged()),
            ("allowed", Decision::Allowed { patch: Patch::default(), warnings: warnings.clone() }),
            ("patched", Decision::Allowed { patch, warnings: warnings.clone() }),
            ("denied", Decision::Denied("no".to_owned())),
        ] {
            let decided = decision.clone();
            let decide: Decide = Arc::new(move |_| decided.clone());
            let answered = answer(review().to_string().as_bytes(), &decide).unwrap();
            assert_eq!(answered.result, result);
            let body: Value = serde_json::from_slice(&answered.body).unwrap();
            assert_eq!((&body["apiVersion"], &body["kind"]), (&json!(API_VERSION), &json!(KIND)), "{body}");
            let response = &body["response"];
            assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(result != "denied")));
            let (mut given, mut told) = (Vec::new(), Value::Null);
            match decision {
                Decision::Allowed { warnings, .. } => given = warnings,
                Decision::Denied(message) => told = json!(message),
            }
            assert_eq!(response["warnings"].is_null(), given.is_empty(), "{body}");
            assert_eq!(response["status"]["message"], told, "{body}");
            if result == "patched" {
                let sent = decode_base64_standard(response["patch"].as_str().unwrap()).unwrap();
                assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), operations);
                assert_eq!(response["patchType"], "JSONPatch");
            } else {
                assert!(response["patch"].is_null() && response["patchType"].is_null(), "{body}");
            }
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
