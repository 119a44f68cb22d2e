//! Workload of an agent, and the labels that enrol it.

use super::named::{Kind, Named};
use crate::check::finding::Finding;
use crate::check::unread::{Answer, Unread};
use countersign_api::keys::{AGENT_TYPE, Family, RUNTIME_LABEL, SIDECAR_ANNOTATION, SIDECAR_MODE};
use countersign_core::text::Quoted;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;

const ID: &str = "workload";
const LABELS: &str = "labels";
/// Value of the type label of a tool, which has no card.
const TOOL: &str = "tool";

type Map = BTreeMap<String, String>;

/// Workload reduced to what decides about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Workload {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) labels: Map,
    pub(super) template_labels: Map,
    pub(super) template_annotations: Map,
    pub(super) selector: LabelSelector,
    pub(super) wanted: i32,
}

impl Workload {
    pub(super) fn of_deployment(object: Deployment) -> Self {
        let spec = object.spec.unwrap_or_default();
        Self::new(Kind::Deployment, object.metadata, spec.template, (spec.selector, spec.replicas))
    }

    pub(super) fn of_stateful_set(object: StatefulSet) -> Self {
        let spec = object.spec.unwrap_or_default();
        Self::new(Kind::StatefulSet, object.metadata, spec.template, (spec.selector, spec.replicas))
    }

    fn new(
        kind: Kind,
        metadata: ObjectMeta,
        template: PodTemplateSpec,
        (selector, replicas): (LabelSelector, Option<i32>),
    ) -> Self {
        let template = template.metadata.unwrap_or_default();
        Self {
            kind,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            template_labels: template.labels.unwrap_or_default(),
            template_annotations: template.annotations.unwrap_or_default(),
            selector,
            wanted: replicas.unwrap_or(1),
        }
    }

