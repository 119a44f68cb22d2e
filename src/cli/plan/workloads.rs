//! Workloads of every kind as one type, and what the manifests say about who they are and how they are reached.

use super::metadata::{name, namespace, shown};
use crate::exit::Unusable;
use countersign_api::keys::Family;
use countersign_core::refusal::{Reason, Refusal};
use countersign_plan::input::delivered::default_card_name;
use countersign_plan::input::enrolment::{check_families, families, family, protocol};
use countersign_plan::input::host_suffix::HostSuffixes;
use countersign_plan::input::identity::{Binding, Expected, IdentityRules};
use countersign_plan::input::labels::check_sizes;
use countersign_plan::input::pod::selects;
use countersign_plan::input::ports::OpenPorts;
use countersign_plan::input::sandbox::SANDBOX_KIND;
use countersign_plan::input::service::Hosts;
use countersign_plan::input::standing::{Standing, protocol_problem, unenrolled};
use countersign_plan::{EnrolledWorkload, Isolation, Namespace};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::{BTreeMap, BTreeSet};

/// Warning about Pods that no NetworkPolicy holds.
pub(super) fn host_network_note(shown: &str) -> String {
    format!(
        "warning: {shown}: its Pods use the network of their node (hostNetwork: true), where no NetworkPolicy holds: the \
         policies of this plan neither isolate nor open them; take hostNetwork off"
    )
}

/// Fields of a workload's Pod template that decide about its identity and its policies.
#[derive(Debug, Default)]
pub(super) struct Template {
    labels: BTreeMap<String, String>,
    service_account: String,
    host_network: bool,
    open_ports: Option<OpenPorts>,
}

impl Template {
    pub(super) fn new(metadata: Option<&ObjectMeta>, spec: Option<PodSpec>) -> Self {
        let open_ports = OpenPorts::of_template(metadata, spec.as_ref());
        let spec = spec.unwrap_or_default();
        Self {
            labels: metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default(),
            service_account: spec.service_account_name.filter(|name| !name.is_empty()).unwrap_or_else(|| {
                // The API server fills in this one.
                "default".to_owned()
            }),
            host_network: spec.host_network.unwrap_or_default(),
            open_ports,
        }
    }
}

impl From<PodTemplateSpec> for Template {
    fn from(template: PodTemplateSpec) -> Self {
        Self::new(template.metadata.as_ref(), template.spec)
    }
}

/// One workload.
#[derive(Debug)]
pub(super) struct ManifestWorkload {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    uid: Option<String>,
    labels: BTreeMap<String, String>,
    selector: LabelSelector,
    template: Template,
}

