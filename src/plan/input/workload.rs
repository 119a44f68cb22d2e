//! Deployments, `StatefulSet`s and `Sandbox`es, reduced to the fields that identify an agent and its readiness.

use super::Kept;
use super::enrolment::{Families, check_families, family, protocol};
use super::names::workload_label;
use super::ports::OpenPorts;
use super::sandbox::{SANDBOX_GROUP, SANDBOX_KIND, Sandbox};
use super::standing::Standing;
use countersign_api::ObjectRef;
use countersign_api::keys::Family;
use countersign_core::refusal::{Reason, Refusal};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;
use std::fmt;

/// API version of Kubernetes' own workloads.
const APPS: &str = "apps/v1";

/// Workload kinds that the operator watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `agents.x-k8s.io` `Sandbox`, which a cluster may lack.
    Sandbox,
}

impl WorkloadKind {
    /// All watched kinds.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::Sandbox];

    /// API version in which the kind is watched and written into references.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet => APPS,
            Self::Sandbox => "agents.x-k8s.io/v1alpha1",
        }
    }

    /// Kind name as written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::Sandbox => SANDBOX_KIND,
        }
    }

    /// Member of `spec` with the Pod template.
    #[cfg(feature = "agent-card")]
    pub(crate) const fn template_member(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet => "template",
            Self::Sandbox => "podTemplate",
        }
    }

    /// Parses the kind of a reference; `None` for kinds that the operator does not watch. A Sandbox may be named in any
    /// version: there is one object, whatever version it is read in.
    pub fn parse(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map(|(group, _)| group);
        Self::ALL.into_iter().find(|known| {
            let is_known = match known {
                Self::Deployment | Self::StatefulSet => api_version == APPS,
                Self::Sandbox => group == Some(SANDBOX_GROUP),
            };
            is_known && kind == known.as_str()
        })
    }
}

/// Reference to a workload by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadRef {
    /// Kind of the workload object.
    pub kind: WorkloadKind,
    /// Namespace and name of the workload object.
    pub object: ObjectRef,
}

impl WorkloadRef {
    /// Label value that names the workload on its policies, a hash of kind, namespace and name.
    pub fn label(&self) -> String {
        workload_label(&self.object.namespace, self.kind.as_str(), &self.object.name)
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.object)
    }
}

/// Observed workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// UID of the workload object.
    pub uid: String,
    /// Label value that names the workload on its policies.
    pub label: String,
    /// `metadata.generation`, which grows with every change of the spec.
    pub generation: i64,
    /// Family whose label on the workload object enrols it, the first of several; `None` for what is no agent.
    pub family: Option<Family>,
    /// What refuses every card of the workload: labels of the two families that contradict each other, or more labels
    /// than are read.
    pub refusal: Option<Refusal>,
    /// True if the workload is being deleted.
    pub is_leaving: bool,
    /// Protocol of the card, from the workload's labels.
    pub protocol: Option<String>,
    /// Value of the label `app.kubernetes.io/name`.
    pub app_name: Option<String>,
    /// Label selector of the Pods.
    pub selector: Kept<LabelSelector>,
    /// Labels of the Pod template.
    pub template_labels: Kept<BTreeMap<String, String>>,
    /// Families of the agent labels in the Pod template, read once: namespaces ask for them at every change.
    pub template_families: Families,
    /// Service account of the Pod template.
    pub service_account: String,
    /// True if the Pods use the network of their node.
    pub host_network: bool,
    /// Ports that stay open to callers, by a Pod template that asks for a sidecar.
    pub open_ports: Option<OpenPorts>,
    /// True if the status reports the workload as available.
    pub is_ready: bool,
}

impl Workload {
    /// Observed Deployment; ready while its condition `Available` is true. `None` without a spec.
    pub fn of_deployment(object: Deployment) -> Option<Self> {
        let status = object.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let is_ready =
            conditions.iter().any(|condition| condition.type_ == "Available" && condition.status == "True");
        let spec = object.spec?;
        Some(Self::new(WorkloadKind::Deployment, object.metadata, &spec.selector, spec.template, is_ready))
    }

