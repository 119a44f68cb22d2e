//! Kinds of tenants' objects that are read often: what is in use of each, and the same as the plan takes it.

use super::Reduced;
use super::bounded::{Few, Labels};
use crate::limits::LABEL_BYTES;
use countersign_api::agent_card::{AgentCard, AgentCardSpec, AgentCardStatus};
use countersign_plan::StoredPolicy;
use countersign_plan::agent_card::IndexedCard;
use countersign_plan::input::pod::Pod;
use countersign_plan::input::workload::Workload;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, StatefulSet, StatefulSetSpec, StatefulSetStatus,
};
use k8s_openapi::api::core::v1::{
    Pod as ApiPod, PodIP, PodSpec, PodStatus, PodTemplateSpec, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use kube::api::DynamicObject;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// AgentCard, whose own definition bounds `spec` and `status`.
pub(crate) type ReducedCard = Reduced<AgentCard, AgentCardSpec, AgentCardStatus>;
/// Deployment with what identifies an agent.
pub(crate) type ReducedDeployment = Reduced<Deployment, Controlled, DeploymentStatus>;
/// `StatefulSet` with what identifies an agent.
pub(crate) type ReducedStatefulSet = Reduced<StatefulSet, Controlled, StatefulSetStatus>;
/// Sandbox whose members are parsed one by one: a definition of others need not bound or type them.
pub(crate) type ReducedSandbox = Reduced<DynamicObject, Box<RawValue>, Box<RawValue>>;
/// Pod with what decides about endpoints and peer marks.
pub(crate) type ReducedPod = Reduced<ApiPod, PodPart, PodState>;
/// NetworkPolicy whose rules are parsed one object at a time.
pub(crate) type ReducedPolicy = Reduced<NetworkPolicy, Box<RawValue>, IgnoredAny>;
/// Service with what decides where it leads.
pub(crate) type ReducedService = Reduced<Service, ServicePart, IgnoredAny>;

/// Ingress whose rules are parsed one object at a time.
pub(crate) type ReducedIngress = Reduced<Ingress, Box<RawValue>, IgnoredAny>;

/// Selector and template of a workload.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Controlled {
    selector: Selector,
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Selector {
    match_labels: Labels,
    match_expressions: Option<Few<Expression>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Expression {
    key: String,
    operator: String,
    values: Option<Few<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    metadata: Option<TemplateMetadata>,
    spec: Option<PodPart>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateMetadata {
    labels: Labels,
}

/// What is in use of the specification of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodPart {
    service_account_name: Option<String>,
    host_network: Option<bool>,
}

/// What is in use of the status of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodState {
    phase: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Few<PodIP>>,
}

/// What is in use of the specification of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServicePart {
    #[serde(rename = "type")]
    type_: Option<String>,
    selector: Labels,
    ports: Option<Few<ServicePort>>,
    ip_families: Option<Few<String>>,
}

/// Observed AgentCard; `None` if metadata is incomplete.
pub(crate) fn card(object: ReducedCard) -> Option<IndexedCard> {
    let Reduced { metadata, spec, status, .. } = object;
    IndexedCard::of(AgentCard { metadata: metadata.kept, spec: spec?, status })
}

/// Observed Deployment; `None` without a spec.
pub(crate) fn deployment(object: ReducedDeployment) -> Option<Workload> {
    let Reduced { metadata, spec, status, .. } = object;
    let (selector, template, are_too_many) = spec?.parts();
    let spec = DeploymentSpec { selector, template, ..DeploymentSpec::default() };
    let deployment = Deployment { metadata: metadata.kept, spec: Some(spec), status };
    let workload = Workload::of_deployment(deployment)?;
    Some(bounded(workload, are_too_many || metadata.has_too_many_labels))
}

/// Observed `StatefulSet`; `None` without a spec.
pub(crate) fn stateful_set(object: ReducedStatefulSet) -> Option<Workload> {
    let Reduced { metadata, spec, status, .. } = object;
    let (selector, template, are_too_many) = spec?.parts();
    let spec = StatefulSetSpec { selector, template, ..StatefulSetSpec::default() };
    let workload =
        Workload::of_stateful_set(StatefulSet { metadata: metadata.kept, spec: Some(spec), status })?;
    Some(bounded(workload, are_too_many || metadata.has_too_many_labels))
}

