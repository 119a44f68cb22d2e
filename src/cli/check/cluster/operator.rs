//! Deployment and lease of the operator.

use super::arguments::Arguments;
use crate::check::finding::{Finding, listed};
use crate::check::unread::Answer;
use countersign_core::time::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Container;

/// Labels of the operator's Deployment, in the syntax of list requests.
pub(super) const LABELS: &str = "control-plane=controller-manager";
/// Label with the name of the software.
const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Value of [`NAME_LABEL`] in the chart.
const NAME: &str = "countersign";
const VERSION_LABEL: &str = "app.kubernetes.io/version";
const ID: &str = "operator";
const LEASE: &str = "operator-lease";

/// The operator's Deployment of several with its labels: other operators have them, too.
pub(super) fn choose(deployments: Vec<Deployment>) -> Vec<Deployment> {
    let is_ours = |one: &Deployment| {
        one.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(NAME_LABEL))
            .is_some_and(|name| name == NAME)
    };
    if deployments.iter().any(is_ours) {
        deployments.into_iter().filter(is_ours).collect()
    } else {
        deployments
    }
}

/// Arguments of the operator in a Deployment.
pub(super) fn arguments(deployment: &Deployment) -> Option<Arguments> {
    container(deployment).map(Arguments::of)
}

fn container(deployment: &Deployment) -> Option<&Container> {
    let containers = &deployment.spec.as_ref()?.template.spec.as_ref()?.containers;
    containers.iter().find(|one| one.name == "manager").or_else(|| containers.first())
}

/// Judges what was found of the operator's Deployments in its namespace.
pub(super) fn judge_operator(namespace: &str, answer: &Answer<Vec<Deployment>>) -> Vec<Finding> {
    let what = format!("the operator in the namespace {namespace}");
    let absent = || {
        let fix = "install the chart, or name the operator's namespace with --namespace";
        Finding::fail(ID, &what, &format!("has no Deployment with the label {LABELS}"), fix)
    };
    let deployments = match answer {
        Ok(deployments) => deployments,
        Err(unread) => return vec![Finding::unread(ID, &what, unread, absent)],
    };
    let Some(deployment) = deployments.first() else { return vec![absent()] };
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let what = format!("Deployment {namespace}/{name}");
    let mut findings = vec![ready(&what, deployment)];
    if deployments.len() > 1 {
        let names: Vec<&str> = deployments.iter().filter_map(|one| one.metadata.name.as_deref()).collect();
        let found = format!("is one of several with the label {LABELS}: {}", listed(&names));
        findings.push(Finding::warn(
            ID,
            &what,
            &found,
            "delete all but one: two operators write over each other",
        ));
    }
    findings.extend(container(deployment).map(|container| mode(&what, &Arguments::of(container))));
    findings.extend(version(&what, deployment));
    findings
}

fn ready(what: &str, deployment: &Deployment) -> Finding {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let image = container(deployment).and_then(|container| container.image.as_deref()).unwrap_or_default();
    let found = format!("has {ready} of {wanted} replicas ready, of the image {image}");
    let fix = "`kubectl describe pods` and `kubectl logs` of its Pods say what is missing; /readyz names it";
    if wanted == 0 {
        return Finding::fail(ID, what, "is scaled to 0, so nothing is verified", "scale it to 1 or more");
    }
    if ready == 0 {
        Finding::fail(ID, what, &found, fix)
    } else if ready < wanted {
        Finding::warn(ID, what, &found, fix)
    } else {
        Finding::ok(ID, what, &found)
    }
}

fn mode(what: &str, arguments: &Arguments) -> Finding {
    let id = "operator-mode";
    if arguments.trust_domain().is_none() {
        let fix = "set signatureVerification.spireTrustDomain in the chart";
        return Finding::fail(id, what, "is told no trust domain, so every agent is refused", fix);
    }
    if arguments.is_audit() {
        let fix = "set enforceNetworkPolicies in the chart, or the label countersign.dev/mode=enforce on namespaces";
        return Finding::warn(id, what, "audits: verdicts are shown and close nothing", fix);
    }
    Finding::ok(id, what, "enforces verdicts")
}

fn version(what: &str, deployment: &Deployment) -> Option<Finding> {
    let labels = deployment.metadata.labels.as_ref()?;
    let theirs = labels.get(VERSION_LABEL)?;
    let ours = env!("CARGO_PKG_VERSION");
    (theirs != ours).then(|| {
        let found = format!("has the version {theirs}, and this program {ours}: what is checked may differ");
        Finding::warn(
            "operator-version",
            what,
            &found,
            "run the check with the program of the operator's image",
        )
    })
}