    /// Observed `StatefulSet`; ready while all of its replicas, at least one, are. `None` without a spec.
    pub fn of_stateful_set(object: StatefulSet) -> Option<Self> {
        let status = object.status.unwrap_or_default();
        let spec = object.spec?;
        let ready = status.ready_replicas.unwrap_or_default();
        let is_ready = ready > 0 && ready == status.replicas;
        Some(Self::new(WorkloadKind::StatefulSet, object.metadata, &spec.selector, spec.template, is_ready))
    }

    /// Observed Sandbox from its metadata and what was read of the rest. One whose Pod template cannot be read (the default)
    /// is an agent all the same, and can neither be reached nor open anything.
    pub fn of_sandbox(metadata: ObjectMeta, sandbox: Sandbox) -> Self {
        let Sandbox { template, selector, is_ready } = sandbox;
        Self::new(WorkloadKind::Sandbox, metadata, &selector, template, is_ready)
    }

    fn new(
        kind: WorkloadKind,
        metadata: ObjectMeta,
        selector: &LabelSelector,
        template: PodTemplateSpec,
        is_ready: bool,
    ) -> Self {
        let object = ObjectRef::from(&metadata);
        let labels = metadata.labels.unwrap_or_default();
        let open_ports = OpenPorts::of_template(template.metadata.as_ref(), template.spec.as_ref());
        let spec = template.spec.unwrap_or_default();
        let template_labels = template.metadata.and_then(|metadata| metadata.labels).unwrap_or_default();
        // A selector that could not be kept would select nobody, and such labels would be no agent's.
        let (kept_selector, kept_labels) = (Kept::of(selector), Kept::of(&template_labels));
        Self {
            uid: metadata.uid.unwrap_or_default(),
            label: WorkloadRef { kind, object }.label(),
            generation: metadata.generation.unwrap_or_default(),
            family: family(&labels),
            refusal: check_families(&labels, &template_labels).err(),
            is_leaving: metadata.deletion_timestamp.is_some(),
            protocol: protocol(&labels),
            app_name: labels.get("app.kubernetes.io/name").cloned(),
            selector: kept_selector.unwrap_or_default(),
            template_families: kept_labels
                .as_ref()
                .map(|_| Families::of(&template_labels))
                .unwrap_or_default(),
            template_labels: kept_labels.unwrap_or_default(),
            // The ServiceAccount admission plugin fills in `default` when a Pod is created.
            service_account: spec
                .service_account_name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "default".to_owned()),
            host_network: spec.host_network.unwrap_or_default(),
            open_ports,
            is_ready,
        }
    }

    /// The same workload, of whose labels only a part was read: its cards are refused for `found`, of
    /// [`Reason::LabelsTooMany`].
    #[must_use]
    pub fn with_too_many_labels(self, found: Refusal) -> Self {
        Self { refusal: Some(found), ..self }
    }

    /// The same workload, of whose selector only a part was read: no policy can say which Pods are its own.
    #[must_use]
    pub fn without_selector(self, found: Refusal) -> Self {
        Self { selector: Kept::default(), ..self }.with_too_many_labels(found)
    }

    /// True if it is not known which Pods the workload selects.
    pub fn selects_nobody(&self) -> bool {
        let selector = self.selector.read();
        selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
    }

    /// True if only a part of the labels was read.
    pub fn has_too_many_labels(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.reason() == Reason::LabelsTooMany)
    }

    /// True if the workload object carries the agent label of either family.
    pub const fn is_agent(&self) -> bool {
        self.family.is_some()
    }

    /// What kind and labels call for.
    pub fn standing(&self) -> Standing {
        Standing::of(true, self.family, self.protocol.is_some(), self.labels_its_pods())
    }

    /// True if the workload or its Pods may carry the agent label of `family`, so that the policies of that family have
    /// something to isolate.
    pub fn is_of(&self, family: Family) -> bool {
        self.family == Some(family) || self.template_families.has(family)
    }

    /// Family of the agent label in the Pod template, by which the namespace policies select; `None` without one.
    pub fn labels_its_pods(&self) -> Option<Family> {
        self.template_families.first()
    }

    /// Family whose agent label every Pod of every revision carries: the immutable selector requires the label, or
    /// the template has never changed.
    pub fn always_labelled_its_pods(&self) -> Option<Family> {
        let by_selector = self.selector.read().match_labels.as_ref().and_then(family);
        by_selector.or_else(|| self.labels_its_pods().filter(|_| self.generation == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(labels: &Value, template: &Value) -> Workload {
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
    fn pods_of_an_earlier_template_are_not_taken_for_labelled() {
        let mut workload = deployment(&json!({}), &json!({ "kagenti.io/type": "agent" }));
        assert_eq!(workload.always_labelled_its_pods(), Some(Family::Kagenti));
        workload.generation = 2;
        assert_eq!(workload.always_labelled_its_pods(), None);
        assert_eq!(workload.labels_its_pods(), Some(Family::Kagenti));
    }

    #[test]
    fn the_label_that_all_pods_carry_is_the_one_of_the_selector() {
        let both = json!({ "kagenti.io/type": "agent", "rossoctl.io/type": "agent" });
        let mut workload = deployment(&json!({ "rossoctl.io/type": "agent" }), &both);
        workload.generation = 2;
        assert_eq!(workload.always_labelled_its_pods(), None);
        let selector = BTreeMap::from([("rossoctl.io/type".to_owned(), "agent".to_owned())]);
        workload.selector =
            Kept::of(&LabelSelector { match_labels: Some(selector), ..LabelSelector::default() }).unwrap();
        assert_eq!(workload.always_labelled_its_pods(), Some(Family::Rossoctl));
        assert_eq!(Family::ALL.map(|family| workload.is_of(family)), [true, true]);
        assert_eq!(workload.family, Some(Family::Rossoctl));
    }

    #[test]
    fn the_families_of_a_template_are_read_once() {
        let both = json!({ "kagenti.io/type": "agent", "rossoctl.io/type": "agent" });
        for (labels, families) in [
            (json!({}), [false, false]),
            (json!({ "kagenti.io/type": "agent" }), [true, false]),
            (json!({ "rossoctl.io/type": "agent" }), [false, true]),
            (both, [true, true]),
        ] {
            let mut workload = deployment(&json!({}), &labels);
            // Who asks again gets the answer of then, whatever became of the text.
            workload.template_labels = Kept::default();
            assert_eq!(Family::ALL.map(|family| workload.is_of(family)), families, "{labels}");
            let first = Family::ALL.into_iter().zip(families).find_map(|(family, is)| is.then_some(family));
            assert_eq!(workload.labels_its_pods(), first, "{labels}");
        }
    }

    #[test]
    fn the_label_follows_kind_and_object() {
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

    #[test]
    fn a_kind_is_known_in_its_own_group_alone() {
        for (api_version, kind, expected) in [
            ("apps/v1", "Deployment", Some(WorkloadKind::Deployment)),
            ("apps/v1", "StatefulSet", Some(WorkloadKind::StatefulSet)),
            ("agents.x-k8s.io/v1alpha1", "Sandbox", Some(WorkloadKind::Sandbox)),
            ("agents.x-k8s.io/v1beta1", "Sandbox", Some(WorkloadKind::Sandbox)),
            ("apps/v1", "Sandbox", None),
            ("agents.x-k8s.io/v1alpha1", "Deployment", None),
            ("extensions.agents.x-k8s.io/v1alpha1", "Sandbox", None),
            ("v1", "Sandbox", None),
            ("apps/v1", "DaemonSet", None),
        ] {
            assert_eq!(WorkloadKind::parse(api_version, kind), expected, "{api_version} {kind}");
        }
        for kind in WorkloadKind::ALL {
            assert_eq!(WorkloadKind::parse(kind.api_version(), kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn a_sandbox_whose_template_cannot_be_read_is_an_agent_that_selects_nobody() {
        let metadata =
            serde_json::from_value(json!({ "name": "weather", "labels": { "kagenti.io/type": "agent" } }));
        let sandbox = Sandbox::parse(&json!({ "spec": { "podTemplate": "x" } })).unwrap_or_default();
        let found = Workload::of_sandbox(metadata.unwrap(), sandbox);
        assert!(found.is_agent() && !found.is_ready && found.labels_its_pods().is_none());
        assert_eq!(found.selector.read(), LabelSelector::default());
    }
}
