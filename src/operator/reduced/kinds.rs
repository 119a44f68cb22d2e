//! Kinds of tenants' objects that are read often: what is in use of each, and the same as the plan takes it.

use super::Reduced;
use super::bounded::{Few, Labels};
use crate::limits::{NAME_BYTES, SPEC_TEXT_BYTES};
use countersign_api::agent_card::{AgentCard, AgentCardSpec, AgentCardStatus};
use countersign_api::keys::SIDECAR_ANNOTATION;
use countersign_core::refusal::{Reason, Refusal};
use countersign_plan::StoredPolicy;
use countersign_plan::agent_card::IndexedCard;
use countersign_plan::input::labels::{
    LabelsSize, OF_SELECTOR, OF_TEMPLATE, OF_WORKLOAD, too_many_expressions,
};
use countersign_plan::input::pod::Pod;
use countersign_plan::input::sandbox::Sandbox;
use countersign_plan::input::workload::Workload;
use countersign_plan::limits::LABEL_BYTES;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, StatefulSet, StatefulSetSpec, StatefulSetStatus,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Pod as ApiPod, PodIP, PodSpec, PodStatus, PodTemplateSpec, Service,
    ServicePort, ServiceSpec,
};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use kube::api::DynamicObject;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
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
    spec: Option<TemplatePart>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateMetadata {
    labels: Labels,
    annotations: Option<TemplateAnnotations>,
}

/// The annotation of a Pod template that asks for a sidecar, whatever its value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateAnnotations {
    #[serde(rename = "countersign.dev/sidecar")]
    sidecar: Option<IgnoredAny>,
}

/// What is in use of the specification in a Pod template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TemplatePart {
    service_account_name: Option<String>,
    host_network: Option<bool>,
    containers: Option<Few<ContainerPart>>,
    init_containers: Option<Few<ContainerPart>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPart {
    name: String,
    ports: Option<Few<PortPart>>,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortPart {
    container_port: i32,
    protocol: Option<String>,
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
    let mut spec = spec?;
    texts(&mut spec).for_each(clip);
    IndexedCard::of(AgentCard { metadata: metadata.kept, spec, status })
}

/// Texts of a spec that its definition does not bound.
fn texts(spec: &mut AgentCardSpec) -> impl Iterator<Item = &mut String> {
    let target = spec.target_ref.iter_mut();
    let target = target.flat_map(|target| [&mut target.api_version, &mut target.kind, &mut target.name]);
    let binding = spec.identity_binding.iter_mut().filter_map(|binding| binding.trust_domain.as_mut());
    let sigstore = spec.sigstore_verification.iter_mut();
    let sigstore = sigstore
        .flat_map(|sigstore| {
            [sigstore.certificate_identity.as_mut(), sigstore.certificate_oidc_issuer.as_mut()]
        })
        .flatten();
    [&mut spec.sync_period].into_iter().chain(target).chain(binding).chain(sigstore)
}

/// Cuts a text that is longer than any that means something. What is left means nothing either.
pub(super) fn clip(text: &mut String) {
    if text.len() > SPEC_TEXT_BYTES {
        let end = text.floor_char_boundary(SPEC_TEXT_BYTES);
        text.truncate(end);
        text.shrink_to_fit();
    }
}

/// Observed Deployment; `None` without a spec.
pub(crate) fn deployment(object: ReducedDeployment) -> Option<Workload> {
    let Reduced { metadata, spec, status, .. } = object;
    let (selector, template, size) = spec?.parts(metadata.labels);
    let spec = DeploymentSpec { selector, template, ..DeploymentSpec::default() };
    let deployment = Deployment { metadata: metadata.kept, spec: Some(spec), status };
    Some(size.of(Workload::of_deployment(deployment)?))
}

/// Observed `StatefulSet`; `None` without a spec.
pub(crate) fn stateful_set(object: ReducedStatefulSet) -> Option<Workload> {
    let Reduced { metadata, spec, status, .. } = object;
    let (selector, template, size) = spec?.parts(metadata.labels);
    let spec = StatefulSetSpec { selector, template, ..StatefulSetSpec::default() };
    let set = StatefulSet { metadata: metadata.kept, spec: Some(spec), status };
    Some(size.of(Workload::of_stateful_set(set)?))
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
    let mut size = Size::default();
    let mut fitting = |text: Option<String>| {
        size.cut(text.as_deref().and_then(|text| too_long("the selector in the status", text, LABEL_BYTES)));
        text.filter(|text| text.len() <= LABEL_BYTES)
    };
    let stated = [fitting(status.selector), fitting(status.label_selector)];
    // Until its status says otherwise, a Sandbox selects by the labels of its template.
    size.cut(spec.pod_template.as_ref().and_then(Template::too_large));
    size.tell(metadata.labels.check(OF_WORKLOAD).err());
    let conditions = status.conditions.map(|few| few.kept).unwrap_or_default();
    let is_true = |condition: &Condition| condition.type_ == "Ready" && condition.status == "True";
    let is_ready = spec.replicas != Some(0) && conditions.iter().any(is_true);
    let sandbox = spec
        .pod_template
        .map(|template| Sandbox::new(template.into(), stated.each_ref().map(Option::as_deref), is_ready));
    size.of(Workload::of_sandbox(metadata.kept, sandbox.unwrap_or_default()))
}

/// Observed Pod; `None` without a UID. One with too many labels matches no selector, so that nothing opens for it.
pub(crate) fn pod(object: ReducedPod) -> Option<Pod> {
    let Reduced { metadata, spec, status, .. } = object;
    let spec = spec.unwrap_or_default();
    let status = status.unwrap_or_default();
    let has_too_many_labels = metadata.labels.is_too_large();
    let pod = Pod::of(ApiPod {
        metadata: metadata.kept,
        spec: Some(spec.into()),
        status: Some(PodStatus {
            phase: status.phase,
            pod_ips: status.pod_ips.map(|few| few.kept),
            ..PodStatus::default()
        }),
    })?;
    Some(Pod { has_too_many_labels, ..pod })
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
        selector: (!part.selector.size.is_too_large()).then_some(part.selector.kept),
        ports: part.ports.map(|few| few.kept),
        ip_families: part.ip_families.map(|few| few.kept),
        ..ServiceSpec::default()
    });
    let metadata = ObjectMeta { name: object.metadata.kept.name, ..ObjectMeta::default() };
    Service { metadata, spec, status: None }
}

