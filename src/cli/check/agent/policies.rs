//! NetworkPolicies of the workload and of its namespace.

use super::card::Verdict;
use super::workload::Workload;
use crate::check::finding::{Finding, listed};
use crate::check::unread::Answer;
use countersign_api::keys::{POLICY_ROLE_LABEL, REASON_ANNOTATION, WORKLOAD_LABEL};
use countersign_core::text::Quoted;
use countersign_plan::{policy_names, workload_label};
use k8s_openapi::api::networking::v1::NetworkPolicy;

const ID: &str = "network-policies";
/// Reason of a policy that opens.
const VERIFIED: &str = "Verified";
/// Role of the policy that follows the verdict.
const VERDICT: &str = "verdict";

/// Judges the operator's NetworkPolicies of the namespace, as far as they are about the workload.
pub(super) fn judge_policies(
    workload: &Workload,
    answer: &Answer<Vec<NetworkPolicy>>,
    verdict: &Verdict,
    is_audited: bool,
) -> Finding {
    let what = workload.shown();
    if is_audited {
        return Finding::skipped(ID, &what, "is only audited, so no NetworkPolicy holds it");
    }
    let policies = match answer {
        Ok(policies) => policies,
        Err(unread) => {
            return Finding::unread(ID, &what, unread, || {
                Finding::skipped(ID, &what, "has no NetworkPolicies")
            });
        }
    };
    let fix = "wait a moment; if it stays, the condition Enforced and the log of the operator say why";
    let missing = missing(workload, policies);
    if !missing.is_empty() {
        let found = format!("lacks the NetworkPolicies {}", listed(&missing));
        return Finding::fail(ID, &what, &found, fix);
    }
    let said = policies
        .iter()
        .find(|policy| is_of(workload, policy, VERDICT))
        .and_then(|policy| policy.metadata.annotations.as_ref()?.get(REASON_ANNOTATION).map(String::as_str));
    let agrees = match verdict {
        Verdict::Verified => said == Some(VERIFIED),
        Verdict::Refused(reasons) => reasons.iter().any(|reason| said == Some(reason.as_str())),
        // Without a verdict nothing may be open that a verdict would open.
        Verdict::None => said != Some(VERIFIED),
    };
    let said = said.unwrap_or_default();
    if agrees {
        return Finding::ok(
            ID,
            &what,
            &format!("has its NetworkPolicies, and that of the verdict says {said}"),
        );
    }
    let judged = match verdict {
        Verdict::Verified => VERIFIED.to_owned(),
        Verdict::Refused(reasons) => listed(reasons),
        Verdict::None => "missing".to_owned(),
    };
    let found = format!("has a NetworkPolicy that says {}, and the verdict is {judged}", Quoted(said));
    Finding::fail(ID, &what, &found, fix)
}

/// Names of policies that are not there: that of the verdict, and the two that isolate before any verdict. These are the
/// namespace's, or the workload's own where the namespace's do not select its Pods.
fn missing(workload: &Workload, policies: &[NetworkPolicy]) -> Vec<String> {
    let has_name = |name: &str| policies.iter().any(|policy| policy.metadata.name.as_deref() == Some(name));
    let shared = workload.enrolled().map(|(family, _)| [family.baseline(), family.minimum()]);
    let shared = shared.into_iter().flatten().filter(|name| !has_name(name)).map(str::to_owned).collect();
    let own = policy_names(&workload.namespace, workload.kind.as_str(), &workload.name);
    let own = own.into_iter().flatten();
    let own = own.filter(|(role, _)| !policies.iter().any(|policy| is_of(workload, policy, role)));
    let (verdict, isolating): (Vec<_>, Vec<_>) = own.partition(|(role, _)| *role == VERDICT);
    let isolating = if isolating.is_empty() { Vec::new() } else { shared };
    isolating.into_iter().chain(verdict.into_iter().map(|(_, name)| name)).collect()
}

/// True if the policy is the workload's one in this role, by the labels that the operator writes.
fn is_of(workload: &Workload, policy: &NetworkPolicy, role: &str) -> bool {
    let hash = workload_label(&workload.namespace, workload.kind.as_str(), &workload.name);
    let label = |key: &str| policy.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    label(WORKLOAD_LABEL) == Some(&hash) && label(POLICY_ROLE_LABEL).is_some_and(|value| value == role)
}

#[cfg(test)]
mod tests {
    use super::super::workload::tests::weather;
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::json;

    fn policies(workload: &Workload, reason: &str) -> Vec<NetworkPolicy> {
        let hash = workload_label("team", "Deployment", "weather");
        let own = policy_names("team", workload.kind.as_str(), "weather").unwrap().map(|(role, name)| {
            json!({ "metadata": { "name": name, "annotations": { REASON_ANNOTATION: reason },
                "labels": { WORKLOAD_LABEL: hash, POLICY_ROLE_LABEL: role } } })
        });
        let shared = ["countersign-baseline", "countersign-minimum"]
            .map(|name| json!({ "metadata": { "name": name } }));
        own.into_iter().chain(shared).map(|one| serde_json::from_value(one).unwrap()).collect()
    }

    #[test]
    fn every_policy_is_there_and_says_what_the_verdict_says() {
        let workload = weather(&json!({}));
        let of = |reason| Ok(policies(&workload, reason));
        let without = |names: &[&str]| {
            let mut all = policies(&workload, VERIFIED);
            all.retain(|policy| !names.contains(&policy.metadata.name.as_deref().unwrap()));
            Ok(all)
        };
        let own = ["weather-signature-baseline", "weather-signature-minimum"];
        let refused = Verdict::Refused(vec!["FetchFailed".to_owned(), "ReplayDetected".to_owned()]);
        for (answer, verdict, status, found) in [
            (of(VERIFIED), &Verdict::Verified, Status::Ok, "says Verified"),
            (of("FetchFailed"), &refused, Status::Ok, "says FetchFailed"),
            (of("ReplayDetected"), &refused, Status::Ok, "says ReplayDetected"),
            (of(VERIFIED), &refused, Status::Fail, "the verdict is FetchFailed, ReplayDetected"),
            (of("FetchFailed"), &Verdict::Verified, Status::Fail, "the verdict is Verified"),
            (of("NoCard"), &Verdict::None, Status::Ok, "NoCard"),
            (of(VERIFIED), &Verdict::None, Status::Fail, "the verdict is missing"),
            (without(&["countersign-baseline"]), &Verdict::Verified, Status::Ok, "says Verified"),
            (without(&own), &Verdict::Verified, Status::Ok, "says Verified"),
            (
                without(&["countersign-baseline", own[1]]),
                &Verdict::Verified,
                Status::Fail,
                "countersign-baseline",
            ),
            (
                without(&["weather-signature-policy"]),
                &Verdict::Verified,
                Status::Fail,
                "weather-signature-policy",
            ),
            (Ok(vec![]), &Verdict::Verified, Status::Fail, "countersign-minimum"),
            (Err(Unread::Forbidden("list".to_owned())), &Verdict::Verified, Status::Skipped, "may not"),
        ] {
            let judged = judge_policies(&workload, &answer, verdict, false);
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
        assert_eq!(judge_policies(&workload, &Ok(vec![]), &refused, true).status, Status::Skipped);
    }
}
