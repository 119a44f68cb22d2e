//! Objects that run Pods and are no agent for the operator, although something about them says agent.

use super::metadata::{name, namespace, shown};
use super::workloads::host_network_note;
use countersign_api::keys::Family;
use countersign_plan::input::enrolment::{families, family, protocol};
use countersign_plan::input::standing::{Standing, unenrolled};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Kinds that run Pods and are not watched, with the place of the labels of their Pods.
const KINDS: [(&str, &str, &str); 6] = [
    ("apps/v1", "DaemonSet", "/spec/template/metadata/labels"),
    ("apps/v1", "ReplicaSet", "/spec/template/metadata/labels"),
    ("batch/v1", "Job", "/spec/template/metadata/labels"),
    ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template/metadata/labels"),
    ("v1", "ReplicationController", "/spec/template/metadata/labels"),
    ("v1", "Pod", "/metadata/labels"),
];

/// Object that runs Pods, of a kind that is not watched.
#[derive(Debug)]
pub(super) struct OtherObject {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) standing: Standing,
    /// Sentence about labels that look like an agent's and are not.
    pub(super) unenrolled: Option<String>,
    /// Families whose agent label its Pods carry.
    pub(super) families: Vec<Family>,
    is_on_host_network: bool,
}

/// Place of the labels of the Pods in an object of a kind that is not watched; `None` for what runs no Pods.
pub(super) fn place_of_labels(version: &str, kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|known| known.0 == version && known.1 == kind).map(|known| known.2)
}

/// Versions and kinds that run Pods and are not watched.
pub(super) fn kinds_that_run_pods() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().map(|known| (known.0, known.1))
}

impl OtherObject {
    /// Reads an object whose Pods have their labels at `place`.
    pub(super) fn new(
        kind: &str,
        metadata: &ObjectMeta,
        object: &Value,
        place: &str,
    ) -> Result<Self, serde_json::Error> {
        let pods = object.pointer(place).map(Option::<BTreeMap<String, String>>::deserialize).transpose()?;
        let pods = pods.flatten().unwrap_or_default();
        let spec =
            place.strip_suffix("/metadata/labels").map(|template| format!("{template}/spec/hostNetwork"));
        let on_host = spec.and_then(|place| object.pointer(&place)).and_then(Value::as_bool);
        let own = metadata.labels.clone().unwrap_or_default();
        Ok(Self {
            kind: kind.to_owned(),
            namespace: namespace(metadata).to_owned(),
            name: name(metadata).to_owned(),
            standing: Standing::of(false, family(&own), protocol(&own).is_some(), family(&pods)),
            unenrolled: unenrolled(&own, &pods),
            families: families(&pods).collect(),
            is_on_host_network: on_host.unwrap_or_default(),
        })
    }

    /// True if a plan depends on it, or says of it that it is no agent.
    pub(super) const fn is_told_of(&self) -> bool {
        !matches!(self.standing, Standing::Unconcerned)
            || !self.families.is_empty()
            || self.unenrolled.is_some()
    }

    /// Warning about Pods on the network of their node, if they carry a label of agents.
    pub(super) fn host_network_note(&self) -> Option<String> {
        let is_concerned = self.is_on_host_network && !self.families.is_empty();
        is_concerned.then(|| host_network_note(&self.shown()))
    }

    /// Kind, namespace and name.
    pub(super) fn shown(&self) -> String {
        shown(&self.kind, &self.namespace, &self.name)
    }
}