/// What of a workload is larger than is read: the first of it that was found.
#[derive(Clone, Debug, Default)]
struct Size {
    found: Option<Refusal>,
    selector_is_cut: bool,
}

impl Size {
    /// Adds what is too large, if anything is.
    fn tell(&mut self, found: Option<Refusal>) {
        self.found = self.found.take().or(found);
    }

    /// Adds what is too large of that by which the workload selects.
    fn cut(&mut self, found: Option<Refusal>) {
        self.selector_is_cut |= found.is_some();
        self.tell(found);
    }

    fn of(self, workload: Workload) -> Workload {
        match self.found {
            Some(found) if self.selector_is_cut => workload.without_selector(found),
            Some(found) => workload.with_too_many_labels(found),
            None => workload,
        }
    }
}

/// Refusal of a workload with a text that is longer than is read.
fn too_long(what: &str, text: &str, limit: usize) -> Option<Refusal> {
    let found = || format!("{what} has {} bytes, and {limit} are read", text.len());
    (text.len() > limit).then(|| Refusal::new(Reason::LabelsTooMany, found()))
}

/// Member of a Sandbox; empty if it is not what it should be.
pub(super) fn read<'a, T: Default + Deserialize<'a>>(text: Option<&'a RawValue>) -> T {
    text.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
}

impl Controlled {
    /// Selector, template, and what of them, or of the labels of the object itself, is larger than is read.
    fn parts(self, own: LabelsSize) -> (LabelSelector, PodTemplateSpec, Size) {
        let Self { selector, template } = self;
        let mut size = Size::default();
        size.cut(selector.too_large());
        size.tell(own.check(OF_WORKLOAD).err());
        size.tell(template.too_large());
        (selector.into(), template.into(), size)
    }
}

impl Selector {
    fn too_large(&self) -> Option<Refusal> {
        let values = |one: &Expression| one.values.as_ref().is_some_and(|values| values.are_too_many);
        let are_many = |few: &Few<Expression>| few.are_too_many || few.kept.iter().any(values);
        let expressions = self.match_expressions.as_ref().filter(|few| are_many(few));
        let labels = self.match_labels.size.check(OF_SELECTOR).err();
        labels.or_else(|| expressions.map(|_| too_many_expressions()))
    }
}

