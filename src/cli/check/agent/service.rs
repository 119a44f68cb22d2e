//! Service behind which the card is fetched.

use super::workload::Workload;
use crate::check::finding::Finding;
use crate::check::unread::Answer;
use k8s_openapi::api::core::v1::Service;

const ID: &str = "service";

/// Judges the Service of the workload's name.
pub(super) fn judge_service(workload: &Workload, answer: &Answer<Service>) -> Finding {
    let what = format!("Service {}/{}", workload.namespace, workload.name);
    let fix = "make a Service of the workload's name that selects its Pods: the card is fetched behind it";
    let service = match answer {
        Ok(service) => service,
        Err(unread) => {
            return Finding::unread(ID, &what, unread, || Finding::fail(ID, &what, "does not exist", fix));
        }
    };
    let spec = service.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
    let Some(selector) = selector else {
        return Finding::fail(ID, &what, "selects no Pods", fix);
    };
    let missing: Vec<String> = selector
        .iter()
        .filter(|(key, value)| workload.template_labels.get(*key) != Some(value))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !missing.is_empty() {
        let found = format!(
            "selects Pods with {}, which the Pod template lacks",
            crate::check::finding::listed(&missing)
        );
        return Finding::fail(ID, &what, &found, fix);
    }
    if spec.and_then(|spec| spec.ports.as_ref()).is_none_or(Vec::is_empty) {
        return Finding::fail(
            ID,
            &what,
            "has no port",
            "give it the port at which the agent serves its card",
        );
    }
    Finding::ok(ID, &what, "selects the Pods of the workload")
}

#[cfg(test)]
mod tests {
    use super::super::workload::tests::weather;
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::{Value, json};

    #[test]
    fn a_service_of_the_workloads_name_selects_its_pods() {
        let service =
            |spec: Value| Ok(serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap());
        let ports = json!([{ "port": 8000 }]);
        for (answer, status, found) in [
            (
                service(json!({ "selector": { "app": "weather" }, "ports": ports })),
                Status::Ok,
                "selects the Pods",
            ),
            (service(json!({ "selector": { "app": "weather" } })), Status::Fail, "no port"),
            (service(json!({ "selector": { "app": "other" }, "ports": ports })), Status::Fail, "app=other"),
            (service(json!({ "ports": ports })), Status::Fail, "selects no Pods"),
            (Err(Unread::Absent), Status::Fail, "does not exist"),
            (Err(Unread::Forbidden("get".to_owned())), Status::Skipped, "may not"),
        ] {
            let judged = judge_service(&weather(&json!({})), &answer);
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
    }
}
