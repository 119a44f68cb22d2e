//! Objects of tenants, reduced while they are parsed: only the members in use are kept, and of labels as many as an honest
//! object has. An object may have 1.5 MiB (the limit of etcd), and takes ten to thirty times that once it is parsed whole.

mod bounded;
mod kinds;
mod runtime;

pub(crate) use kinds::{
    ReducedCard, ReducedDeployment, ReducedIngress, ReducedPod, ReducedPolicy, ReducedSandbox,
    ReducedService, ReducedStatefulSet, card, deployment, ingress, pod, policy, sandbox, service,
    stateful_set,
};
pub(crate) use runtime::{ReducedRuntime, ReducedTarget, runtime, sandbox_target, target};

use bounded::{Annotations, Few, Labels, Short, whole};
use countersign_api::keys::{Family, REASON_ANNOTATION};
use countersign_plan::input::labels::LabelsSize;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// Object of the kind `K` with bounded metadata; `S` and `T` read what is in use of `spec` and `status`.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "S: DeserializeOwned, T: DeserializeOwned"))]
pub(crate) struct Reduced<K, S, T, const METADATA_ALONE: bool = false> {
    /// Metadata, without managers of fields.
    #[serde(default)]
    pub(crate) metadata: Metadata,
    /// What is in use of `spec`.
    pub(crate) spec: Option<S>,
    /// What is in use of `status`.
    pub(crate) status: Option<T>,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

/// Object of the kind `K` of which the API server is asked for the metadata alone.
pub(crate) type ReducedMetadata<K> = Reduced<K, IgnoredAny, IgnoredAny, true>;

// Derived, it would ask for kinds that can be cloned; none is inside.
impl<K, S: Clone, T: Clone, const METADATA_ALONE: bool> Clone for Reduced<K, S, T, METADATA_ALONE> {
    fn clone(&self) -> Self {
        let Self { metadata, spec, status, kind } = self;
        Self { metadata: metadata.clone(), spec: spec.clone(), status: status.clone(), kind: *kind }
    }
}

impl<K: Resource, S, T, const METADATA_ALONE: bool> Resource for Reduced<K, S, T, METADATA_ALONE> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn metadata_api() -> bool {
        METADATA_ALONE
    }

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata.kept
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata.kept
    }
}

/// Bounded metadata of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Read")]
pub(crate) struct Metadata {
    /// Members in use, with the labels of [`Labels::kept`].
    pub(crate) kept: ObjectMeta,
    /// Size of all labels of the object.
    pub(crate) labels: LabelsSize,
    /// Annotations that the operator reads.
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Read {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Few<Short>>,
    owner_references: Option<Few<OwnerReference>>,
    labels: Labels,
    annotations: Annotations,
}

impl From<Read> for Metadata {
    fn from(read: Read) -> Self {
        let Labels { kept, size } = read.labels;
        let Annotations(mut annotations) = read.annotations;
        // What a list keeps of its objects are these alone.
        let in_lists =
            [REASON_ANNOTATION, Family::Kagenti.mesh_annotation(), Family::Rossoctl.mesh_annotation()];
        let listed: BTreeMap<String, String> =
            in_lists.into_iter().filter_map(|key| annotations.remove_entry(key)).collect();
        let kept = ObjectMeta {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            generation: read.generation,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            // A list that was not read whole cannot be written.
            finalizers: read.finalizers.filter(|few| !few.are_too_many).map(|few| few.kept).and_then(whole),
            owner_references: read.owner_references.map(|owners| owners.kept),
            labels: (!kept.is_empty()).then_some(kept),
            annotations: (!listed.is_empty()).then_some(listed),
            ..ObjectMeta::default()
        };
        Self { kept, labels: size, annotations }
    }
}
