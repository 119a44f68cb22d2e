//! Deployments and `StatefulSet`s, cut down to what identifies an agent and says whether it can answer.
//! A workload that cannot be described is kept with the reason, so that its card can say it.

use super::names::workload_label;
use countersign_api::ObjectRef;
use countersign_api::keys::{AGENT_TYPE, TYPE_LABEL};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;
use std::fmt;

/// Labels of this prefix on a workload name the protocols that it speaks.
const PROTOCOL_PREFIX: &str = "protocol.kagenti.io/";
/// Older labels that name one protocol, in the order in which they count.
const PROTOCOL_LABELS: [&str; 2] = ["kagenti.io/protocol", "kagenti.io/agent-protocol"];
/// The protocol whose cards are read.
const A2A: &str = "a2a";

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
}

impl WorkloadKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Deployment, Self::StatefulSet];
    /// The API version of both.
    pub const API_VERSION: &str = "apps/v1";

    /// The kind as manifests have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// The kind of a target reference.
    pub fn parse(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| api_version == Self::API_VERSION && kind == known.as_str())
    }
}

/// A workload by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadRef {
    /// Kind.
    pub kind: WorkloadKind,
    /// Namespace and name.
    pub object: ObjectRef,
}

impl WorkloadRef {
    /// Label value that names the workload on its policies.
    pub fn label(&self) -> String {
        workload_label(&self.object.namespace, self.kind.as_str(), &self.object.name)
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.object)
    }
}

/// What is known of a workload.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Workload {
    /// Its UID.
    pub uid: String,
    /// The label value that names it on its policies.
    pub label: String,
    /// Changes with its spec.
    pub generation: i64,
    /// True if its own metadata enrols it.
    pub is_agent: bool,
    /// True if it is being deleted.
    pub is_leaving: bool,
    /// The protocol to read its card by, or `None`.
    pub protocol: Option<String>,
    /// `app.kubernetes.io/name`, if it has one.
    pub app_name: Option<String>,
    /// The selector of its Pods.
    pub selector: LabelSelector,
    /// The labels that its template gives them.
    pub template_labels: BTreeMap<String, String>,
    /// The service account of its Pods.
    pub service_account: String,
    /// Whether they use the network of their node.
    pub host_network: bool,
    /// Whether it can answer.
    pub is_ready: bool,
}

impl Workload {
    /// Reads a Deployment.
    pub fn of_deployment(object: Deployment) -> Option<Self> {
        let status = object.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let is_ready =
            conditions.iter().any(|condition| condition.type_ == "Available" && condition.status == "True");
        let spec = object.spec?;
        Some(Self::new(WorkloadKind::Deployment, object.metadata, spec.selector, spec.template, is_ready))
    }

    /// Reads a `StatefulSet`.
    pub fn of_stateful_set(object: StatefulSet) -> Option<Self> {
        let status = object.status.unwrap_or_default();
        let spec = object.spec?;
        let ready = status.ready_replicas.unwrap_or_default();
        let is_ready = ready > 0 && ready == status.replicas;
        Some(Self::new(WorkloadKind::StatefulSet, object.metadata, spec.selector, spec.template, is_ready))
    }

    fn new(
        kind: WorkloadKind,
        metadata: ObjectMeta,
        selector: LabelSelector,
        template: PodTemplateSpec,
        is_ready: bool,
    ) -> Self {
        let object = ObjectRef::from(&metadata);
        let labels = metadata.labels.unwrap_or_default();
        let spec = template.spec.unwrap_or_default();
        Self {
            uid: metadata.uid.unwrap_or_default(),
            label: WorkloadRef { kind, object }.label(),
            generation: metadata.generation.unwrap_or_default(),
            is_agent: is_agent(&labels),
            is_leaving: metadata.deletion_timestamp.is_some(),
            protocol: protocol(&labels),
            app_name: labels.get("app.kubernetes.io/name").cloned(),
            selector,
            template_labels: template.metadata.and_then(|metadata| metadata.labels).unwrap_or_default(),
            // The API server fills in this one when the Pod is made.
            service_account: spec
                .service_account_name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "default".to_owned()),
            host_network: spec.host_network.unwrap_or_default(),
            is_ready,
        }
    }

    /// True if the template gives its Pods the label by which a namespace isolates agents.
    pub fn labels_its_pods(&self) -> bool {
        is_agent(&self.template_labels)
    }

    /// True if every Pod that it ever made must have that label: its selector asks for it, which cannot
    /// change, or its template never changed.
    pub fn always_labelled_its_pods(&self) -> bool {
        let by_selector = self.selector.match_labels.as_ref().is_some_and(is_agent);
        by_selector || (self.generation == 1 && self.labels_its_pods())
    }
}

