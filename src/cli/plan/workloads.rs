//! Workloads of every kind as one type, and what the manifests say about who they are and how they are reached.

use super::manifests::{Manifests, name, namespace};
use crate::exit::Unusable;
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_plan::{EnrolledWorkload, Isolation, Namespace};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::{BTreeMap, BTreeSet};

/// The label that enrols a workload, and its value for agents.
const TYPE_LABEL: (&str, &str) = ("kagenti.io/type", "agent");

/// What a workload's Pods are made from.
#[derive(Debug, Default)]
pub(super) struct Template {
    labels: BTreeMap<String, String>,
    service_account: String,
    host_network: bool,
}

impl Template {
    pub(super) fn new(metadata: Option<&ObjectMeta>, spec: Option<PodSpec>) -> Self {
        let spec = spec.unwrap_or_default();
        Self {
            labels: metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default(),
            service_account: spec.service_account_name.filter(|name| !name.is_empty()).unwrap_or_else(|| {
                // The API server fills in this one.
                "default".to_owned()
            }),
            host_network: spec.host_network.unwrap_or_default(),
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
pub(super) struct Workload {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    uid: Option<String>,
    labels: BTreeMap<String, String>,
    selector: LabelSelector,
    template: Template,
}

impl Workload {
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
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }

    pub(super) fn is_labelled_agent(&self) -> bool {
        let (key, value) = TYPE_LABEL;
        [&self.labels, &self.template.labels]
            .iter()
            .any(|labels| labels.get(key).is_some_and(|found| found == value))
    }

    /// The name that the operator gives the AgentCard of a workload that has none.
    pub(super) fn default_card(&self) -> String {
        format!("{}-{}-card", self.name, self.kind.to_lowercase())
    }

    /// The identity that its namespace and service account call for (rule 50).
    pub(super) fn expected_id(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, Unusable> {
        let account = &self.template.service_account;
        let id = format!("spiffe://{trust_domain}/ns/{}/sa/{account}", self.namespace);
        SpiffeId::parse(&id).map_err(|refusal| self.unusable(refusal.message()))
    }

    /// The workload as the planner wants it.
    pub(super) fn enrolled(&self, expected: &SpiffeId) -> Result<EnrolledWorkload, Unusable> {
        let namespace = Namespace::parse(&self.namespace).map_err(|error| self.unusable(error))?;
        let enrolled =
            EnrolledWorkload::new(namespace, &self.kind, &self.name, expected.clone(), self.selector.clone())
                .map_err(|error| self.unusable(error))?
                .with_host_network(self.template.host_network)
                .with_isolation(self.isolation());
        match &self.uid {
            Some(uid) => enrolled.with_uid(uid).map_err(|error| self.unusable(error)),
            None => Ok(enrolled),
        }
    }

    /// Manifests show no Pods of earlier templates, so the one that they have counts.
    fn isolation(&self) -> Isolation {
        let (key, value) = TYPE_LABEL;
        if self.template.labels.get(key).is_some_and(|found| found == value) {
            Isolation::Namespace
        } else {
            Isolation::Own
        }
    }

    fn unusable(&self, why: impl std::fmt::Display) -> Unusable {
        Unusable::new(format!("{}: {why}; correct the manifest", self.shown()))
    }

    /// The DNS names of the Services that lead to its Pods (rule 51).
    pub(super) fn cluster_hosts(&self, manifests: &Manifests) -> BTreeSet<String> {
        let names = manifests.services.iter().filter(|service| self.is_behind(service));
        names.flat_map(|service| self.service_names(name(&service.metadata))).collect()
    }

    /// The hosts of the Ingresses that lead to those Services.
    pub(super) fn ingress_hosts(&self, manifests: &Manifests) -> BTreeSet<String> {
        let services: BTreeSet<&str> = manifests
            .services
            .iter()
            .filter(|service| self.is_behind(service))
            .map(|service| name(&service.metadata))
            .collect();
        let own = manifests.ingresses.iter().filter(|ingress| namespace(&ingress.metadata) == self.namespace);
        own.flat_map(|ingress| hosts_to(ingress, &services)).collect()
    }

    fn service_names(&self, service: &str) -> [String; 4] {
        let space = &self.namespace;
        [
            service.to_owned(),
            format!("{service}.{space}"),
            format!("{service}.{space}.svc"),
            format!("{service}.{space}.svc.cluster.local"),
        ]
    }

    /// True if the Service selects Pods of this template. One without a selector leads anywhere.
    fn is_behind(&self, service: &Service) -> bool {
        let spec = service.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
        let external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
        namespace(&service.metadata) == self.namespace
            && !external
            && selector.is_some_and(|selector| {
                selector.iter().all(|(key, value)| self.template.labels.get(key) == Some(value))
            })
    }
}

/// The hosts under which every path leads to one of these Services.
fn hosts_to(ingress: &Ingress, services: &BTreeSet<&str>) -> Vec<String> {
    let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_deref()).unwrap_or_default();
    rules
        .iter()
        .filter_map(|rule| {
            let host = rule.host.as_deref().filter(|host| !host.is_empty() && !host.contains('*'))?;
            let paths = rule.http.as_ref().map(|http| http.paths.as_slice()).unwrap_or_default();
            let leads_here = !paths.is_empty()
                && paths.iter().all(|path| {
                    path.backend
                        .service
                        .as_ref()
                        .is_some_and(|backend| services.contains(backend.name.as_str()))
                });
            leads_here.then(|| host.to_lowercase())
        })
        .collect()
}
