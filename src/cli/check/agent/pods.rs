//! Pods of the workload: readiness, sidecar and mark.

use super::card::Verdict;
use super::workload::Workload;
use crate::check::finding::{Finding, listed};
use crate::check::unread::Answer;
use crate::page::counted;
use countersign_api::keys::{INJECTION_ANNOTATION, PEER_MARK_LABEL, SIDECAR_CONTAINER};
use countersign_core::text::Quoted;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

const ID: &str = "pods";
const SIDECAR: &str = "sidecar";
const MARKS: &str = "peer-marks";

/// Selector in the syntax of list requests; `None` for one that no request can say.
pub(super) fn selector_text(selector: &LabelSelector) -> Option<String> {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| Some(format!("{key}={value}")));
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.clone().unwrap_or_default().join(",");
        match one.operator.as_str() {
            "In" => Some(format!("{} in ({values})", one.key)),
            "NotIn" => Some(format!("{} notin ({values})", one.key)),
            "Exists" => Some(one.key.clone()),
            "DoesNotExist" => Some(format!("!{}", one.key)),
            _ => None,
        }
    });
    let parts: Vec<String> = equal.chain(expressions).collect::<Option<_>>()?;
    // An empty selector would be every Pod of the namespace.
    (!parts.is_empty()).then(|| parts.join(","))
}

/// Pods that are not being deleted, and have not ended.
pub(super) fn running(pods: Vec<Pod>) -> Vec<Pod> {
    let runs = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
    };
    pods.into_iter().filter(runs).collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Judges whether the Pods are ready.
pub(super) fn judge_pods(workload: &Workload, answer: &Answer<Vec<Pod>>) -> Finding {
    let what = workload.shown();
    let none = || {
        let found = format!("has no Pods, and wants {}", workload.wanted);
        let fix =
            "`kubectl describe` of the workload, or of its newest ReplicaSet, says why none is admitted";
        Finding::fail(ID, &what, &found, fix)
    };
    let pods = match answer {
        Ok(pods) => pods,
        Err(unread) => return Finding::unread(ID, &what, unread, none),
    };
    if workload.wanted == 0 {
        return Finding::fail(ID, &what, "is scaled to 0, so nobody serves a card", "scale it to 1 or more");
    }
    if pods.is_empty() {
        return none();
    }
    let waiting: Vec<&str> = pods.iter().filter(|pod| !is_ready(pod)).map(name).collect();
    let ready = pods.len().saturating_sub(waiting.len());
    let found = format!("has {ready} of {} ready", counted(pods.len(), "Pod", "Pods"));
    if waiting.is_empty() {
        return Finding::ok(ID, &what, &found);
    }
    let found = format!("{found}; not ready: {}", listed(&waiting));
    let fix = "`kubectl describe pod` and `kubectl logs` of these say what is missing";
    if ready == 0 { Finding::fail(ID, &what, &found, fix) } else { Finding::warn(ID, &what, &found, fix) }
}

/// Judges whether each Pod has the sidecar that the template asks for; `why_none` says why it asks for none.
pub(super) fn judge_sidecar(
    workload: &Workload,
    pods: &Answer<Vec<Pod>>,
    why_none: Option<&str>,
) -> Option<Finding> {
    let what = workload.shown();
    if !workload.asks_for_sidecar() {
        let why = why_none.map(|why| format!(": {why}")).unwrap_or_default();
        return Some(Finding::skipped(SIDECAR, &what, &format!("asks for no sidecar{why}")));
    }
    // Why there are none is told already.
    let pods = pods.as_ref().ok()?;
    let without: Vec<&Pod> = pods.iter().filter(|pod| !has_sidecar(pod)).collect();
    if let Some(pod) = without.first() {
        let said = pod.metadata.annotations.as_ref().and_then(|all| all.get(INJECTION_ANNOTATION));
        let said = said.map_or("it has no annotation of the webhook".to_owned(), |said| {
            format!("its annotation says {}", Quoted(said))
        });
        let names: Vec<&str> = without.iter().map(|pod| name(pod)).collect();
        let found = format!("has Pods without the sidecar: {}; of the first, {said}", listed(&names));
        let fix =
            "delete these Pods once `countersign check` finds the webhook well: new ones get the sidecar";
        return Some(Finding::fail(SIDECAR, &what, &found, fix));
    }
    let waiting: Vec<&str> =
        pods.iter().filter(|pod| sidecar_status(pod).is_some_and(|status| !status.ready)).map(name).collect();
    if !waiting.is_empty() {
        let found = format!("has Pods whose sidecar is not ready: {}", listed(&waiting));
        let fix = format!("`kubectl logs -c {SIDECAR_CONTAINER}` of these says what it waits for");
        return Some(Finding::fail(SIDECAR, &what, &found, &fix));
    }
    if pods.is_empty() {
        return None;
    }
    Some(Finding::ok(SIDECAR, &what, "has the sidecar in each Pod"))
}