impl Template {
    fn too_large(&self) -> Option<Refusal> {
        let labels = self.metadata.as_ref().and_then(|one| one.labels.size.check(OF_TEMPLATE).err());
        let account = self.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let named = |name| too_long("the name of the service account in the Pod template", name, NAME_BYTES);
        labels.or_else(|| account.and_then(named))
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
        let TemplateMetadata { labels, annotations } = template.metadata.unwrap_or_default();
        let asks = annotations.and_then(|annotations| annotations.sidecar).is_some();
        let annotations = asks.then(|| BTreeMap::from([(SIDECAR_ANNOTATION.to_owned(), String::new())]));
        Self {
            metadata: Some(ObjectMeta { labels: some(labels.kept), annotations, ..ObjectMeta::default() }),
            spec: template.spec.map(Into::into),
        }
    }
}

impl From<TemplatePart> for PodSpec {
    fn from(part: TemplatePart) -> Self {
        let all = |few: Few<ContainerPart>| few.kept.into_iter().map(Container::from).collect();
        Self {
            service_account_name: account(part.service_account_name),
            host_network: part.host_network,
            containers: part.containers.map(all).unwrap_or_default(),
            init_containers: part.init_containers.map(all),
            ..Self::default()
        }
    }
}

impl From<ContainerPart> for Container {
    fn from(part: ContainerPart) -> Self {
        let declared = |port: PortPart| ContainerPort {
            container_port: port.container_port,
            protocol: port.protocol,
            ..ContainerPort::default()
        };
        Self {
            name: part.name,
            ports: part.ports.map(|few| few.kept.into_iter().map(declared).collect()),
            restart_policy: part.restart_policy,
            ..Self::default()
        }
    }
}

impl From<PodPart> for PodSpec {
    fn from(part: PodPart) -> Self {
        Self {
            service_account_name: account(part.service_account_name),
            host_network: part.host_network,
            ..Self::default()
        }
    }
}

/// Name of the service account; `None` for what can be none: no account has a longer one than a name may be.
fn account(name: Option<String>) -> Option<String> {
    name.filter(|name| name.len() <= NAME_BYTES)
}

