//! The Kubernetes API of Countersign: groups, kinds, labels and annotations.
//! The crate holds types and names alone and never talks to a cluster.

#[cfg(feature = "kinds")]
pub mod agent_card;
#[cfg(feature = "kinds")]
pub mod agent_runtime;
#[cfg(feature = "kinds")]
mod conditions;
#[cfg(feature = "kinds")]
mod definition;
pub mod duration;
pub mod keys;
#[cfg(any(feature = "kinds", feature = "yaml"))]
mod limits;
mod object_ref;
#[cfg(feature = "policy-file")]
pub mod policy_file;
#[cfg(feature = "kinds")]
mod target_ref;
#[cfg(feature = "yaml")]
pub mod yaml;

pub use object_ref::ObjectRef;

/// Custom resource definitions of all kinds. The files in `crds/`, the chart and `countersign crd` follow this list.
#[cfg(feature = "kinds")]
pub fn definitions()
-> Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> {
    let runtimes = keys::Family::ALL.map(agent_runtime::definition);
    [agent_card::definition()].into_iter().chain(runtimes).collect()
}