/// Judges the lease, if replicas elect a leader. `now` is the time of whoever runs the check.
pub(super) fn judge_lease(arguments: &Arguments, answer: &Answer<Lease>, now: Timestamp) -> Finding {
    let what = "the lease of the operator";
    if !arguments.elects_leader() {
        return Finding::skipped(LEASE, what, "is not used: the operator runs without --leader-elect");
    }
    let fix = "look at the log of the operator, which says why it cannot take the lease";
    let lease = match answer {
        Ok(lease) => lease,
        Err(unread) => {
            return Finding::unread(LEASE, what, unread, || {
                Finding::fail(LEASE, what, "does not exist, so no replica works", fix)
            });
        }
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
        return Finding::fail(LEASE, what, "has no holder, so no replica works", fix);
    };
    let renewed = spec.renew_time.map(|at| Timestamp::from_unix(at.0.as_second()));
    let age = renewed.map(|at| now.since(at));
    let term = i64::from(spec.lease_duration_seconds.unwrap_or(0)).saturating_add(SLACK);
    match age {
        Some(age) if age <= term => Finding::ok(LEASE, what, &format!("is held by {holder}")),
        Some(age) => {
            let found = format!("is held by {holder}, who last renewed it {age} s ago");
            Finding::fail(LEASE, what, &found, fix)
        }
        None => Finding::fail(LEASE, what, &format!("was never renewed by {holder}"), fix),
    }
}

/// Time in seconds by which a lease may seem older than it is: as much as clocks may differ.
const SLACK: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::{Value, json};

    fn deployment(name: &str, labels: &Value, (wanted, ready): (i32, i32), args: &[&str]) -> Deployment {
        let object = json!({ "metadata": { "name": name, "labels": labels },
            "spec": { "replicas": wanted, "selector": {}, "template": { "spec": { "containers": [
                { "name": "proxy" }, { "name": "manager", "image": "countersign:1", "args": args }] } } },
            "status": { "readyReplicas": ready } });
        serde_json::from_value(object).unwrap()
    }

    const ENFORCE: [&str; 2] = ["--mode=enforce", "--spire-trust-domain=a"];

    fn judged(answer: &Answer<Vec<Deployment>>) -> Vec<(&'static str, Status)> {
        judge_operator("system", answer).iter().map(|found| (found.id, found.status)).collect()
    }

    #[test]
    fn an_operator_is_ready_and_says_in_its_arguments_what_it_does() {
        let one = |replicas, args: &[&str]| Ok(vec![deployment("manager", &json!({}), replicas, args)]);
        for (answer, expected) in [
            (one((2, 2), &ENFORCE), vec![(ID, Status::Ok), ("operator-mode", Status::Ok)]),
            (one((2, 1), &ENFORCE), vec![(ID, Status::Warn), ("operator-mode", Status::Ok)]),
            (one((2, 0), &ENFORCE), vec![(ID, Status::Fail), ("operator-mode", Status::Ok)]),
            (one((0, 0), &ENFORCE), vec![(ID, Status::Fail), ("operator-mode", Status::Ok)]),
            (
                one((1, 1), &["--spire-trust-domain=a"]),
                vec![(ID, Status::Ok), ("operator-mode", Status::Warn)],
            ),
            (one((1, 1), &[]), vec![(ID, Status::Ok), ("operator-mode", Status::Fail)]),
            (Ok(vec![]), vec![(ID, Status::Fail)]),
            (Err(Unread::Forbidden("list deployments.apps".to_owned())), vec![(ID, Status::Skipped)]),
        ] {
            assert_eq!(judged(&answer), expected, "{answer:?}");
        }
        let old = deployment("manager", &json!({ VERSION_LABEL: "0.0.1" }), (1, 1), &ENFORCE);
        assert!(judged(&Ok(vec![old])).contains(&("operator-version", Status::Warn)));
    }

    #[test]
    fn the_operator_is_told_from_others_with_its_label() {
        let ours = deployment("ours", &json!({ NAME_LABEL: NAME }), (1, 1), &ENFORCE);
        let other = deployment("other", &json!({}), (1, 1), &[]);
        assert_eq!(choose(vec![other.clone(), ours.clone()]), [ours]);
        let both = choose(vec![other.clone(), other]);
        assert!(judged(&Ok(both)).contains(&(ID, Status::Warn)));
    }

    #[test]
    fn a_lease_is_held_by_somebody_who_renews_it() {
        let elects = arguments(&deployment("x", &json!({}), (1, 1), &["--leader-elect"])).unwrap();
        let now = Timestamp::from_unix(1_796_027_225);
        let lease =
            |spec: Value| Ok(serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap());
        let held =
            |at: &str| lease(json!({ "holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": at }));
        for (answer, status) in [
            (held("2026-11-30T08:27:00.000000Z"), Status::Ok),
            (held("2026-11-30T08:25:00.000000Z"), Status::Fail),
            (lease(json!({ "holderIdentity": "" })), Status::Fail),
            (lease(json!({ "holderIdentity": "a" })), Status::Fail),
            (Err(Unread::Absent), Status::Fail),
            (Err(Unread::Forbidden("get leases".to_owned())), Status::Skipped),
        ] {
            assert_eq!(judge_lease(&elects, &answer, now).status, status, "{answer:?}");
        }
        let absent = judge_lease(&Arguments::default(), &Err(Unread::Absent), now);
        assert_eq!(absent.status, Status::Skipped);
    }
}