fn has_sidecar(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref());
    let all = init.into_iter().flatten().chain(spec.into_iter().flat_map(|spec| &spec.containers));
    all.into_iter().any(|container| container.name == SIDECAR_CONTAINER)
}

fn sidecar_status(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find(|one| one.name == SIDECAR_CONTAINER)
}

/// Judges whether the Pods have the mark of verified agents as the verdict says.
pub(super) fn judge_marks(
    workload: &Workload,
    pods: &Answer<Vec<Pod>>,
    verdict: &Verdict,
) -> Option<Finding> {
    let what = workload.shown();
    let pods = pods.as_ref().ok()?;
    let is_marked =
        |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|all| all.contains_key(PEER_MARK_LABEL));
    let fix = "wait a moment; if it stays, look at the condition Enforced and at the log of the operator";
    match verdict {
        Verdict::None => Some(Finding::skipped(MARKS, &what, "has no verdict that marks could follow")),
        Verdict::Verified => {
            let bare: Vec<&str> =
                pods.iter().filter(|pod| is_ready(pod) && !is_marked(pod)).map(name).collect();
            Some(if bare.is_empty() {
                Finding::ok(MARKS, &what, "has the mark of verified agents on each ready Pod")
            } else {
                let found = format!("has Pods without the mark of verified agents: {}", listed(&bare));
                Finding::fail(MARKS, &what, &found, fix)
            })
        }
        Verdict::Refused(_) => {
            let marked: Vec<&str> = pods.iter().filter(|pod| is_marked(pod)).map(name).collect();
            Some(if marked.is_empty() {
                Finding::ok(MARKS, &what, "has no mark of verified agents, as it is refused")
            } else {
                let found =
                    format!("is refused and has Pods with the mark of verified agents: {}", listed(&marked));
                Finding::fail(MARKS, &what, &found, fix)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::workload::tests::weather;
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::{Value, json};

    fn pod(name: &str, ready: &str, more: &Value) -> Pod {
        let mut object = json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "agent" }] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] } });
        json_merge(&mut object, more);
        serde_json::from_value(object).unwrap()
    }

    fn json_merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    json_merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }

    #[test]
    fn a_selector_is_written_as_requests_take_it() {
        let text = |value: Value| selector_text(&serde_json::from_value(value).unwrap());
        let all = json!({ "matchLabels": { "a": "b" }, "matchExpressions": [
            { "key": "c", "operator": "In", "values": ["d", "e"] }, { "key": "f", "operator": "NotIn", "values": ["g"] },
            { "key": "h", "operator": "Exists" }, { "key": "i", "operator": "DoesNotExist" }] });
        assert_eq!(text(all).as_deref(), Some("a=b,c in (d,e),f notin (g),h,!i"));
        assert_eq!(text(json!({})), None);
        assert_eq!(text(json!({ "matchExpressions": [{ "key": "a", "operator": "Newer" }] })), None);
    }

    #[test]
    fn pods_that_end_are_not_counted() {
        let ended = pod("a", "False", &json!({ "status": { "phase": "Succeeded" } }));
        let deleted =
            pod("b", "True", &json!({ "metadata": { "deletionTimestamp": "2026-11-30T08:27:05Z" } }));
        assert_eq!(running(vec![ended, deleted, pod("c", "True", &json!({}))]).len(), 1);
    }

    #[test]
    fn pods_are_ready() {
        let (good, bad) = (pod("a", "True", &json!({})), pod("b", "False", &json!({})));
        let workload = weather(&json!({}));
        for (pods, status) in [
            (Ok(vec![good.clone()]), Status::Ok),
            (Ok(vec![good, bad.clone()]), Status::Warn),
            (Ok(vec![bad]), Status::Fail),
            (Ok(vec![]), Status::Fail),
            (Err(Unread::Forbidden("list".to_owned())), Status::Skipped),
        ] {
            assert_eq!(judge_pods(&workload, &pods).status, status, "{pods:?}");
        }
        assert_eq!(judge_pods(&Workload { wanted: 0, ..workload }, &Ok(vec![])).status, Status::Fail);
    }

    #[test]
    fn each_pod_has_the_sidecar_that_is_asked_for() {
        let asks = weather(&json!({ "annotations": { "countersign.dev/sidecar": "proxy-sidecar" } }));
        let with = |ready: Option<bool>| {
            let statuses: Vec<Value> = ready
                .iter()
                .map(|ready| json!({ "name": "authbridge-proxy", "ready": ready, "image": "", "imageID": "", "restartCount": 0 }))
                .collect();
            pod(
                "a",
                "True",
                &json!({ "spec": { "initContainers": [{ "name": "authbridge-proxy" }] },
                "status": { "initContainerStatuses": statuses } }),
            )
        };
        let said = json!({ "metadata": { "annotations": { "countersign.dev/injection": "skipped: x" } } });
        for (pods, status, found) in [
            (vec![with(Some(true))], Status::Ok, "in each Pod"),
            (vec![with(None)], Status::Ok, "in each Pod"),
            (vec![with(Some(false))], Status::Fail, "not ready: a"),
            (vec![with(None), pod("b", "True", &json!({}))], Status::Fail, "no annotation of the webhook"),
            (vec![pod("b", "True", &said)], Status::Fail, "skipped: x"),
        ] {
            let judged = judge_sidecar(&asks, &Ok(pods), None).unwrap();
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
        assert_eq!(judge_sidecar(&asks, &Ok(vec![]), None), None);
        let none = judge_sidecar(&weather(&json!({})), &Ok(vec![]), Some("InjectionDisabled")).unwrap();
        assert_eq!(
            (none.status, none.found.as_str()),
            (Status::Skipped, "asks for no sidecar: InjectionDisabled")
        );
    }

    #[test]
    fn marks_follow_the_verdict() {
        let marked = pod(
            "a",
            "True",
            &json!({ "metadata": { "labels": { "agent.kagenti.dev/verified-peer": "x" } } }),
        );
        let (bare, waiting) = (pod("b", "True", &json!({})), pod("c", "False", &json!({})));
        let refused = Verdict::Refused(vec!["FetchFailed".to_owned()]);
        let workload = weather(&json!({}));
        for (pods, verdict, status) in [
            (vec![marked.clone()], &Verdict::Verified, Status::Ok),
            (vec![marked.clone(), waiting], &Verdict::Verified, Status::Ok),
            (vec![marked.clone(), bare.clone()], &Verdict::Verified, Status::Fail),
            (vec![marked.clone()], &refused, Status::Fail),
            (vec![bare], &refused, Status::Ok),
            (vec![marked], &Verdict::None, Status::Skipped),
        ] {
            let judged = judge_marks(&workload, &Ok(pods), verdict).unwrap();
            assert_eq!(judged.status, status, "{judged:?}");
        }
        assert_eq!(judge_marks(&workload, &Err(Unread::Absent), &refused), None);
    }
}