/// Observed Sandbox. One that cannot be read is an agent all the same, and can neither be reached nor open anything.
pub(crate) fn sandbox(object: ReducedSandbox) -> Workload {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Spec {
        pod_template: Option<Template>,
        replicas: Option<i64>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Status {
        selector: Option<String>,
        label_selector: Option<String>,
        conditions: Option<Few<Condition>>,
    }
    #[derive(Deserialize)]
    struct Condition {
        #[serde(rename = "type")]
        type_: String,
        status: String,
    }
    let Reduced { metadata, spec, status, .. } = object;
    let spec: Spec = read(spec.as_deref());
    let status: Status = read(status.as_deref());
    let mut are_too_many = metadata.has_too_many_labels;
    let template = spec.pod_template.map(|template| {
        are_too_many |= template.is_too_large();
        let account = template.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let host_network = template.spec.as_ref().and_then(|spec| spec.host_network);
        let labels = template.metadata.unwrap_or_default().labels.kept;
        json!({ "metadata": { "labels": labels },
            "spec": { "serviceAccountName": account, "hostNetwork": host_network } })
    });
    let mut fitting = |text: Option<String>| {
        are_too_many |= text.as_ref().is_some_and(|text| text.len() > LABEL_BYTES);
        text.filter(|text| text.len() <= LABEL_BYTES)
    };
    let (selector, label_selector) = (fitting(status.selector), fitting(status.label_selector));
    let conditions = status.conditions.map(|few| few.kept).unwrap_or_default();
    let conditions: Vec<Value> =
        conditions.iter().map(|one| json!({ "type": one.type_, "status": one.status })).collect();
    let mut rest = json!({ "spec": { "replicas": spec.replicas },
        "status": { "selector": selector, "labelSelector": label_selector, "conditions": conditions } });
    if let (Some(template), Some(spec)) = (template, rest.pointer_mut("/spec").and_then(Value::as_object_mut))
    {
        spec.insert("podTemplate".to_owned(), template);
    }
    bounded(Workload::of_sandbox(metadata.kept, &rest), are_too_many)
}

/// Observed Pod; `None` without a UID. One with too many labels matches no selector, so that nothing opens for it.
pub(crate) fn pod(object: ReducedPod) -> Option<Pod> {
    let Reduced { metadata, spec, status, .. } = object;
    let spec = spec.unwrap_or_default();
    let status = status.unwrap_or_default();
    Pod::of(ApiPod {
        metadata: metadata.kept,
        spec: Some(spec.into()),
        status: Some(PodStatus {
            phase: status.phase,
            pod_ips: status.pod_ips.map(|few| few.kept),
            ..PodStatus::default()
        }),
    })
}

/// Observed NetworkPolicy. Rules that cannot be read differ from every planned policy, which is then written again.
pub(crate) fn policy(object: ReducedPolicy) -> StoredPolicy {
    let spec = object.spec.and_then(|text| serde_json::from_str(text.get()).ok());
    StoredPolicy::of(&NetworkPolicy { metadata: object.metadata.kept, spec })
}

/// Ingress with its rules; without any if they cannot be read.
pub(crate) fn ingress(object: ReducedIngress) -> Ingress {
    let spec = object.spec.and_then(|text| serde_json::from_str(text.get()).ok());
    Ingress { metadata: object.metadata.kept, spec, status: None }
}

/// Service with its name, where it leads to and its ports. One that selects by too many labels selects nobody.
pub(crate) fn service(object: ReducedService) -> Service {
    let spec = object.spec.map(|part| ServiceSpec {
        type_: part.type_,
        selector: (!part.selector.are_too_many).then_some(part.selector.kept),
        ports: part.ports.map(|few| few.kept),
        ip_families: part.ip_families.map(|few| few.kept),
        ..ServiceSpec::default()
    });
    let metadata = ObjectMeta { name: object.metadata.kept.name, ..ObjectMeta::default() };
    Service { metadata, spec, status: None }
}

fn bounded(workload: Workload, are_too_many: bool) -> Workload {
    if are_too_many { workload.with_too_many_labels() } else { workload }
}

/// Member of a Sandbox; empty if it is not what it should be.
fn read<'a, T: Default + Deserialize<'a>>(text: Option<&'a RawValue>) -> T {
    text.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
}

impl Controlled {
    /// Selector, template, and whether one of them is larger than is read.
    fn parts(self) -> (LabelSelector, PodTemplateSpec, bool) {
        let Self { selector, template } = self;
        let is_too_large = selector.is_too_large() || template.is_too_large();
        (selector.into(), template.into(), is_too_large)
    }
}

impl Selector {
    fn is_too_large(&self) -> bool {
        let values = |one: &Expression| one.values.as_ref().is_some_and(|values| values.are_too_many);
        let expressions = |few: &Few<Expression>| few.are_too_many || few.kept.iter().any(values);
        self.match_labels.are_too_many || self.match_expressions.as_ref().is_some_and(expressions)
    }
}

impl Template {
    fn is_too_large(&self) -> bool {
        let account = self.spec.as_ref().and_then(|spec| spec.service_account_name.as_ref());
        account.is_some_and(|name| name.len() > LABEL_BYTES)
            || self.metadata.as_ref().is_some_and(|metadata| metadata.labels.are_too_many)
    }
}

impl From<Selector> for LabelSelector {
    fn from(selector: Selector) -> Self {
        let expression = |one: Expression| LabelSelectorRequirement {
            key: one.key,
            operator: one.operator,
            values: one.values.map(|few| few.kept),
        };
        let all = |few: Few<Expression>| few.kept.into_iter().map(expression).collect();
        Self {
            match_labels: some(selector.match_labels.kept),
            match_expressions: selector.match_expressions.map(all),
        }
    }
}

impl From<Template> for PodTemplateSpec {
    fn from(template: Template) -> Self {
        let labels = template.metadata.and_then(|metadata| some(metadata.labels.kept));
        Self {
            metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
            spec: template.spec.map(Into::into),
        }
    }
}

impl From<PodPart> for PodSpec {
    fn from(part: PodPart) -> Self {
        Self {
            service_account_name: part.service_account_name,
            host_network: part.host_network,
            ..Self::default()
        }
    }
}

fn some(labels: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!labels.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{ITEMS, LABELS};
    use crate::reduced::ReducedMetadata;
    use countersign_api::keys::Family;
    use countersign_core::refusal::{Reason, Refusal};
    use serde::de::DeserializeOwned;

    fn parse<T: DeserializeOwned>(object: &Value) -> T {
        serde_json::from_str(&object.to_string()).unwrap()
    }

    fn labels(count: usize) -> Value {
        let mut labels: serde_json::Map<String, Value> =
            (0..count).map(|number| (format!("a{number}"), json!("x"))).collect();
        labels.insert("kagenti.io/type".to_owned(), json!("agent"));
        Value::Object(labels)
    }

    fn controlled(own: &Value, template: &Value, selector: &Value) -> Value {
        json!({
            "metadata": { "name": "weather", "namespace": "team", "uid": "u", "generation": 3, "labels": own,
                "annotations": { "big": "x" }, "managedFields": [{ "manager": "kubectl" }] },
            "spec": { "selector": { "matchLabels": selector, "matchExpressions": [] }, "replicas": 2,
                "template": { "metadata": { "labels": template, "creationTimestamp": null },
                    "spec": { "serviceAccountName": "weather", "containers": [{ "name": "a", "env": [{}] }] } } },
            "status": { "conditions": [{ "type": "Available", "status": "True" }], "replicas": 2, "readyReplicas": 2 },
        })
    }

    #[test]
    fn a_reduced_workload_is_the_one_that_the_whole_object_gives() {
        let object = controlled(&labels(3), &labels(5), &json!({ "a0": "x" }));
        let whole: Deployment = parse(&object);
        assert_eq!(deployment(parse(&object)), Workload::of_deployment(whole));
        let whole: StatefulSet = parse(&object);
        assert_eq!(stateful_set(parse(&object)), Workload::of_stateful_set(whole));
        let object = json!({
            "metadata": { "name": "weather", "labels": labels(1) },
            "spec": { "replicas": 1, "podTemplate": { "metadata": { "labels": labels(2) },
                "spec": { "serviceAccountName": "weather", "containers": [] } } },
            "status": { "selector": "a=b", "conditions": [{ "type": "Ready", "status": "True", "reason": "r" }] },
        });
        let whole: DynamicObject = parse(&json!({ "metadata": object["metadata"], "spec": object["spec"],
            "status": object["status"], "apiVersion": "v1", "kind": "x" }));
        assert_eq!(sandbox(parse(&object)), Workload::of_sandbox(whole.metadata, &whole.data));
    }

    #[test]
    fn more_labels_than_are_read_refuse_the_workload_which_stays_an_agent_and_selects_nobody() {
        let (few, many) = (labels(2), labels(LABELS + 1));
        let long = json!({ "kagenti.io/type": "agent", "a": "x".repeat(LABEL_BYTES) });
        let selector = json!({ "a0": "x" });
        for (own, template, selector) in [
            (&many, &few, &selector),
            (&few, &many, &selector),
            (&few, &few, &many),
            (&long, &few, &selector),
        ] {
            let found = deployment(parse(&controlled(own, template, selector))).unwrap();
            assert_eq!(found.refusal.as_ref().map(Refusal::reason), Some(Reason::LabelsTooMany));
            assert_eq!(
                (found.family, found.labels_its_pods()),
                (Some(Family::Kagenti), Some(Family::Kagenti))
            );
            assert_eq!(found.selector, LabelSelector::default(), "kept labels alone would select more");
        }
        let mut object = controlled(&few, &few, &selector);
        let expression = json!({ "key": "a", "operator": "Exists" });
        object["spec"]["selector"]["matchExpressions"] = json!(vec![expression; ITEMS + 1]);
        assert!(stateful_set(parse(&object)).unwrap().has_too_many_labels());
    }

    #[test]
    fn a_sandbox_of_any_shape_is_read_and_never_fails_the_list() {
        for spec in [json!(7), json!({ "podTemplate": { "metadata": { "labels": 7 } } }), json!(null)] {
            let object =
                json!({ "metadata": { "name": "a", "labels": labels(0) }, "spec": spec, "status": [] });
            let found = sandbox(parse(&object));
            assert!(
                found.is_agent() && !found.is_ready && found.selector == LabelSelector::default(),
                "{spec}"
            );
        }
        let long = json!({ "metadata": { "name": "a" }, "spec": { "podTemplate": {} },
            "status": { "selector": format!("a={}", "x".repeat(LABEL_BYTES)) } });
        assert!(sandbox(parse(&long)).has_too_many_labels());
    }

    #[test]
    fn a_pod_with_too_many_labels_keeps_those_alone_that_mean_something_by_themselves() {
        let object = |labels: &Value| {
            json!({ "metadata": { "name": "a", "uid": "u", "labels": labels,
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "r", "controller": true }] },
                "spec": { "serviceAccountName": "weather", "hostNetwork": true, "containers": [] },
                "status": { "phase": "Running", "podIPs": [{ "ip": "10.0.0.1" }] } })
        };
        let whole: ApiPod = parse(&object(&labels(3)));
        assert_eq!(pod(parse(&object(&labels(3)))), Pod::of(whole));
        let kept = pod(parse(&object(&labels(LABELS)))).unwrap().labels;
        assert_eq!(kept, BTreeMap::from([("kagenti.io/type".to_owned(), "agent".to_owned())]));
    }

    #[test]
    fn a_reduced_policy_has_the_digest_of_the_whole_one() {
        let mut object = json!({ "metadata": { "name": "x", "uid": "u", "labels": { "managed-by": "kagenti-operator" },
                "annotations": { "agent.kagenti.dev/reason": "Verified", "other": "x" } },
            "spec": { "podSelector": { "matchLabels": { "a": "b" } }, "policyTypes": ["Ingress"],
                "ingress": [{ "from": [{ "podSelector": {} }] }] } });
        let whole: NetworkPolicy = parse(&object);
        assert_eq!(policy(parse(&object)), StoredPolicy::of(&whole));
        object["spec"] = json!("x");
        assert_ne!(policy(parse(&object)).digest, StoredPolicy::of(&whole).digest);
    }

    #[test]
    fn a_service_that_selects_by_too_many_labels_selects_nobody() {
        let object = |selector: &Value| {
            json!({ "metadata": { "name": "weather", "annotations": { "a": "b" } },
                "spec": { "type": "ClusterIP", "selector": selector, "ports": [{ "port": 80 }], "ipFamilies": ["IPv4"] } })
        };
        let found = service(parse(&object(&labels(1)))).spec.unwrap();
        assert_eq!((found.selector.unwrap().len(), found.ports.unwrap().len()), (2, 1));
        assert_eq!(service(parse(&object(&labels(LABELS)))).spec.unwrap().selector, None);
    }

    #[test]
    fn metadata_alone_is_asked_for_where_nothing_else_is_read() {
        use kube::Resource;
        assert!(ReducedMetadata::<Service>::metadata_api() && !ReducedPod::metadata_api());
        assert_eq!(ReducedPod::url_path(&(), Some("team")), ApiPod::url_path(&(), Some("team")));
    }
}
