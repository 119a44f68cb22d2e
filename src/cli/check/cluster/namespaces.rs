//! Labels of namespaces, and what their sidecars are configured with.

use crate::check::finding::Finding;
use crate::check::unread::{Answer, Unread};
use countersign_api::agent_runtime::MtlsMode;
use countersign_api::keys::{
    ENROLLED, ENROLLED_LABEL, Family, MODE_AUDIT, MODE_ENFORCE, MODE_LABEL, RUNTIME_CONFIG_KEY,
};
use countersign_core::text::Quoted;
use countersign_plan::injection::{ENABLED, SidecarSources, plan_sidecar_config};
use k8s_openapi::api::core::v1::ConfigMap;
use std::collections::BTreeMap;

const ID: &str = "namespace";
/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// Configuration of a namespace, as far as it was read.
pub(super) struct Configured {
    /// AuthBridge's configuration.
    pub(super) runtime: Answer<ConfigMap>,
    /// Keycloak's settings.
    pub(super) keycloak: Answer<ConfigMap>,
    /// True if Pods can have SPIRE's socket.
    pub(super) has_spire: bool,
}

/// True if a label of ours is on the namespace.
pub(super) fn is_ours(labels: &Labels) -> bool {
    values(labels).next().is_some()
}

/// Labels of ours with their values, and the values that mean something.
fn values(labels: &Labels) -> impl Iterator<Item = (&'static str, &str, &'static [&'static str])> {
    let known: [(&str, &[&str]); 4] = [
        (Family::Kagenti.namespace_label(), &[ENABLED, "false"]),
        (Family::Rossoctl.namespace_label(), &[ENABLED, "false"]),
        (ENROLLED_LABEL, &[ENROLLED, "false"]),
        (MODE_LABEL, &[MODE_AUDIT, MODE_ENFORCE]),
    ];
    known.into_iter().filter_map(|(key, known)| Some((key, labels.get(key)?.as_str(), known)))
}

/// Judges one namespace; `configured` is there if sidecars are injected and its configuration was asked for.
pub(super) fn judge_namespace(name: &str, labels: &Labels, configured: Option<&Configured>) -> Vec<Finding> {
    let what = format!("Namespace {name}");
    let mut findings: Vec<Finding> = values(labels)
        .filter(|(_, value, known)| !known.contains(value))
        .map(|(key, value, known)| {
            let found = format!("has the label {key}={}, a value without meaning", Quoted(value));
            Finding::fail(ID, &what, &found, &format!("write one of: {}", known.join(", ")))
        })
        .collect();
    if let Some(configured) = configured {
        findings.push(configuration(&what, configured));
    } else if findings.is_empty() {
        let shown: Vec<String> = values(labels).map(|(key, value, _)| format!("{key}={value}")).collect();
        findings.push(Finding::ok(ID, &what, &format!("has {}", shown.join(", "))));
    }
    findings
}

fn configuration(what: &str, configured: &Configured) -> Finding {
    let id = "namespace-sidecar";
    let (base, keycloak) = match (data(&configured.runtime), data(&configured.keycloak)) {
        (Ok(base), Ok(keycloak)) => (base, keycloak),
        (Err(unread), _) | (_, Err(unread)) => {
            return Finding::unread(id, what, unread, || Finding::skipped(id, what, "has no configuration"));
        }
    };
    let sources = SidecarSources {
        base: base.get(RUNTIME_CONFIG_KEY).map_or("", String::as_str),
        keycloak: &keycloak,
        // What each workload asks for besides is judged with the workload.
        mtls_mode: MtlsMode::Permissive,
        allowed_audiences: &[],
        has_spire: configured.has_spire,
        has_credentials: true,
    };
    match plan_sidecar_config(&sources) {
        Ok(_) => Finding::ok(id, what, "has a configuration for sidecars"),
        Err(problem) => Finding::fail(
            id,
            what,
            &format!("has none for sidecars: {problem}"),
            "correct what the sentence names; docs/operator.md says more under With a sidecar",
        ),
    }
}

/// Data of a ConfigMap, empty if there is none.
fn data(answer: &Answer<ConfigMap>) -> Result<Labels, &Unread> {
    match answer {
        Ok(map) => Ok(map.data.clone().unwrap_or_default()),
        Err(Unread::Absent) => Ok(Labels::new()),
        Err(unread) => Err(unread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use serde_json::{Value, json};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_label_without_meaning_is_told() {
        for (pairs, status, found) in [
            (&[("countersign.dev/mode", "audit")][..], Status::Ok, "countersign.dev/mode=audit"),
            (&[("countersign.dev/mode", "Enforce")], Status::Fail, "\"Enforce\""),
            (&[("countersign.dev/enrolled", "yes")], Status::Fail, "\"yes\""),
            (&[("kagenti-enabled", "True")], Status::Fail, "\"True\""),
            (&[("rossoctl-enabled", "true")], Status::Ok, "rossoctl-enabled=true"),
        ] {
            let labels = labels(pairs);
            assert!(is_ours(&labels));
            let judged = judge_namespace("team", &labels, None);
            assert_eq!(judged.len(), 1, "{judged:?}");
            assert_eq!((judged[0].status, judged[0].found.contains(found)), (status, true), "{judged:?}");
        }
        assert!(!is_ours(&labels(&[("team", "a")])));
    }

    #[test]
    fn a_namespace_with_sidecars_has_a_configuration_for_them() {
        let map = |data: Value| Ok(serde_json::from_value(json!({ "metadata": {}, "data": data })).unwrap());
        let open = json!({ "config.yaml": "pipeline: {dangerously_allow_unauthenticated: true}" });
        let absent = || Err(Unread::Absent);
        for (runtime, keycloak, status, found) in [
            (map(open.clone()), absent(), Status::Ok, "has a configuration"),
            (absent(), map(json!({ "ISSUER": "https://issuer.example" })), Status::Ok, "has a configuration"),
            (absent(), absent(), Status::Fail, "nobody issues tokens"),
            (map(json!({ "config.yaml": "- a" })), absent(), Status::Fail, "cannot be read"),
            (Err(Unread::Forbidden("get configmaps".to_owned())), absent(), Status::Skipped, "may not"),
        ] {
            let configured = Configured { runtime, keycloak, has_spire: true };
            let judged = judge_namespace("team", &labels(&[("kagenti-enabled", "true")]), Some(&configured));
            let last = judged.last().unwrap();
            assert_eq!((last.status, last.found.contains(found)), (status, true), "{last:?}");
        }
    }
}