fn some(labels: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!labels.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduced::ReducedMetadata;
    use countersign_api::keys::Family;
    use countersign_core::refusal::Reason;
    use countersign_plan::limits::{ITEMS, LABELS};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

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
        let plain = controlled(&labels(3), &labels(5), &json!({ "a0": "x" }));
        let mut injected = plain.clone();
        let template = &mut injected["spec"]["template"];
        template["metadata"]["annotations"] =
            json!({ "countersign.dev/sidecar": "proxy-sidecar", "big": "x" });
        template["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 9000, "name": "http" },
            { "containerPort": 53, "protocol": "UDP" }]);
        template["spec"]["initContainers"] = json!([{ "name": "once", "ports": [{ "containerPort": 1 }] },
            { "name": "on", "restartPolicy": "Always", "ports": [{ "containerPort": 9100 }] }]);
        let mut long = injected.clone();
        let ports = (1..=ITEMS).map(|number| json!({ "containerPort": number, "protocol": "UDP" }));
        let ports = ports.chain([json!({ "containerPort": 9000 })]).collect::<Vec<_>>();
        long["spec"]["template"]["spec"]["containers"][0]["ports"] = json!(ports);
        for (object, has_ports) in [(&plain, false), (&injected, true), (&long, true)] {
            let whole: Deployment = parse(object);
            let found = deployment(parse(object));
            assert_eq!(found, Workload::of_deployment(whole));
            assert_eq!(found.unwrap().open_ports.is_some(), has_ports);
            let whole: StatefulSet = parse(object);
            assert_eq!(stateful_set(parse(object)), Workload::of_stateful_set(whole));
        }
        let object = json!({
            "metadata": { "name": "weather", "labels": labels(1) },
            "spec": { "replicas": 1, "podTemplate": { "metadata": { "labels": labels(2) },
                "spec": { "serviceAccountName": "weather", "containers": [] } } },
            "status": { "selector": "a=b", "conditions": [{ "type": "Ready", "status": "True", "reason": "r" }] },
        });
        let whole: DynamicObject = parse(&json!({ "metadata": object["metadata"], "spec": object["spec"],
            "status": object["status"], "apiVersion": "v1", "kind": "x" }));
        assert_eq!(
            sandbox(parse(&object)),
            Workload::of_sandbox(whole.metadata, Sandbox::parse(&whole.data).unwrap())
        );
    }

    #[test]
    fn more_labels_than_are_read_refuse_the_workload_which_stays_an_agent() {
        let (few, many) = (labels(2), labels(LABELS + 1));
        let long = json!({ "kagenti.io/type": "agent", "a": "x".repeat(LABEL_BYTES) });
        let selector = json!({ "a0": "x" });
        for (own, template, selector, is_cut, says) in [
            (&many, &few, &selector, false, "the workload has 130 labels, and 128 are read"),
            (&few, &many, &selector, false, "the Pod template has 130 labels, and 128 are read"),
            (&few, &few, &many, true, "the selector of the workload has 130 labels, and 128 are read"),
            (
                &long,
                &few,
                &selector,
                false,
                "the workload has labels with 8213 bytes of keys and values, and 8192",
            ),
        ] {
            let found = deployment(parse(&controlled(own, template, selector))).unwrap();
            let refusal = found.refusal.as_ref().unwrap();
            assert_eq!(refusal.reason(), Reason::LabelsTooMany);
            assert!(refusal.message().contains(says), "{says}: {refusal}");
            assert_eq!(
                (found.family, found.labels_its_pods()),
                (Some(Family::Kagenti), Some(Family::Kagenti))
            );
            assert_eq!(found.selects_nobody(), is_cut, "kept labels alone would select more");
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
                found.is_agent() && !found.is_ready && found.selector.read() == LabelSelector::default(),
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
        let kept = pod(parse(&object(&labels(LABELS)))).unwrap().labels.read();
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

    #[test]
    fn a_card_keeps_no_more_than_an_honest_one_has() {
        let finalizers: Vec<&str> = vec!["a/b"; 10_000];
        let of = |finalizers: &[&str], period: &str| {
            json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
                "metadata": { "name": "a", "namespace": "t", "uid": "u", "resourceVersion": "1",
                    "creationTimestamp": "2026-11-20T00:00:00Z", "finalizers": finalizers },
                "spec": { "syncPeriod": period,
                    "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } } })
        };
        let found = card(parse(&of(&finalizers, "30s"))).unwrap();
        assert!(found.finalizers.is_empty(), "a list that was not read whole cannot be written");
        let found = card(parse(&of(&["a/b", "c"], &"é".repeat(10_000)))).unwrap();
        assert_eq!(found.finalizers, ["a/b", "c"]);
        let spec = format!("{:?}", found.spec).len();
        assert!(spec < 4 * SPEC_TEXT_BYTES, "{spec} bytes of the spec are kept");
        let long = "x".repeat(NAME_BYTES + 1);
        assert!(card(parse(&of(&["a/b", &long], "30s"))).unwrap().finalizers.is_empty());
    }

    #[test]
    fn a_sandbox_with_a_long_account_keeps_no_more_than_an_honest_one_has() {
        let object = json!({ "metadata": { "name": "a", "labels": labels(0) },
            "spec": { "podTemplate": { "metadata": { "labels": labels(1) },
                "spec": { "serviceAccountName": "x".repeat(10_000) } } } });
        let found = sandbox(parse(&object));
        assert!(found.has_too_many_labels());
        assert!(found.service_account.len() <= NAME_BYTES, "{} bytes kept", found.service_account.len());
    }

    #[test]
    fn a_pod_with_too_many_labels_says_so_because_those_it_keeps_may_match() {
        use countersign_plan::input::pod::selects;
        let mut all = labels(LABELS);
        all["quarantined"] = json!("yes");
        let object =
            json!({ "metadata": { "name": "a", "uid": "u", "labels": all }, "spec": {}, "status": {} });
        let found = pod(parse(&object)).unwrap();
        let selector: LabelSelector =
            serde_json::from_value(json!({ "matchLabels": { "kagenti.io/type": "agent" },
            "matchExpressions": [{ "key": "quarantined", "operator": "DoesNotExist" }] }))
            .unwrap();
        assert!(selects(&selector, &found.labels.read()) && found.has_too_many_labels);
    }
}