impl ManifestWorkload {
    pub(super) fn new(kind: &str, metadata: ObjectMeta, selector: LabelSelector, template: Template) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace(&metadata).to_owned(),
            name: name(&metadata).to_owned(),
            uid: metadata.uid,
            labels: metadata.labels.unwrap_or_default(),
            selector,
            template,
        }
    }

    /// Kind, namespace and name.
    pub(super) fn shown(&self) -> String {
        shown(&self.kind, &self.namespace, &self.name)
    }

    /// What the operator makes of kind and labels.
    pub(super) fn standing(&self) -> Standing {
        Standing::of(true, self.family(), protocol(&self.labels).is_some(), family(&self.template.labels))
    }

    /// True if a plan depends on it, or says of it that it is no agent.
    pub(super) fn is_told_of(&self) -> bool {
        self.standing() != Standing::Unconcerned || !self.families().is_empty() || self.unenrolled().is_some()
    }

    /// Sentence about labels that look like an agent's and are not, if it is none.
    pub(super) fn unenrolled(&self) -> Option<String> {
        unenrolled(&self.labels, &self.template.labels)
    }

    /// The family whose label enrols it.
    pub(super) fn family(&self) -> Option<Family> {
        family(&self.labels)
    }

    /// True if the Pod template has the label of agents.
    pub(super) fn labels_its_pods(&self) -> bool {
        family(&self.template.labels).is_some()
    }

    /// Families whose agent label it carries, on itself or in its template, so that the namespace is isolated for them.
    pub(super) fn families(&self) -> Vec<Family> {
        let both: BTreeSet<Family> = families(&self.labels).chain(families(&self.template.labels)).collect();
        both.into_iter().collect()
    }

    /// Refuses a workload that names no protocol whose cards can be read.
    pub(super) fn check_protocol(&self) -> Result<(), Refusal> {
        match protocol_problem(self.family(), protocol(&self.labels).as_deref()) {
            Some(found) => Err(Refusal::new(Reason::ProtocolMissing, found)),
            None => Ok(()),
        }
    }

    /// Refuses more labels than the operator reads, and labels of the two families that say different things.
    pub(super) fn check_labels(&self) -> Result<(), Refusal> {
        check_sizes(&self.labels, &self.template.labels, &self.selector)?;
        check_families(&self.labels, &self.template.labels)
    }

    /// The name that the operator gives the AgentCard of a workload that has none.
    pub(super) fn default_card(&self) -> String {
        default_card_name(&self.name, &self.kind)
    }

    /// Returns the expected signer of the workload's card, the same as for an operator with the default template
    /// (rule 50).
    pub(super) fn expected(&self, rules: &IdentityRules, binding: Binding<'_>) -> Result<Expected, Refusal> {
        rules.expect(binding, &self.namespace, &self.template.service_account)
    }

    /// The workload as the planner wants it.
    pub(super) fn enrolled(&self, expected: &Expected) -> Result<EnrolledWorkload, Unusable> {
        let namespace = Namespace::parse(&self.namespace).map_err(|error| self.unusable(error))?;
        let enrolled =
            EnrolledWorkload::new(namespace, &self.kind, &self.name, expected.clone(), self.selector.clone())
                .map_err(|error| self.unusable(error))?
                .with_host_network(self.template.host_network)
                .with_isolation(self.isolation())
                .with_open_ports(self.template.open_ports.clone());
        self.check_selector()?;
        match &self.uid {
            Some(uid) => enrolled.with_uid(uid).map_err(|error| self.unusable(error)),
            None => Ok(enrolled),
        }
    }

    /// Refuses what the API server would: a Deployment or `StatefulSet` has to select the Pods that it makes.
    fn check_selector(&self) -> Result<(), Unusable> {
        if self.kind == SANDBOX_KIND || selects(&self.selector, &self.template.labels) {
            return Ok(());
        }
        let found =
            "spec.selector does not select the labels of its own Pod template, so the API server refuses it";
        Err(self.unusable(found))
    }

    /// Warning about Pods on the network of their node, if they carry a label of agents or its workload does.
    pub(super) fn host_network_note(&self) -> Option<String> {
        let is_concerned = self.template.host_network && !self.families().is_empty();
        is_concerned.then(|| host_network_note(&self.shown()))
    }

    /// True if its Pods use the network of their node.
    pub(super) fn is_on_host_network(&self) -> bool {
        self.template.host_network
    }

    /// Manifests show no Pods of earlier templates, so the one that they have counts.
    fn isolation(&self) -> Isolation {
        family(&self.template.labels).map_or(Isolation::Own, Isolation::Namespace)
    }

    pub(super) fn unusable(&self, why: impl std::fmt::Display) -> Unusable {
        Unusable::new(format!("{}: {why}; correct the manifest", self.shown()))
    }

    /// The names under which its Pods are reached (rule 51).
    pub(super) fn hosts(
        &self,
        services: &[Service],
        ingresses: &[Ingress],
        suffixes: &HostSuffixes,
    ) -> Hosts {
        let services = services.iter().filter(|service| self.is_beside(&service.metadata));
        let ingresses = ingresses.iter().filter(|ingress| self.is_beside(&ingress.metadata));
        Hosts::of(&self.namespace, &self.template.labels, services, ingresses, suffixes)
    }

    fn is_beside(&self, metadata: &ObjectMeta) -> bool {
        namespace(metadata) == self.namespace
    }
}
