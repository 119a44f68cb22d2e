//! Admission policies that guard what the operator trusts.

use super::arguments::Arguments;
use crate::check::finding::{Finding, listed};
use crate::check::unread::Answer;
use countersign_api::keys::{GUARDS, OPTIONAL_GUARDS};
use std::collections::BTreeSet;

const ID: &str = "guards";
/// Policy that is about sidecars alone.
const SIDECARS: &str = "guard-sidecars.agent.kagenti.dev";
/// Policy that guards a ConfigMap with the trust bundle; the chart leaves it out for bundles from elsewhere.
const TRUST_BUNDLE: &str = "guard-trust-bundle.agent.kagenti.dev";
/// Policies that stay when the chart has `policies.enable: false`.
const KEPT: [&str; 2] =
    ["guard-network-policies.agent.kagenti.dev", "guard-operator-labels.agent.kagenti.dev"];

/// Names of the policies, or of the policies that bindings put in force.
pub(super) type Names = BTreeSet<String>;

/// Judges the policies and bindings of the cluster by their names.
pub(super) fn judge_guards(
    arguments: &Arguments,
    policies: &Answer<Names>,
    bound: &Answer<Names>,
) -> Finding {
    let what = "the admission policies";
    let unserved = || {
        let fix = "upgrade the cluster to Kubernetes 1.30 or later: without them tenants can forge what the operator trusts";
        Finding::fail(ID, what, "are not served by this cluster", fix)
    };
    let (policies, bound) = match (policies, bound) {
        (Ok(policies), Ok(bound)) => (policies, bound),
        (Err(unread), _) | (_, Err(unread)) => return Finding::unread(ID, what, unread, unserved),
    };
    let wanted = |name: &&str| match *name {
        SIDECARS => arguments.sidecar_image().is_some(),
        TRUST_BUNDLE => matches!(arguments.bundle(), super::arguments::BundleSource::ConfigMap { .. }),
        _ => true,
    };
    // Of an optional one nobody knows whether it is wanted, unless it is there.
    let chosen = OPTIONAL_GUARDS.into_iter().filter(|name| policies.contains(*name));
    let wanted: Vec<&str> = GUARDS.into_iter().filter(wanted).chain(chosen).collect();
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !policies.contains(*name)).collect();
    let unbound: Vec<&str> =
        wanted.iter().copied().filter(|name| policies.contains(*name) && !bound.contains(*name)).collect();
    let is_off = wanted.iter().filter(|name| !KEPT.contains(name)).all(|name| !policies.contains(*name));
    if !missing.is_empty() && is_off {
        let found = format!(
            "are not installed: {}; if policies.enable is false in the chart, that is meant, which the cluster does not tell",
            listed(&missing)
        );
        let fix = "set policies.enable in the chart: without them tenants can forge what the operator trusts";
        return Finding::warn(ID, what, &found, fix);
    }
    let fix = "upgrade the chart, or apply the files of policies/";
    match (missing.is_empty(), unbound.is_empty()) {
        (true, true) => Finding::ok(ID, what, &format!("are in force: {} of {}", wanted.len(), wanted.len())),
        (false, _) => Finding::fail(ID, what, &format!("lack {}", listed(&missing)), fix),
        (true, false) => {
            Finding::fail(ID, what, &format!("have no binding, and so no effect: {}", listed(&unbound)), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::json;

    fn names_but(left_out: &[&str]) -> Names {
        GUARDS.iter().filter(|name| !left_out.contains(name)).map(|name| (*name).to_owned()).collect()
    }

    fn names_and(option: &str) -> Names {
        names_but(&[]).into_iter().chain([option.to_owned()]).collect()
    }

    #[test]
    fn every_policy_is_there_and_bound_unless_it_is_not_needed() {
        let all_but = |left_out: &[&str]| Answer::Ok(names_but(left_out));
        let arguments = |words: &[&str]| {
            Arguments::of(&serde_json::from_value(json!({ "name": "manager", "args": words })).unwrap())
        };
        let (plain, sidecar) = (arguments(&[]), arguments(&["--sidecar-image=x"]));
        let elsewhere = arguments(&["--trust-bundle-source=workload-api"]);
        let (enrolment, option) = ("guard-enrolment.agent.kagenti.dev", OPTIONAL_GUARDS[0]);
        let kept: Vec<&str> = GUARDS.into_iter().filter(|name| !KEPT.contains(name)).collect();
        for (arguments, policies, bound, status, found) in [
            (&sidecar, all_but(&[]), all_but(&[]), Status::Ok, "14 of 14"),
            (&plain, all_but(&[SIDECARS]), all_but(&[SIDECARS]), Status::Ok, "13 of 13"),
            (&sidecar, all_but(&[SIDECARS]), all_but(&[]), Status::Fail, SIDECARS),
            (&elsewhere, all_but(&[TRUST_BUNDLE]), all_but(&[]), Status::Ok, "12 of 12"),
            (&plain, all_but(&[TRUST_BUNDLE]), all_but(&[]), Status::Fail, TRUST_BUNDLE),
            (&plain, all_but(&[enrolment]), all_but(&[]), Status::Fail, enrolment),
            (&plain, all_but(&[]), all_but(&[enrolment]), Status::Fail, "have no binding"),
            (&sidecar, Ok(names_and(option)), Ok(names_and(option)), Status::Ok, "15 of 15"),
            (
                &sidecar,
                Ok(names_and(option)),
                all_but(&[]),
                Status::Fail,
                "have no binding, and so no effect: guard-type",
            ),
            (&plain, all_but(&GUARDS), all_but(&GUARDS), Status::Warn, "policies.enable"),
            (&plain, all_but(&kept), all_but(&kept), Status::Warn, "policies.enable"),
            (&plain, Err(Unread::Absent), Err(Unread::Absent), Status::Fail, "not served"),
            (&plain, Err(Unread::Forbidden("list x".to_owned())), all_but(&[]), Status::Skipped, "list x"),
            (&plain, all_but(&[]), Err(Unread::Forbidden("list y".to_owned())), Status::Skipped, "list y"),
        ] {
            let judged = judge_guards(arguments, &policies, &bound);
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
    }
}
