//! `AgentRuntime` that enrols the workload.

use super::conditions::find;
use super::workload::Workload;
use crate::check::finding::{Finding, listed};
use crate::check::unread::Answer;
use countersign_api::agent_runtime::{AgentRuntime, RuntimeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

const ID: &str = "agentruntime";

/// `AgentRuntime` of the workload: that which its label names, or the first that points at it.
pub(super) fn of<'r>(workload: &Workload, runtimes: &'r [AgentRuntime]) -> Option<&'r AgentRuntime> {
    let named = |one: &&AgentRuntime| {
        workload.runtime().is_some_and(|name| one.metadata.name.as_deref() == Some(name))
    };
    runtimes.iter().find(named).or_else(|| runtimes.iter().find(|one| points_at(one, workload)))
}

fn points_at(runtime: &AgentRuntime, workload: &Workload) -> bool {
    let target = &runtime.spec.target_ref;
    target.kind == workload.kind.as_str() && target.name == workload.name
}

/// A condition of an `AgentRuntime`.
pub(super) fn condition(runtime: &AgentRuntime, kind: RuntimeCondition) -> Option<&Condition> {
    find(&runtime.status.as_ref()?.conditions, kind.as_str())
}

/// Judges the `AgentRuntime` of the workload.
pub(super) fn judge_runtime(workload: &Workload, answer: &Answer<Vec<AgentRuntime>>) -> Finding {
    let what = workload.shown();
    let runtimes = match answer {
        Ok(runtimes) => runtimes,
        Err(unread) => {
            return Finding::unread(ID, &what, unread, || {
                Finding::skipped(ID, &what, "has no AgentRuntime: the cluster does not serve the kind")
            });
        }
    };
    let Some(runtime) = of(workload, runtimes) else {
        return match workload.runtime() {
            Some(name) => {
                let found = format!("is enrolled by the AgentRuntime {name}, which does not exist");
                let fix = "wait for the operator to take the enrolment back, or make the AgentRuntime again";
                Finding::warn(ID, &what, &found, fix)
            }
            None => Finding::skipped(ID, &what, "has no AgentRuntime: its own labels enrol it"),
        };
    };
    let name = runtime.metadata.name.as_deref().unwrap_or_default();
    let what = format!("AgentRuntime {name}");
    let others: Vec<&str> = runtimes
        .iter()
        .filter(|one| points_at(one, workload) && one.metadata.name != runtime.metadata.name)
        .filter_map(|one| one.metadata.name.as_deref())
        .collect();
    let Some(ready) = condition(runtime, RuntimeCondition::Ready) else {
        let fix = "see whether the operator runs: `countersign check`";
        return Finding::fail(ID, &what, "has no condition Ready: the operator has not looked at it", fix);
    };
    if ready.status != "True" {
        let fix = "correct what the sentence names; docs/operator.md lists the reasons";
        return Finding::fail(ID, &what, &format!("is not ready: {}: {}", ready.reason, ready.message), fix);
    }
    if !others.is_empty() {
        let found = format!("is ready, and the workload is also the target of {}", listed(&others));
        return Finding::warn(ID, &what, &found, "delete all AgentRuntimes of the workload but one");
    }
    let seen = runtime.status.as_ref().and_then(|status| status.observed_generation);
    if seen.is_some() && seen != runtime.metadata.generation {
        let fix = "wait a moment; if it stays, look at the log of the operator";
        return Finding::warn(ID, &what, "was changed since the operator last looked at it", fix);
    }
    Finding::ok(ID, &what, &format!("is ready: {}", ready.reason))
}

#[cfg(test)]
mod tests {
    use super::super::workload::tests::weather;
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::{Value, json};

    fn runtime(name: &str, target: &str, conditions: &Value, seen: i64) -> AgentRuntime {
        let object = json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
            "metadata": { "name": name, "generation": 2 },
            "spec": { "type": "agent", "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target } },
            "status": { "observedGeneration": seen, "conditions": conditions } });
        serde_json::from_value(object).unwrap()
    }

    fn ready(status: &str) -> Value {
        json!([{ "type": "Ready", "status": status, "reason": "Why", "message": "a\nb",
            "lastTransitionTime": "2026-11-30T08:27:05Z" }])
    }

    #[test]
    fn a_workload_is_enrolled_by_its_labels_or_by_one_runtime_that_is_ready() {
        let good = || runtime("weather", "weather", &ready("True"), 2);
        for (runtimes, status, found) in [
            (Ok(vec![]), Status::Skipped, "its own labels"),
            (Ok(vec![runtime("x", "other", &ready("True"), 2)]), Status::Skipped, "its own labels"),
            (Ok(vec![good()]), Status::Ok, "is ready: Why"),
            (Ok(vec![runtime("weather", "weather", &ready("False"), 2)]), Status::Fail, "Why: a\\u{a}b"),
            (Ok(vec![runtime("weather", "weather", &json!([]), 2)]), Status::Fail, "not looked"),
            (Ok(vec![runtime("weather", "weather", &ready("True"), 1)]), Status::Warn, "was changed"),
            (Ok(vec![good(), runtime("second", "weather", &json!([]), 2)]), Status::Warn, "second"),
            (Err(Unread::Absent), Status::Skipped, "does not serve"),
            (Err(Unread::Forbidden("list".to_owned())), Status::Skipped, "may not"),
        ] {
            let judged = judge_runtime(&weather(&json!({})), &runtimes);
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
        let mut labelled = weather(&json!({}));
        labelled.labels.insert("agent.kagenti.dev/runtime".to_owned(), "gone".to_owned());
        assert_eq!(judge_runtime(&labelled, &Ok(vec![])).status, Status::Warn);
    }
}