    /// Kind and name for a sentence.
    pub(super) fn shown(&self) -> String {
        format!("{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }

    /// Family of names under which the workload is labelled, with the value of the type label.
    pub(super) fn enrolled(&self) -> Option<(Family, &str)> {
        Family::ALL
            .into_iter()
            .find_map(|family| Some((family, self.labels.get(family.type_label())?.as_str())))
    }

    /// True if a card is expected: of what is labelled as an agent.
    pub(super) fn is_agent(&self) -> bool {
        self.enrolled().is_some_and(|(_, value)| value == AGENT_TYPE)
    }

    /// Name of the `AgentRuntime` that enrols the workload.
    pub(super) fn runtime(&self) -> Option<&str> {
        self.labels.get(RUNTIME_LABEL).map(String::as_str)
    }

    /// True if the template asks for a sidecar.
    pub(super) fn asks_for_sidecar(&self) -> bool {
        self.template_annotations.get(SIDECAR_ANNOTATION).is_some_and(|mode| mode == SIDECAR_MODE)
    }
}

/// Chooses the one workload of what was found, or says why there is none.
pub(super) fn choose(
    named: &Named,
    namespace: &str,
    found: [Answer<Workload>; 2],
) -> Result<Workload, Finding> {
    let what = format!("the workload {namespace}/{}", named.name);
    let absent = || {
        let fix = "name an existing Deployment or StatefulSet, and its namespace with -n; Sandboxes are not checked";
        Finding::fail(ID, &what, "is neither a Deployment nor a StatefulSet", fix)
    };
    match found {
        [Ok(_), Ok(_)] => {
            let fix = format!("name one of them: deployment/{0} or statefulset/{0}", named.name);
            Err(Finding::fail(ID, &what, "is a Deployment and a StatefulSet", &fix))
        }
        [Ok(workload), _] | [_, Ok(workload)] => Ok(workload),
        [Err(first), Err(second)] => {
            let unread = if first == Unread::Absent { second } else { first };
            Err(Finding::unread(ID, &what, &unread, absent))
        }
    }
}

/// Judges the labels that enrol the workload.
pub(super) fn judge_labels(workload: &Workload) -> Finding {
    let what = workload.shown();
    let Some((family, value)) = workload.enrolled() else {
        let found = format!("has no label {}, so it is no agent", Family::Kagenti.type_label());
        let fix = "make an AgentRuntime that points at it, or label workload and Pod template";
        return Finding::fail(LABELS, &what, &found, fix);
    };
    let label = family.type_label();
    if value != AGENT_TYPE && value != TOOL {
        let found = format!("has the label {label}={}, a value without meaning", Quoted(value));
        return Finding::fail(LABELS, &what, &found, &format!("write {label}={AGENT_TYPE}"));
    }
    if workload.template_labels.get(label).map(String::as_str) != Some(value) {
        let found = format!("has no label {label}={value} in its Pod template, so its Pods stay isolated");
        return Finding::fail(
            LABELS,
            &what,
            &found,
            &format!("add {label}={value} to spec.template.metadata.labels"),
        );
    }
    if value == AGENT_TYPE && !has_protocol(workload, family) {
        let found = format!("has no label {}a2a, so no card is fetched", family.protocol_prefix());
        return Finding::fail(
            LABELS,
            &what,
            &found,
            &format!("add the label {}a2a", family.protocol_prefix()),
        );
    }
    Finding::ok(LABELS, &what, &format!("and its Pod template have {label}={value}"))
}

fn has_protocol(workload: &Workload, family: Family) -> bool {
    let labels = &workload.labels;
    labels.keys().any(|key| key.starts_with(family.protocol_prefix()))
        || family.protocol_labels().iter().any(|key| labels.contains_key(*key))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::finding::Status;
    use serde_json::{Value, json};

    /// An agent with everything that it needs.
    pub(in crate::check::agent) fn weather(template: &Value) -> Workload {
        let mut metadata = json!({ "labels": { "app": "weather", "kagenti.io/type": "agent" } });
        for (name, value) in template.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        let object = json!({
            "metadata": { "name": "weather", "namespace": "team",
                "labels": { "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" } },
            "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "weather" } },
                "template": { "metadata": metadata, "spec": { "containers": [] } } } });
        Workload::of_deployment(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_workload_has_one_kind_and_exists() {
        let named = Named::parse("weather").unwrap();
        let one = || weather(&json!({}));
        let absent = || Err(Unread::Absent);
        assert_eq!(choose(&named, "team", [Ok(one()), absent()]), Ok(one()));
        assert_eq!(choose(&named, "team", [absent(), Ok(one())]), Ok(one()));
        let forbidden = || Err(Unread::Forbidden("get statefulsets".to_owned()));
        assert_eq!(choose(&named, "team", [Ok(one()), forbidden()]), Ok(one()));
        for (found, status, said) in [
            ([Ok(one()), Ok(one())], Status::Fail, "a Deployment and a StatefulSet"),
            ([absent(), absent()], Status::Fail, "neither"),
            ([absent(), forbidden()], Status::Skipped, "may not"),
        ] {
            let finding = choose(&named, "team", found).unwrap_err();
            assert_eq!((finding.status, finding.found.contains(said)), (status, true), "{finding:?}");
        }
    }

    type Change = fn(&mut Workload);

    fn set(map: &mut Map, key: &str, value: &str) {
        map.insert(key.to_owned(), value.to_owned());
    }

    #[test]
    fn labels_on_workload_and_template_agree() {
        let changed = |change: Change| {
            let mut workload = weather(&json!({}));
            change(&mut workload);
            let found = judge_labels(&workload);
            (found.status, found.found)
        };
        assert_eq!(changed(|_| {}).0, Status::Ok);
        let broken: [(Change, &str); 4] = [
            (|one| one.labels.clear(), "is no agent"),
            (|one| set(&mut one.labels, "kagenti.io/type", "Agent"), "\"Agent\""),
            (|one| one.template_labels.clear(), "Pod template"),
            (|one| drop(one.labels.remove("protocol.kagenti.io/a2a")), "no card is fetched"),
        ];
        for (change, found) in broken {
            let (status, said) = changed(change);
            assert_eq!((status, said.contains(found)), (Status::Fail, true), "{said}");
        }
        let tool: Change = |one| {
            one.labels = Map::from([("rossoctl.io/type".to_owned(), "tool".to_owned())]);
            set(&mut one.template_labels, "rossoctl.io/type", "tool");
        };
        assert_eq!(changed(tool).0, Status::Ok);
    }
}