/// True if the label enrols an agent.
pub fn is_agent(labels: &BTreeMap<String, String>) -> bool {
    labels.get(TYPE_LABEL).is_some_and(|value| value == AGENT_TYPE)
}

/// The protocol of a workload: `a2a` if it is among several, since only its cards can be read; else the first by
/// name, so that the choice is the same every time.
fn protocol(labels: &BTreeMap<String, String>) -> Option<String> {
    let mut named = labels.keys().filter_map(|key| key.strip_prefix(PROTOCOL_PREFIX)).peekable();
    if named.peek().is_some() {
        let all: Vec<&str> = named.collect();
        return all.iter().find(|name| **name == A2A).or(all.first()).map(|name| (*name).to_owned());
    }
    PROTOCOL_LABELS.iter().find_map(|key| labels.get(*key).filter(|name| !name.is_empty()).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(labels: &serde_json::Value, template: &serde_json::Value) -> Workload {
        Workload::of_deployment(
            serde_json::from_value(json!({
                "metadata": { "name": "weather", "uid": "u", "generation": 1, "labels": labels },
                "spec": {
                    "selector": { "matchLabels": { "app": "weather" } },
                    "template": { "metadata": { "labels": template }, "spec": { "containers": [] } },
                },
                "status": { "conditions": [{ "type": "Available", "status": "True" }] },
            }))
            .unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn the_protocol_is_the_same_choice_every_time() {
        let of = |labels| deployment(&labels, &json!({})).protocol;
        assert_eq!(
            of(json!({ "protocol.kagenti.io/mcp": "", "protocol.kagenti.io/a2a": "" })).unwrap(),
            "a2a"
        );
        assert_eq!(of(json!({ "protocol.kagenti.io/z": "", "protocol.kagenti.io/b": "" })).unwrap(), "b");
        let old = json!({ "kagenti.io/agent-protocol": "x", "kagenti.io/protocol": "a2a" });
        assert_eq!(of(old).unwrap(), "a2a");
        assert_eq!(of(json!({})), None);
    }

    #[test]
    fn pods_of_an_earlier_template_are_not_taken_for_labelled() {
        let mut workload = deployment(&json!({}), &json!({ "kagenti.io/type": "agent" }));
        assert!(workload.labels_its_pods() && workload.always_labelled_its_pods());
        workload.generation = 2;
        assert!(!workload.always_labelled_its_pods());
    }

    #[test]
    fn the_label_is_that_of_the_workload_by_kind_and_place() {
        let object = json!({
            "metadata": { "name": "weather", "namespace": "team" },
            "spec": { "selector": {}, "serviceName": "", "template": {} },
        });
        let key = |kind| WorkloadRef { kind, object: ObjectRef::new("team", "weather") };
        let deployment = Workload::of_deployment(serde_json::from_value(object.clone()).unwrap()).unwrap();
        let set = Workload::of_stateful_set(serde_json::from_value(object).unwrap()).unwrap();
        assert_eq!(deployment.label, key(WorkloadKind::Deployment).label());
        assert_eq!(set.label, key(WorkloadKind::StatefulSet).label());
    }

    #[test]
    fn a_template_without_service_account_runs_as_the_default_one() {
        assert_eq!(deployment(&json!({}), &json!({})).service_account, "default");
    }
}
